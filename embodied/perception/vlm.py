"""Vision-language models of transformers as encoders: images and a text to the states of a layer.

SmolVLM, Idefics 3, Qwen2-VL to Qwen3-VL and PaliGemma are known; what differs between them is how
images are marked in the text, and that is written down here. Their processors are not used, because
most of them need torchvision for videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from embodied.errors import ConfigError
from embodied.perception.features import TextFeatures
from embodied.perception.lora import LoraWeights, add_lora_layers, name_lora_tensors, save_lora
from embodied.perception.pretrained import (
    WeightsError,
    find_weights,
    hash_folder,
    load_component,
    load_model,
    read_json,
)
from embodied.perception.text import load_tokenizer

MARKS = {
    "smolvlm": ("<fake_token_around_image><global-img>", "<fake_token_around_image>"),
    "idefics3": ("<fake_token_around_image><global-img>", "<fake_token_around_image>"),
    "qwen2_vl": ("<|vision_start|>", "<|vision_end|>"),
    "qwen2_5_vl": ("<|vision_start|>", "<|vision_end|>"),
    "qwen3_vl": ("<|vision_start|>", "<|vision_end|>"),
    "paligemma": ("", ""),
}
"""What stands before and after an image, by family."""
WHOLE = {"do_image_splitting": False}
"""Settings of image processors that would cut an image into tiles, a token sequence each."""
MAX_WORDS = 64


class VisionLanguageModel:
    """A frozen model; copies share it, however deep.

    Args:
        name: folder or hub name.
        layers: of the language model that are kept; 0: all.
        dtype: "float32", "bfloat16" or "float16".

    Attributes:
        width: of its states.
        digest: 16 hexadecimal digits that change with weights, settings, layers and precision.

    Raises:
        WeightsError: absent, damaged, or of a family that is not known.
        ConfigError: more layers than there are.
    """

    def __init__(self, name: str | Path, layers: int = 0, dtype: str = "float32") -> None:
        from transformers import AutoImageProcessor, AutoModel

        folder = find_weights(name)
        family = str(read_json(folder / "config.json").get("model_type"))
        if family not in MARKS:
            raise WeightsError(
                f"{folder} holds a model of the family '{family}'; as vision-language models are "
                f"known: {', '.join(MARKS)}"
            )
        self._family, self._folder = family, folder
        self._model = load_model(AutoModel, folder, dtype, "cpu")
        self._language = getattr(self._model, "language_model", None) or self._model.text_model
        self._images = load_component(AutoImageProcessor.from_pretrained, folder, "image processor")
        self._tokenizer = load_tokenizer(folder)
        there = len(self._language.layers)
        if layers > there:
            raise ConfigError(f"{layers} layers are to be kept, {folder} has {there}")
        kept = layers or there
        self._language.layers = self._language.layers[:kept]
        self._language.config.num_hidden_layers = kept
        self.width = int(self._language.config.hidden_size)
        self.digest = f"{hash_folder(folder)}-{kept}-{dtype}"
        self._tokens: dict[tuple[int, ...], int] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> VisionLanguageModel:
        return self

    def add_adapter(
        self, endings: Sequence[str], rank: int, alpha: float
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Let `encode` take a LoRA adapter of linear layers of the language model.

        Args:
            endings: of the names of these layers.
            rank: of the updates.
            alpha: their scale times the rank.

        Returns:
            Fresh weights of the adapter to train: name of a layer -> A, B.

        Raises:
            ConfigError: no layer is so named.
            MissingExtraError: peft is not installed.
        """
        layers = [
            name
            for name, part in self._language.named_modules()
            if isinstance(part, nn.Linear) and name.endswith(tuple(endings))
        ]
        if not layers:
            raise ConfigError(f"no linear layer of '{self._family}' ends in {', '.join(endings)}")
        return add_lora_layers(self._language, layers, rank, alpha)

    def save_adapter(self, folder: str | Path, adapter: LoraWeights, alpha: float) -> Path:
        """Write an adapter that peft and transformers load beside this model.

        Args:
            folder: gets adapter_config.json and adapter_model.safetensors.
            adapter: its weights.
            alpha: as it was added.

        Raises:
            UnwritableError: the folder cannot be written to.
        """
        return save_lora(folder, self._name_in_model(adapter), alpha, str(self._folder))

    def encode(
        self,
        images: Sequence[NDArray[np.uint8]],
        texts: Sequence[str],
        device: torch.device,
        adapter: LoraWeights | None = None,
    ) -> TextFeatures:
        """Return the states of the last kept layer for B samples.

        Args:
            images: one array (B, H, W, 3) per camera; all of one size.
            texts: B.
            device: where to compute.
            adapter: weights of the adapter that was added; with gradients if there are any.
        """
        if next(self._model.parameters()).device != device:
            self._model.to(device)
        nested = [[camera[row] for camera in images] for row in range(len(texts))]
        with torch.set_grad_enabled(bool(adapter) and torch.is_grad_enabled()):
            inputs = {**self._inputs(nested, texts, device), "use_cache": False}
            tensors = name_lora_tensors(self._name_in_model(adapter or {}))
            states = functional_call(self._model, tensors, kwargs=inputs, tie_weights=False)
        states = states.last_hidden_state
        mask = inputs["attention_mask"].bool()
        weight = mask.to(states.dtype)[..., None]
        pooled = (states * weight).sum(dim=1) / weight.sum(dim=1)
        return TextFeatures(pooled.float(), states.float(), mask)

    def _name_in_model(self, adapter: LoraWeights) -> dict[str, tuple[Tensor, Tensor]]:
        """Return an adapter of the language model by the layers' names in the whole model."""
        language = next(n for n, part in self._model.named_modules() if part is self._language)
        return {f"{language}.{layer}": pair for layer, pair in adapter.items()}

    def _inputs(
        self, nested: list[list[NDArray[np.uint8]]], texts: Sequence[str], device: torch.device
    ) -> dict[str, Any]:
        pixels = self._images(images=nested, return_tensors="pt", **self._options())
        pixels = {name: value.to(device) for name, value in pixels.items()}
        count, image = self._count(pixels, nested), self._model.config.image_token_id
        before, after = (self._ids(mark) for mark in MARKS[self._family])
        shown = [*before, *[image] * count, *after] * len(nested[0])
        rows = [[*shown, *self._ids(text)[:MAX_WORDS]] for text in texts]
        longest = max(map(len, rows))
        pad = int(self._tokenizer.pad_token_id or 0)
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        mask = torch.arange(longest, device=device) < lengths[:, None]
        made = {"input_ids": ids, "attention_mask": mask.long(), **pixels}
        if "image_grid_thw" in pixels:  # turns places in the image into three rotary angles
            made["mm_token_type_ids"] = (ids == image).int()
        if self._family == "paligemma":  # all of it is prefix, in which attention goes both ways
            made["token_type_ids"] = torch.zeros_like(ids)
        return made

    def _count(self, pixels: Mapping[str, Tensor], nested: list[list[NDArray[np.uint8]]]) -> int:
        """Return the tokens of one image; all images are of one size."""
        shape = nested[0][0].shape
        if shape not in self._tokens:
            with torch.no_grad():
                found = self._model.get_image_features(**pixels, return_dict=True).pooler_output
            total = sum(part.shape[0] for part in found) if isinstance(found, (tuple, list)) else (
                found.shape[0] * found.shape[1]
            )  # fmt: skip
            self._tokens[shape] = total // (len(nested) * len(nested[0]))
        return self._tokens[shape]

    def _options(self) -> dict[str, Any]:
        return {name: value for name, value in WHOLE.items() if hasattr(self._images, name)}

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
