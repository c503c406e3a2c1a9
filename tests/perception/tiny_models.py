"""Tiny models of the real architectures, saved as their publishers save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SIDE, PATCH, WIDTH = 32, 8, 24
TOWER = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2}  # fmt: skip
VISION = {**TOWER, "image_size": SIDE, "patch_size": PATCH}
WORDS = "a the red chair table sofa bed lamp go to kitchen next . and , plant chest of drawers"
SIZE = {"height": SIDE, "width": SIDE}


def save_vision(family: str, folder: Path, seed: int = 0) -> Path:
    """Build a model with its image processor (and a tokenizer where it has a text side)."""
    torch.manual_seed(seed)
    processor: Any
    if family in ("clip", "siglip", "siglip2"):
        return save_contrastive(family, folder, seed)
    if family == "dinov2":
        model = tf.Dinov2Model(tf.Dinov2Config(**VISION))
        size = {"shortest_edge": SIDE}
        processor = tf.BitImageProcessor(size=size, crop_size=SIZE)
    elif family == "dinov2_with_registers":
        model = tf.Dinov2WithRegistersModel(
            tf.Dinov2WithRegistersConfig(**VISION, num_register_tokens=3)
        )
        processor = tf.BitImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIZE)
    elif family == "dinov3":
        model = tf.DINOv3ViTModel(tf.DINOv3ViTConfig(**VISION, num_register_tokens=4))
        processor = None
    elif family == "vit":
        # As google/vit-base-patch16-224 is: a classifier, without the pooling layer of ViTModel.
        model = tf.ViTForImageClassification(tf.ViTConfig(**VISION, num_labels=5))
        processor = tf.ViTImageProcessor(size=SIZE)
    else:
        raise ValueError(family)
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    else:  # facebook/dinov3-vits16-pretrain-lvd1689m's file; its class needs torchvision
        settings = {
            "do_normalize": True, "do_rescale": True, "do_resize": True,
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
            "image_processor_type": "DINOv3ViTImageProcessorFast", "resample": 2,
            "rescale_factor": 1 / 255, "size": SIZE, "return_tensors": None,
        }  # fmt: skip
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def save_contrastive(family: str, folder: Path, seed: int = 0) -> Path:
    """Build CLIP, SigLIP, or SigLIP 2 in its variant with native aspect ratio."""
    torch.manual_seed(seed)
    tokens = tokenizer(family)
    text = {**TOWER, "vocab_size": len(tokens), "max_position_embeddings": 16,
            "bos_token_id": tokens.bos_token_id, "eos_token_id": tokens.eos_token_id,
            "pad_token_id": tokens.pad_token_id}  # fmt: skip
    processor: Any
    if family == "clip":
        config = tf.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=20)
        model = tf.CLIPModel(config)
        processor = tf.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIZE)
    elif family == "siglip":
        text["projection_size"] = WIDTH
        model = tf.SiglipModel(tf.SiglipConfig(text_config=text, vision_config=VISION))
        processor = tf.SiglipImageProcessor(size=SIZE)
    else:
        text["projection_size"] = WIDTH
        vision = {**TOWER, "patch_size": PATCH, "num_patches": 16}
        model = tf.Siglip2Model(tf.Siglip2Config(text_config=text, vision_config=vision))
        processor = tf.Siglip2ImageProcessor(patch_size=PATCH, max_num_patches=16)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def save_bert(folder: Path, seed: int = 0) -> Path:
    """Build BERT for masked words, as bert-base-uncased is: no pooling layer is needed."""
    torch.manual_seed(seed)
    tokens = tokenizer("bert")
    config = tf.BertConfig(**TOWER, vocab_size=len(tokens), max_position_embeddings=32)
    tf.BertForMaskedLM(config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def tokenizer(family: str) -> Any:
    """Build a word tokenizer with the special tokens of a family."""
    if family == "bert":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        pad, unknown, first, last = special[:4]
    else:
        special = ["<pad>", "<unk>", "<start>", "<end>"]
        pad, unknown, first, last = special
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*special, *WORDS.split()]))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])],
    )
    named = {"pad_token": pad, "unk_token": unknown}
    if family == "bert":
        named |= {"cls_token": first, "sep_token": last, "mask_token": "[MASK]"}
    else:
        named |= {"bos_token": first, "eos_token": last}
    kind = tf.BertTokenizerFast if family == "bert" else tf.PreTrainedTokenizerFast
    if family == "bert":
        return kind(tokenizer_object=core, **named, model_max_length=32)
    return kind(tokenizer_object=core, **named, model_max_length=16)


def save_owlv2(folder: Path, seed: int = 0) -> Path:
    """Build OWLv2 with its processor."""
    torch.manual_seed(seed)
    tokens = tokenizer("clip")
    text = {**TOWER, "vocab_size": len(tokens), "max_position_embeddings": 16}
    config = tf.Owlv2Config(text_config=text, vision_config=VISION, projection_dim=WIDTH)
    tf.Owlv2ForObjectDetection(config).save_pretrained(folder)
    tf.Owlv2Processor(tf.Owlv2ImageProcessor(size=SIZE), tokens).save_pretrained(folder)
    return folder


def save_grounding_dino(folder: Path, seed: int = 0) -> Path:
    """Build Grounding DINO with a Swin backbone, as IDEA-Research/grounding-dino-tiny has."""
    torch.manual_seed(seed)
    tokens = tokenizer("bert")
    config = tf.GroundingDinoConfig(
        backbone_config=tf.SwinConfig(
            image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=tf.BertConfig(**TOWER, vocab_size=len(tokens), max_position_embeddings=32),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=12,
        max_text_len=32, encoder_n_points=2, decoder_n_points=2,
    )  # fmt: skip
    tf.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 96}
    images = tf.GroundingDinoImageProcessor(size=size)
    tf.GroundingDinoProcessor(images, tokens).save_pretrained(folder)
    return folder
