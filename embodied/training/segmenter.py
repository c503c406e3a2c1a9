"""Train the segmenter on panoramas of furnished houses, and measure it on houses it never saw."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from embodied.categories import MPCAT40, SOS_INDEX
from embodied.errors import ConfigError
from embodied.perception.segmenter import STRIP, Segmenter, SegmenterConfig, prepare_images
from embodied.tasks.navigation.config import SPLITS
from embodied.tasks.panoramas import PanoramaConfig, Panoramas, PanoramaSource
from embodied.training.checkpoint import Checkpoint, load_weights
from embodied.training.device import check_device, choose_device
from embodied.training.loop import ResumableRun, derive_seed

NAMELESS = tuple(MPCAT40.index(name) for name in ("void", "misc", "unlabeled"))
"""Classes that say nothing: neither learned nor measured."""
IGNORED = -100


@dataclass(frozen=True)
class SegmenterLoop:
    """Length and bookkeeping of a run.

    Attributes:
        updates: number of updates; each draws new panoramas and learns from them.
        houses: number of different houses per update.
        places: number of panoramas in each of them.
        passes: number of times each panorama is used, each time turned, mirrored and recoloured
            anew.
        batch_size: number of panoramas per gradient step (our choice: few, because a strip holds
            12,000 labelled pixels, and more steps from the same panoramas cost nothing).
        learning_rate: learning rate of AdamW at the start; it falls to 0 along half a cosine.
        weight_decay: weight decay of AdamW.
        checkpoint_every: number of updates between checkpoints (and measurements on unseen houses).
        keep: number of newest checkpoints kept beside the best.
        threads: number of CPU threads of PyTorch; 0 leaves its default.
        device: device of the networks: "cpu", "cuda", or "auto", which is a GPU where there is one.
        val_houses, val_places: number of houses of the split "val" to measure on, and of panoramas
            in each.
    """

    updates: int = 32
    houses: int = 8
    places: int = 16
    passes: int = 2
    batch_size: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    checkpoint_every: int = 8
    keep: int = 2
    threads: int = 1
    device: str = "auto"
    val_houses: int = 12
    val_places: int = 8

    def __post_init__(self) -> None:
        for name in (
            "updates",
            "houses",
            "places",
            "passes",
            "batch_size",
            "checkpoint_every",
            "keep",
            "val_houses",
            "val_places",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} = {getattr(self, name)} must be at least 1")
        check_device("train.device", self.device)
        if not self.learning_rate > 0 or self.weight_decay < 0:
            raise ConfigError("train.learning_rate must be positive, weight_decay not negative")


@dataclass(frozen=True)
class SegmenterTraining:
    """Everything that decides a training run.

    Attributes:
        seed: seed of weights and panoramas.
        data: settings of the panoramas; the network is measured on the split "val".
        network: size of the network.
        train: length and bookkeeping of the run.
    """

    seed: int = 0
    data: PanoramaConfig = field(default_factory=PanoramaConfig)
    network: SegmenterConfig = field(default_factory=SegmenterConfig)
    train: SegmenterLoop = field(default_factory=SegmenterLoop)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed} must not be negative")
        if self.data.width != STRIP[1]:
            raise ConfigError(f"data.width = {self.data.width}: the network works on {STRIP[1]}")
        if self.data.scene.split == "val":
            raise ConfigError(
                f"data.scene.split = 'val' is what the network is measured on: train on one of "
                f"{', '.join(s for s in SPLITS if s != 'val')}"
            )


def train(
    config: SegmenterTraining, run_dir: str | Path, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Train a segmenter and leave checkpoints, metrics.jsonl, config.yaml and TensorBoard events.

    Args:
        config: the whole run.
        run_dir: its folder; `Segmenter.load(run_dir)` reads the best checkpoint.
        resume: go on from the newest checkpoint; without one, start.
        quiet: no progress on the screen.

    Returns:
        The last row of metrics.jsonl with "checkpoint", the newest checkpoint's folder.

    Raises:
        CheckpointError: `run_dir` holds a run already, or one of another configuration.
        TrainingInterrupted: after Ctrl-C or SIGTERM, with the progress saved.
    """
    return _Run(config, Path(run_dir), resume).run_updates(quiet)


