"""Scene object spectra: what stands around a place, as spectra of object masks.

Hwang et al., Meta-Explore (CVPR 2023), section "SOS" and the score of the corrected trajectory, as
far as their project page shows them; every choice that it leaves open is marked "our choice".
A spectrum keeps, per category, how much of it is seen (frequency 0) and how wide its parts are (the
lobes), and forgets in which heading: turning around does not change it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from embodied.categories import SOS_CATEGORIES, SOS_INDEX
from embodied.errors import ConfigError, suggest_nearest
from embodied.files import write_text
from maps.panorama.canvas import HEIGHT, TOP, WIDTH

Scale = Literal["lin", "log1p"]
SCALES = ("lin", "log1p")
DEFAULT_SIZE = float(np.radians(30))
EPS = 1e-8


def compute_spectrum(canvas: Tensor, scale: Scale = "lin", row_l2: bool = False) -> Tensor:
    """Return the scene object spectrum of category canvases.

    The magnitude of the 2-D Fourier transform of each category's mask, not normalised, averaged
    over the vertical frequencies. Only the non-negative horizontal ones are kept: masks are real,
    so the others repeat them. Scale, mean and the missing row norm are our choices.

    Args:
        canvas: (..., K, H, W) bool, uint8 or float masks; columns go once around.
        scale: `lin` magnitudes, or `log1p` of them before the mean.
        row_l2: divide each category's row by its length, so that area no longer counts.

    Returns:
        (..., K, W // 2 + 1) float32.

    Raises:
        ConfigError: an unknown scale.
    """
    if scale not in SCALES:
        raise ConfigError(f"unknown SOS scale '{scale}'; {suggest_nearest(scale, SCALES)}")
    *lead, height, width = canvas.shape
    flat = canvas.reshape(int(np.prod(lead)), height, width)
    rows = torch.zeros(len(flat), width // 2 + 1, device=canvas.device)
    # Most categories are not in sight. The others go in portions that stay in the CPU's cache.
    used = _seen(flat).nonzero().squeeze(-1)
    for part in used.split(128) if len(used) else ():
        magnitude = torch.fft.rfft2(flat[part].float()).abs()
        if scale == "log1p":
            magnitude = magnitude.log1p_()
        rows[part] = magnitude.mean(dim=1)
    if row_l2:
        rows = rows / rows.norm(dim=-1, keepdim=True).clamp_min(EPS)
    return rows.reshape(*lead, width // 2 + 1)


def _seen(masks: Tensor) -> Tensor:
    """Return which of (N, H, W) masks hold anything; bytes are read eight at a time."""
    flat = masks.flatten(1)
    if flat.dtype in (torch.bool, torch.uint8) and flat.shape[1] % 8 == 0:
        flat = flat.contiguous().view(torch.uint8).view(torch.int64)
    return (flat != 0).any(dim=1)


def crop_sector(canvas: Tensor, heading: Tensor | float, half_width: float = np.pi / 4) -> Tensor:
    """Return canvases without what lies outside a sector of headings.

    Args:
        canvas: (..., K, H, W) masks.
        heading: (...) middle of the sector, clockwise from north [rad].
        half_width: [rad] to each side; the columns whose centre is inside stay.

    Returns:
        (..., K, H, W) of the same type.
    """
    width = canvas.shape[-1]
    columns = (torch.arange(width, device=canvas.device) + 0.5) * (2 * np.pi / width)
    middle = torch.as_tensor(heading, dtype=columns.dtype, device=canvas.device)
    turn = (columns - middle[..., None] + np.pi) % (2 * np.pi) - np.pi
    return canvas * (turn.abs() <= half_width)[..., None, None, :]


@dataclass(frozen=True)
class ReferenceSpectra:
    """The spectra that object words stand for.

    The spectrum of a word is that of one upright box of the category's usual size at the horizon
    (our choice: the paper's construction could not be read).

    Attributes:
        sizes: K pairs of angular width and height [rad].
        height: cells of the canvas from top to bottom.
        width: cells all around.
        scale: as in `compute_spectrum`.
        row_l2: as in `compute_spectrum`.
    """

    sizes: tuple[tuple[float, float], ...] = ((DEFAULT_SIZE, DEFAULT_SIZE),) * len(SOS_CATEGORIES)
    height: int = HEIGHT
    width: int = WIDTH
    scale: Scale = "lin"
    row_l2: bool = False

    def __post_init__(self) -> None:
        sizes = np.asarray(self.sizes, np.float64)
        if sizes.ndim != 2 or sizes.shape[1] != 2 or not (np.isfinite(sizes) & (sizes > 0)).all():
            raise ConfigError(
                f"reference sizes of shape {sizes.shape}: needed are K pairs of width and height "
                "in radians, all finite and above 0"
            )

    @staticmethod
    def fit(
        categories: ArrayLike, boxes: ArrayLike, minimum: int = 5, **options: Any
    ) -> ReferenceSpectra:
        """Take the median size of the boxes of each category.

        Args:
            categories: (N,) rows of the boxes, -1 to leave one out.
            boxes: (N, 4) heading, elevation, width, height [rad] of training objects.
            minimum: a category with fewer boxes gets 30 x 30 deg.
            options: further fields.
        """
        categories, boxes = np.asarray(categories), np.asarray(boxes, np.float64).reshape(-1, 4)
        sizes = []
        for row in range(len(SOS_CATEGORIES)):
            own = boxes[categories == row, 2:]
            median = np.median(own, axis=0) if len(own) >= minimum else [DEFAULT_SIZE, DEFAULT_SIZE]
            sizes.append((float(median[0]), float(median[1])))
        return ReferenceSpectra(tuple(sizes), **options)

    @staticmethod
    def load(path: Path, **options: Any) -> ReferenceSpectra:
        """Read the sizes that `save` wrote; categories that the file lacks get 30 x 30 deg.

        Raises:
            ConfigError: a file without sizes in degrees per category, or an unknown category.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read reference sizes from {path}: {error}") from error
        sizes = [(DEFAULT_SIZE, DEFAULT_SIZE)] * len(SOS_CATEGORIES)
        degrees = content.get("degrees") if isinstance(content, dict) else None
        if not isinstance(degrees, dict):
            raise ConfigError(f"{path}: no table 'degrees' of category: [width, height]")
        for name, size in degrees.items():
            if name not in SOS_INDEX:
                raise ConfigError(
                    f"{path}: unknown category '{name}'; {suggest_nearest(name, SOS_INDEX)}"
                )
            if not isinstance(size, list) or len(size) != 2:
                raise ConfigError(f"{path}: '{name}' is {size!r}: needed are [width, height] [deg]")
            sizes[SOS_INDEX[name]] = (float(np.radians(size[0])), float(np.radians(size[1])))
        return ReferenceSpectra(tuple(sizes), **options)

    def save(self, path: Path) -> None:
        """Write the sizes as a table that people can read and change."""
        degrees = np.degrees(self.sizes).round(3).tolist()
        table = {"degrees": dict(zip(SOS_CATEGORIES, degrees, strict=True))}
        write_text(path, json.dumps(table, indent=1) + "\n")

    def compute_box_cells(self, row: int) -> tuple[int, int]:
        """Return rows and columns of the box of a category, at least 1, at most all."""
        wide, high = self.sizes[row]
        return (
            min(max(round(high / (2 * TOP / self.height)), 1), self.height),
            min(max(round(wide / (2 * np.pi / self.width)), 1), self.width),
        )

    def build_masks(self, rows: Sequence[int]) -> Tensor:
        """Return the canvases of B words, (B, K, H, W) bool."""
        canvas = torch.zeros(len(rows), len(self.sizes), self.height, self.width, dtype=torch.bool)
        for word, row in enumerate(rows):
            high, wide = self.compute_box_cells(row)
            top, left = (self.height - high) // 2, (self.width - wide) // 2
            canvas[word, row, top : top + high, left : left + wide] = True
        return canvas

    def compute_spectra(self, rows: Sequence[int]) -> Tensor:
        """Return the spectra of B words given by their categories, (B, K, W // 2 + 1)."""
        return compute_spectrum(self.build_masks(rows), self.scale, self.row_l2)


def cosine_similarity(words: Tensor, places: Tensor) -> Tensor:
    """Return the cosines between words and places.

    Args:
        words: (B, ...) spectra; axes behind the first are flattened.
        places: (N, ...) spectra.

    Returns:
        (B, N) in [-1, 1]; 0 for a place where nothing is seen.
    """
    words, places = words.flatten(1), places.flatten(1)
    norms = words.norm(dim=1)[:, None] * places.norm(dim=1)
    return words @ places.T / norms.clamp_min(EPS)


class Alignment(NamedTuple):
    """How well trajectories match an instruction.

    Attributes:
        values: (F,) scores.
        fallback: (F,) bool: the largest cosine of the goal word stands in for S_nav.
    """

    values: Tensor
    fallback: Tensor

    @property
    def branches(self) -> list[str]:
        """Return `snav` or `fallback` for each trajectory."""
        return ["fallback" if f else "snav" for f in self.fallback.tolist()]


def compute_s_nav(
    words: Tensor, places: Tensor, paths: Tensor | None = None, goal: int = -1
) -> Alignment:
    """Score trajectories against the object words of an instruction.

    S_nav(T') of Meta-Explore: the sum over words i and places j of the trajectory of
    cos(d_i, S_j) <d_i - mean d, S_j - mean S>, over the root of
    (t'/B) sum_i |d_i - mean d|^2 sum_j |S_j - mean S|^2. The order of words or places plays no
    part. One-to-one matches of disjoint words score 1; no score exceeds B.

    With one word or one place both sums of squares vanish; then, and when all words stand for the
    same spectrum, the score is the largest cosine of the goal word along the trajectory (our
    choice). A trajectory on which nothing varies scores 0 in S_nav.

    All trajectories over the same places cost one product of words and places and one of places
    among themselves: centring is done in the Gram matrices, in float64.

    Args:
        words: (B, ...) reference spectra, axes behind the first are flattened.
        places: (M, ...) spectra of places.
        paths: (F, M) bool, which places each trajectory visits; None: one trajectory over all.
        goal: index of the goal word.

    Returns:
        F scores and where they are fallbacks.

    Raises:
        ValueError: no word, or a trajectory without a place.
    """
    d, s = words.flatten(1).double(), places.flatten(1).double()
    on = s.new_ones(1, len(s)) if paths is None else paths.double()
    length = on.sum(dim=1)
    if not len(d) or not bool((length > 0).all()):
        raise ValueError(
            f"{len(d)} words and trajectories of {length.long().tolist()} places: "
            "at least one word and one place are needed"
        )
    table = cosine_similarity(d, s)
    cross = d @ s.T
    cross = cross - cross.mean(dim=0)  # words centred, (B, M)
    inner = s @ s.T
    mean = on @ cross.T / length[:, None]  # (F, B), to centre the places
    top = on @ (table * cross).sum(dim=0) - ((on @ table.T) * mean).sum(dim=1)
    spread_d = (d - d.mean(dim=0)).square().sum()
    spread_s = on @ inner.diagonal() - ((on @ inner) * on).sum(dim=1) / length
    scale = d.square().sum()
    flat = spread_s <= EPS * (on @ inner.diagonal()).clamp_min(EPS)
    bottom = (length / len(d) * spread_d * spread_s.clamp_min(0)).sqrt()
    values = torch.where(flat, 0.0, top / bottom.clamp_min(EPS))
    fallback = (length < 2) | bool(len(d) < 2 or spread_d <= EPS * scale)
    best = torch.where(on > 0, table[goal], -torch.inf).max(dim=1).values
    return Alignment(torch.where(fallback, best, values).float(), fallback)
