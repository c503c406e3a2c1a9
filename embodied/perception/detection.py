"""Find objects by name in images: OWLv2 and Grounding DINO, and the truth of a simulator."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.errors import ConfigError, SensorError, suggest_nearest
from embodied.perception.features import require_images
from embodied.perception.pretrained import (
    DTYPES,
    find_weights,
    hash_folder,
    load_component,
    load_model,
    read_json,
    require_tokenizer,
)


@dataclass(frozen=True)
class Detections:
    """Objects found in one image.

    Attributes:
        boxes: (O, 4) float32 left, top, right, bottom [px]. In panoramas right may exceed the
            width: the object continues at the left edge.
        labels: O of the labels asked for.
        scores: (O,) float32 in [0, 1]; 1 for the truth.
    """

    boxes: NDArray[np.float32]
    labels: tuple[str, ...]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


class Detector(ABC):
    """A detector of objects by name.

    >>> detector = Detector.load("google/owlv2-base-patch16-ensemble")
    >>> found = detector.detect(images, ["red chair", "lamp"])        # one Detections per image

    Args:
        folder: of the model.
        device: a torch device.
        dtype: "float32", "bfloat16" or "float16".
        batch: images at once.
    """

    default_threshold: float

    def __init__(self, folder: Path, device: str, dtype: str, batch: int) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        require_tokenizer(folder)
        auto = AutoModelForZeroShotObjectDetection
        self._model = load_model(auto, folder, dtype, device)
        self._processor = load_component(AutoProcessor.from_pretrained, folder, "processor")
        self.device, self.dtype, self.batch = device, DTYPES[dtype], batch
        self.digest = hashlib.sha256(f"{hash_folder(folder)} {dtype}".encode()).hexdigest()[:16]

    @staticmethod
    def load(
        name: str | Path, device: str = "cpu", dtype: str = "float32", batch: int = 4
    ) -> Detector:
        """Load an open-vocabulary detector from a folder or by its name on the hub.

        Raises:
            WeightsError: weights absent, damaged or incomplete.
            ConfigError: neither OWL-ViT, OWLv2 nor Grounding DINO, or a value that cannot be used.
        """
        if batch < 1:
            raise ConfigError(f"batch = {batch} must be at least 1")
        folder = find_weights(name)
        family = str(read_json(folder / "config.json").get("model_type"))
        if family not in FAMILIES:
            raise ConfigError(
                f"{folder} holds a '{family}' model, which finds no objects by name: "
                f"{suggest_nearest(family, FAMILIES)}"
            )
        return FAMILIES[family](folder, device, dtype, batch)

    def detect(
        self, images: NDArray[np.uint8], labels: Sequence[str], threshold: float | None = None
    ) -> list[Detections]:
        """Look for labels in images.

        Args:
            images: (N, H, W, 3) uint8 RGB.
            labels: what to look for, in plain words; each is tried on every image.
            threshold: least score kept; None takes the model's usual one.

        Returns:
            N detections, best scores first.

        Raises:
            SensorError: images of another shape or type.
            ConfigError: no label, an empty one, a label twice, or a threshold outside [0, 1].
        """
        images = require_images(images)
        asked = [labels] if isinstance(labels, str) else list(labels)
        clean = [" ".join(label.lower().replace(".", " ").split()) for label in asked]
        if not clean or not all(clean) or len(set(clean)) < len(clean):
            raise ConfigError(f"labels {asked!r} must be one or more different names, none empty")
        least = self.default_threshold if threshold is None else threshold
        if not 0 <= least <= 1:
            raise ConfigError(f"threshold = {threshold} must lie in [0, 1]")
        found: list[Detections] = []
        for first in range(0, len(images), self.batch):
            part = images[first : first + self.batch]
            with torch.inference_mode():
                boxes, scores, kinds = self._run(part, clean)
            for one in zip(boxes, scores, kinds, strict=True):
                found.append(_sorted(*one, asked, least, images.shape[1:3]))
        return found

    @abstractmethod
    def _run(self, images: NDArray[np.uint8], labels: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes (N, Q, 4) as left, top, right, bottom [px], scores (N, Q), labels (N, Q)."""

    def _images(self, images: NDArray[np.uint8]) -> Mapping[str, Tensor]:
        """Prepare images with the model's own processor."""
        inputs = self._processor.image_processor(
            list(images), return_tensors="pt", input_data_format="channels_last"
        ).to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        return inputs


