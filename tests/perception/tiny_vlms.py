"""Tiny vision-language models of the real architectures, saved as their publishers save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

FAMILIES = ("smolvlm", "qwen3_vl", "paligemma")
SPECIAL = ["<pad>", "<unk>", "<image>", "<fake_token_around_image>", "<global-img>",
           "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]  # fmt: skip
WORDS = "go to the red blue square pick up cube and hold it at ball"
SIDE, PATCH, WIDTH = 32, 8, 32
TEXT = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1,
        "eos_token_id": 1}  # fmt: skip
TOWER = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2, "image_size": SIDE, "patch_size": PATCH}  # fmt: skip


def save_vlm(family: str, folder: Path, seed: int = 0) -> Path:
    """Build a model for generation with its image processor and tokenizer."""
    torch.manual_seed(seed)
    tokens = word_tokenizer()
    text = {**TEXT, "vocab_size": len(tokens)}
    image = tokens.convert_tokens_to_ids("<image>")
    size = {"height": SIDE, "width": SIDE}
    model: Any
    processor: Any
    if family == "smolvlm":
        config = tf.SmolVLMConfig(
            text_config={"model_type": "llama", **text}, vision_config=TOWER, scale_factor=2,
            image_token_id=image, pad_token_id=0,
        )  # fmt: skip
        model = tf.SmolVLMForConditionalGeneration(config)
        processor = tf.SmolVLMImageProcessorPil(
            size={"longest_edge": SIDE}, max_image_size={"longest_edge": SIDE}
        )
    elif family == "qwen3_vl":
        text["rope_parameters"] = {
            "rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1],
        }  # fmt: skip
        vision = {
            "depth": 2, "hidden_size": 24, "intermediate_size": 32, "num_heads": 2,
            "patch_size": PATCH, "temporal_patch_size": 2, "spatial_merge_size": 2,
            "out_hidden_size": WIDTH, "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        }  # fmt: skip
        ids = {
            f"{name}_token_id": tokens.convert_tokens_to_ids(token)
            for name, token in (("image", "<|image_pad|>"), ("video", "<|video_pad|>"),
                                ("vision_start", "<|vision_start|>"),
                                ("vision_end", "<|vision_end|>"))
        }  # fmt: skip
        config = tf.Qwen3VLConfig(text_config=text, vision_config=vision, **ids)
        model = tf.Qwen3VLForConditionalGeneration(config)
        processor = tf.Qwen2VLImageProcessorPil(
            patch_size=PATCH, merge_size=2, temporal_patch_size=2,
            size={"shortest_edge": SIDE * SIDE, "longest_edge": SIDE * SIDE},
        )  # fmt: skip
    elif family == "paligemma":
        config = tf.PaliGemmaConfig(
            text_config={"model_type": "gemma", **text}, image_token_index=image,
            vision_config={"model_type": "siglip_vision_model", **TOWER},
            projection_dim=WIDTH, hidden_size=WIDTH, pad_token_id=0,
        )  # fmt: skip
        model = tf.PaliGemmaForConditionalGeneration(config)
        processor = tf.SiglipImageProcessorPil(size=size)
    else:
        raise ValueError(family)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def word_tokenizer() -> Any:
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*SPECIAL, *WORDS.split()]))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>",  # noqa: S106
        additional_special_tokens=SPECIAL[2:],
    )  # fmt: skip