class _Run(ResumableRun):
    """State of one training process."""

    def __init__(self, config: SegmenterTraining, run_dir: Path, resume: bool) -> None:
        loop = config.train
        super().__init__(config, run_dir, resume, loop.updates, loop.keep, loop.threads)
        self.settings = config
        self.source = PanoramaSource(config.data)
        scene = replace(config.data.scene, split="val", count=10_000, files=())
        self.unseen = PanoramaSource(replace(config.data, scene=scene))
        device = str(choose_device(loop.device))
        self.policy = Segmenter(config.network, config.seed, device)
        self.optimizer = torch.optim.AdamW(
            self.policy.network.parameters(), loop.learning_rate, weight_decay=loop.weight_decay
        )
        self._score: float | None = None
        self.weights = class_weights(self._draw(-1)[1])
        self.restore_or_start()

    def run_update(self) -> dict[str, Any]:
        """Draw panoramas, go over them `passes` times, measure when a checkpoint is due."""
        loop = self.settings.train
        images, classes = self._draw(self.update)
        generator = torch.Generator().manual_seed(derive_seed(self.settings.seed, self.update))
        self.policy.network.train()
        losses = []
        for turn in range(loop.passes):
            order = torch.randperm(len(classes), generator=generator)
            for first in range(0, len(order), loop.batch_size):
                share = (turn + first / len(order)) / loop.passes
                self._set_rate((self.update + share) / loop.updates)
                batch = order[first : first + loop.batch_size]
                losses.append(
                    self._step(images[0][batch], images[1][batch], classes[batch], generator)
                )
        self.update += 1
        row = {
            "phase": "segmenter",
            "step": self.update * loop.houses * loop.places,
            "loss": float(np.mean(losses)),
        }
        if self.is_checkpoint_due() or self.update == self.total:
            found = evaluate_segmenter(self.policy, self._validation())
            self._score = found["miou"]
            row |= found
        return row

    def is_checkpoint_due(self) -> bool:
        """Whether a checkpoint is due."""
        return self.update % self.settings.train.checkpoint_every == 0

    def get_score(self) -> float | None:
        """Mean IoU on unseen houses, where it was measured."""
        score, self._score = self._score, None
        return score

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load weights and optimiser."""
        load_weights(checkpoint, self.policy, self.optimizer)

    def _draw(self, update: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
        loop = self.settings.train
        rng = np.random.default_rng([self.settings.seed, update + 1])
        return cut_strips(self.source.draw_panoramas(rng, loop.houses, loop.places))

    def _validation(self) -> Panoramas:
        loop = self.settings.train
        return self.unseen.draw_panoramas(
            np.random.default_rng(0), loop.val_houses, loop.val_places
        )

    def _set_rate(self, share: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.train.learning_rate * 0.5 * (1 + np.cos(np.pi * share))

    def _step(
        self, rgb: Tensor, depth: Tensor, classes: Tensor, generator: torch.Generator
    ) -> float:
        colour, depth, classes = augment_panoramas(rgb, depth, classes, generator)
        device = self.policy.device
        logits = self.policy.network(prepare_images(colour, depth).to(device))
        classes, weights = classes.to(device), self.weights.to(device)
        loss = functional.cross_entropy(logits, classes, weights, ignore_index=IGNORED)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.network.parameters(), 5.0)
        self.optimizer.step()
        return loss.item()


def cut_strips(panoramas: Panoramas) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Cut out the strip of +-60 deg.

    Returns:
        (rgb uint8, depth), and the class ids, `IGNORED` where nothing is to be learned.
    """
    height = panoramas.depth.shape[1]
    cut = slice(height // 6, height - height // 6)
    images = tuple(torch.from_numpy(x[:, cut].copy()) for x in (panoramas.rgb, panoramas.depth))
    return (images[0], images[1]), torch.from_numpy(_known(panoramas.classes[:, cut]))


def class_weights(classes: Tensor) -> Tensor:
    """Return (42,) loss weights, 1 / sqrt(share of the pixels), with mean 1 over all pixels.

    Our choice: plain cross-entropy never finds a towel, full balancing paints towels everywhere.
    """
    counts = torch.bincount(classes[classes >= 0], minlength=len(MPCAT40)).double()
    share = counts / counts.sum()
    weights = share.clamp(min=1e-3).rsqrt()
    return (weights / (weights * share).sum()).float()


def augment_panoramas(
    rgb: Tensor, depth: Tensor, classes: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Turn and mirror each batch, and change brightness, contrast and tint of each image.

    Args:
        rgb: (N, h, w, 3) uint8.
        depth: (N, h, w).
        classes: (N, h, w).
        generator: of the random numbers.

    Returns:
        The same, the colours as floats in [0, 1].
    """
    turn = int(torch.randint(rgb.shape[2], (), generator=generator))
    rgb, depth, classes = (torch.roll(x, turn, dims=2) for x in (rgb, depth, classes))
    if torch.rand((), generator=generator) < 0.5:
        rgb, depth, classes = (x.flip(2) for x in (rgb, depth, classes))
    size = (len(rgb), 1, 1, 3)
    gain = 1 + 0.25 * (torch.rand(size[:3] + (1,), generator=generator) - 0.5)
    tint = 1 + 0.2 * (torch.rand(size, generator=generator) - 0.5)
    shift = 0.15 * (torch.rand(size[:3] + (1,), generator=generator) - 0.5)
    return (rgb.float() / 255 * gain * tint + shift).clamp(0, 1), depth, classes


def evaluate_segmenter(segmenter: Segmenter, panoramas: Panoramas) -> dict[str, float]:
    """Compare predictions with the true classes, within +-60 deg.

    Returns:
        "miou": mean over the canvas categories that occur of intersection over union; "miou_all":
        the same with walls, floors, ceilings and other structure; "accuracy": share of the pixels
        that are right; "furniture_accuracy": the same of the pixels of canvas categories;
        "iou_<class>" of each class.
    """
    found = segmenter.segment(panoramas.rgb, panoramas.depth)
    height = found.shape[1]
    cut = slice(height // 6, height - height // 6)
    truth, guess = _known(panoramas.classes[:, cut]), found[:, cut]
    table = confusion_matrix(truth[truth >= 0], guess[truth >= 0], len(MPCAT40))
    iou = intersection_over_union(table)
    right, furniture = np.diag(table), [MPCAT40.index(name) for name in SOS_INDEX]
    return {
        "miou": _mean(iou[furniture]),
        "miou_all": _mean(iou),
        "accuracy": float(right.sum() / max(1, table.sum())),
        "furniture_accuracy": float(right[furniture].sum() / max(1, table[furniture].sum())),
    } | {f"iou_{n}": float(v) for n, v in zip(MPCAT40, iou, strict=True) if np.isfinite(v)}


def confusion_matrix(truth: NDArray[np.integer], guess: NDArray[np.integer], count: int) -> NDArray:
    """Return (count, count) pixel counts, true classes down, predicted ones across."""
    flat = truth.ravel().astype(np.int64) * count + guess.ravel()
    return np.bincount(flat, minlength=count * count).reshape(count, count)


def intersection_over_union(table: NDArray) -> NDArray[np.float64]:
    """Return (count,) of a confusion table; NaN for classes that do not truly occur."""
    right = np.diag(table).astype(np.float64)
    union = table.sum(axis=0) + table.sum(axis=1) - right
    return np.where(table.sum(axis=1) > 0, right / np.maximum(union, 1), np.nan)


def _known(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(np.isin(classes, NAMELESS), IGNORED, classes)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