class OwlDetector(Detector):
    """OWL-ViT (Minderer et al. 2022) and OWLv2 (2023): one score per query box and label."""

    default_threshold = 0.1

    def _run(self, images: NDArray[np.uint8], labels: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        tokenizer = self._processor.tokenizer
        words = tokenizer(
            [f"a photo of a {label}" for label in labels],  # the prompt of the paper, appendix A.1
            padding="max_length",
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
            return_tensors="pt",
            return_attention_mask=True,
        ).to(self.device)
        count = len(images)
        output = self._model(
            input_ids=words["input_ids"].repeat(count, 1),
            attention_mask=words["attention_mask"].repeat(count, 1),
            pixel_values=self._images(images)["pixel_values"],
        )
        scores, kinds = output.logits.float().sigmoid().max(dim=-1)
        height, width = images.shape[1:3]
        # OWLv2 fills images up to a square with grey below or to the right, OWL-ViT stretches them.
        padded = self._model.config.model_type == "owlv2"
        side = (max(height, width),) * 2 if padded else (width, height)
        return _corners(output.pred_boxes.float(), *side), scores, kinds


class GroundingDetector(Detector):
    """Grounding DINO (Liu et al. 2023): one score per query box and word.

    All labels form one prompt, "chair. red lamp."; the score of a label is that of its best word.
    Our choice against transformers' decoding of every word above a threshold, which may return
    phrases that nobody asked for.
    """

    default_threshold = 0.25

    def _run(self, images: NDArray[np.uint8], labels: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        prompt = " ".join(f"{label}." for label in labels)
        words = self._processor.tokenizer(
            prompt, return_tensors="pt", return_offsets_mapping=True, return_token_type_ids=True
        )
        limit = self._model.config.max_text_len
        if words["input_ids"].shape[1] > limit:
            raise ConfigError(
                f"{len(labels)} labels make {words['input_ids'].shape[1]} tokens, more than the "
                f"{limit} this detector reads: look for fewer at a time"
            )
        owner = _owners(words.pop("offset_mapping")[0].tolist(), labels)
        text = {k: v.to(self.device).repeat(len(images), 1) for k, v in words.items()}
        output = self._model(**self._images(images), **text)
        scores = output.logits.float().sigmoid()  # (N, Q, max_text_len)
        member = torch.zeros(len(labels), scores.shape[-1], dtype=torch.bool, device=scores.device)
        for token, label in enumerate(owner):
            if label >= 0:
                member[label, token] = True
        each = [scores[..., row].amax(dim=-1) for row in member]
        best, kinds = torch.stack(each, dim=-1).max(dim=-1)
        height, width = images.shape[1:3]
        return _corners(output.pred_boxes.float(), width, height), best, kinds


FAMILIES: dict[str, type[Detector]] = {
    "owlv2": OwlDetector,
    "owlvit": OwlDetector,
    "grounding-dino": GroundingDetector,
}
"""model_type of config.json -> detector."""


def detect_ground_truth(
    instance: NDArray[np.integer],
    names: Sequence[str] | Mapping[int, str],
    min_pixels: int = 20,
    panorama: bool = False,
) -> list[Detections]:
    """Return what a perfect detector would find in a simulator's instance images.

    Args:
        instance: (N, H, W) identity of the object in each pixel, 0 = none.
        names: identity -> label; objects whose label is empty or absent are left out.
        min_pixels: smaller objects are left out.
        panorama: left and right edge are neighbours, so a box may cross them.

    Raises:
        SensorError: images of another shape.
    """
    images = np.asarray(instance)
    if images.ndim != 3 or images.dtype.kind not in "iu":
        raise SensorError(f"instance images {images.shape} {images.dtype}: give (N, H, W) integers")
    return [_truth(image, names, min_pixels, panorama) for image in images]


def _truth(image: NDArray[np.integer], names: Any, min_pixels: int, panorama: bool) -> Detections:
    width = image.shape[1]
    ids, counts = np.unique(image, return_counts=True)
    boxes, labels = [], []
    known = names.get if isinstance(names, Mapping) else lambda i: _item(names, i)
    for one in ids[(ids != 0) & (counts >= min_pixels)]:
        label = known(int(one))
        if not label:
            continue
        mask = image == one
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        if panorama:
            gaps = np.diff(columns, append=columns[0] + width)
            widest = int(gaps.argmax())
            left = int(columns[(widest + 1) % len(columns)])
            right = left + width - int(gaps[widest]) + 1
        boxes.append((left, int(rows[0]), right, int(rows[-1]) + 1))
        labels.append(label)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), tuple(labels), np.ones(len(labels), np.float32)
    )


def _item(names: Sequence[str], index: int) -> str:
    return names[index] if 0 <= index < len(names) else ""


def _owners(offsets: list[list[int]], labels: list[str]) -> list[int]:
    """Return for each token of the prompt the label it is a part of, -1 for stops and specials."""
    owner = []
    starts = np.cumsum([0, *(len(label) + 2 for label in labels)])  # "label. "
    for first, last in offsets:
        label = int(np.searchsorted(starts, first, side="right")) - 1
        inside = last > first and label < len(labels) and last <= starts[label] + len(labels[label])
        owner.append(label if inside else -1)
    return owner


def _corners(boxes: Tensor, width: float, height: float) -> Tensor:
    """Turn (..., 4) relative centre and size into left, top, right, bottom [px]."""
    x, y, w, h = boxes.unbind(dim=-1)
    edges = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)
    return edges * edges.new_tensor([width, height, width, height])


def _sorted(
    boxes: Tensor,
    scores: Tensor,
    kinds: Tensor,
    labels: list[str],
    threshold: float,
    size: tuple[int, ...],
) -> Detections:
    """Keep the boxes above the threshold that show some of the image, best first."""
    limit = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    boxes = torch.minimum(boxes.clamp(min=0), limit)
    shown = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    kept = torch.nonzero((scores >= threshold) & shown).flatten()
    order = kept[torch.argsort(scores[kept], descending=True, stable=True)]
    return Detections(
        boxes[order].cpu().numpy().astype(np.float32),
        tuple(labels[int(k)] for k in kinds[order]),
        scores[order].cpu().numpy().astype(np.float32),
    )
