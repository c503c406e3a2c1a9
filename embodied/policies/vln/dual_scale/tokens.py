"""From observations to the tokens of a panorama: candidates, other views, objects.

Everything is gathered for the whole batch in numpy; the three groups are padded to the batch's
longest each, and a group's slots keep the order of the observation, so that candidate i is token i
and object j is token (candidates + views + j).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from embodied.errors import ConfigError
from embodied.nn.placement import to_tensor_like
from embodied.policies.base import require_observations
from embodied.policies.vln.dual_scale.config import DualScaleConfig, DualScaleInputs
from embodied.policies.vln.dual_scale.instruction_features import (
    INSTRUCTION_FEATURES,
    read_instruction_features,
)
from maps.panorama.observation import VIEWS

OTHER_VIEW, CANDIDATE, OBJECT = range(3)
"""Kinds of a token; the numbers are the rows of the kind embedding (DUET's nav types)."""

ANGLES, BOX = 4, 3

VIEW_HEIGHT, VIEW_WIDTH = np.radians(60.0), 2 * np.arctan(640 / 480 * np.tan(np.radians(30.0)))
"""Field of view of the 640 x 480 views [rad]: objects' sizes are given in parts of it."""

_FINITE = ("views", "position", "heading", "candidate_positions", "object_boxes", "object_features")
_KEYS = ("place", "candidates", "objects", "object_names", "object_categories", *_FINITE)


@dataclass(frozen=True)
class Panorama:
    """Tokens of B panoramas; S = C + V + O.

    Attributes:
        views: (B, C + V, Dv) features of the view nearest to each candidate, then of the views
            that no candidate stands for.
        features: (B, O, Do) of the objects.
        categories: (B, O) rows of the category embedding, 0 for none.
        names: (B, O) rows of `words`.
        words: the distinct object names.
        instruction_features: (B, O, 6) what the instruction mentions of the objects; 0 unless asked
            for.
        places: (B, S, 7) sine and cosine of heading (from straight ahead) and elevation, then
            height, width and their product, in parts of a view; 1, 1, 1 for views.
        kinds: (B, S) `OTHER_VIEW`, `CANDIDATE` or `OBJECT`.
        present: (B, S) bool, false for padding.
        candidates: C.
        objects: O.
        view_index: (B, C + V) which of the view tokens 0..35 or 0..11 it is.
    """

    views: Tensor
    features: Tensor
    categories: Tensor
    names: Tensor
    words: tuple[str, ...]
    instruction_features: Tensor
    places: Tensor
    kinds: Tensor
    present: Tensor
    candidates: int
    objects: int
    view_index: NDArray[np.int64]


def check_observations(observations: Mapping[str, Any], inputs: DualScaleInputs) -> None:
    """Refuse observations that the network cannot read.

    Raises:
        ConfigError: a missing key, another number of features, or numbers that are not finite.
    """
    require_observations(observations, *_KEYS)
    for key, width in (("views", inputs.views), ("object_features", inputs.objects)):
        shape = np.shape(observations[key])
        if len(shape) != 3 or shape[-1] != width or (key == "views" and shape[1] != VIEWS):
            raise ConfigError(
                f"observation '{key}' has shape {shape}; this network was made for "
                f"{width} features each: use the task settings it was trained with"
            )
    for key in _FINITE:
        values = np.asarray(observations[key])
        if not np.isfinite(values).all():
            row = np.argwhere(~np.isfinite(values))[0].tolist()
            raise ConfigError(
                f"observation '{key}' holds {values[tuple(row)]} at index {row} "
                "(episode of the batch first): correct the data it was made from"
            )


def build_panorama(
    observations: Mapping[str, Any], config: DualScaleConfig, like: Tensor
) -> Panorama:
    """Build the tokens of B panoramas, as the first part of DUET's section 3.2 describes them.

    Each candidate is represented by the view nearest to its direction, with its own exact angles.
    Views without any feature (no object in them, where features are made of boxes) carry nothing
    and are left out; so are all views and objects of a blind agent.

    Args:
        observations: entries (B, ...) that `check_observations` let pass.
        config: which tokens there are.
        like: a tensor of the network, whose device and precision the tokens get.
    """
    heading = np.asarray(observations["heading"], np.float64).reshape(-1)
    count = len(heading)
    views, columns = _view_features(observations, config)

    ids = np.asarray(observations["candidates"])
    ids = ids[:, : _longest(ids >= 0)]
    present = ids >= 0
    delta = np.asarray(observations["candidate_positions"], np.float64)[:, : ids.shape[1]]
    delta = delta - np.asarray(observations["position"], np.float64)[:, None]
    toward = np.arctan2(delta[..., 0], -delta[..., 2])
    up = np.arctan2(delta[..., 1], np.maximum(np.hypot(delta[..., 0], delta[..., 2]), 1e-8))
    nearest = np.rint(toward / np.radians(30.0)).astype(np.int64) % 12
    if columns == VIEWS:
        nearest += 12 * (1 + np.clip(np.rint(up / np.radians(30.0)), -1, 1).astype(np.int64))

    used = np.zeros((count, columns), bool)
    rows = np.broadcast_to(np.arange(count)[:, None], ids.shape)
    used[rows[present], nearest[present]] = True
    others = ~used & views.any(axis=-1)
    order = np.argsort(~others, axis=1, kind="stable")[:, : others.sum(axis=1).max(initial=0)]
    rest = np.take_along_axis(others, order, axis=1)
    index = np.concatenate([nearest, order], axis=1)

    boxes = np.asarray(observations["object_boxes"], np.float64)
    shown = np.asarray(observations["objects"]) >= 0
    if config.blind:
        shown = np.zeros_like(shown)
    length = _longest(shown)
    shown, boxes = shown[:, :length], boxes[:, :length]

    # Directions of the views themselves: heading 30 deg * column, elevation of the row.
    ahead = np.radians(30.0) * (order % 12)
    level = np.radians(30.0) * (order // 12 - 1) if columns == VIEWS else np.zeros(order.shape)
    places = _places(
        np.concatenate([toward, ahead, boxes[..., 0]], axis=1) - heading[:, None],
        np.concatenate([up, level, boxes[..., 1]], axis=1),
        boxes[..., 2:],
    )
    names, words = _names(observations["object_names"], shown)
    kinds = np.repeat([CANDIDATE, OTHER_VIEW, OBJECT], [ids.shape[1], order.shape[1], length])
    categories = np.asarray(observations["object_categories"], np.int64)[:, :length]
    features = np.asarray(observations["object_features"], np.float32)[:, :length]
    return Panorama(
        views=to_tensor_like(like, np.take_along_axis(views, index[..., None], axis=1)),
        features=to_tensor_like(like, features * shown[..., None]),
        categories=to_tensor_like(like, np.where(shown, categories + 1, 0)),
        names=to_tensor_like(like, names),
        words=words,
        instruction_features=to_tensor_like(
            like, _mentions(observations, shown, config.instruction_features)
        ),
        places=to_tensor_like(like, places),
        kinds=to_tensor_like(like, np.broadcast_to(kinds, (count, len(kinds))).copy()),
        present=to_tensor_like(like, np.concatenate([present, rest, shown], axis=1)),
        candidates=ids.shape[1],
        objects=length,
        view_index=index,
    )


def _view_features(
    observations: Mapping[str, Any], config: DualScaleConfig
) -> tuple[NDArray[np.float32], int]:
    """Features of the view tokens (B, 36 or 12, Dv) and how many there are."""
    views = np.asarray(observations["views"], np.float32)
    if config.blind:
        views = np.zeros_like(views)
    if config.view_tokens == 12:
        views = views.reshape(len(views), 3, 12, -1).mean(axis=1)
    return views, config.view_tokens


def _longest(present: NDArray[np.bool_]) -> int:
    """Length that holds every token of (B, S), whose padding is at the end of each row."""
    columns = np.flatnonzero(present.any(axis=0))
    return int(columns[-1]) + 1 if len(columns) else 0


def _places(
    heading: NDArray[np.float64], elevation: NDArray[np.float64], sizes: NDArray[np.float64]
) -> NDArray[np.float32]:
    places = np.ones((*heading.shape, ANGLES + BOX), np.float32)
    places[..., 0], places[..., 1] = np.sin(heading), np.cos(heading)
    places[..., 2], places[..., 3] = np.sin(elevation), np.cos(elevation)
    if sizes.shape[1]:
        height, width = sizes[..., 1] / VIEW_HEIGHT, sizes[..., 0] / VIEW_WIDTH
        places[:, -sizes.shape[1] :, 4:] = np.stack([height, width, height * width], axis=-1)
    return places


def _mentions(
    observations: Mapping[str, Any], shown: NDArray[np.bool_], wanted: bool
) -> NDArray[np.float32]:
    """Features (B, O, 6) of `INSTRUCTION_FEATURES`."""
    found = np.zeros((*shown.shape, len(INSTRUCTION_FEATURES)), np.float32)
    if wanted and shown.any():
        names, categories = observations["object_names"], observations["object_categories"]
        (instructions,) = require_observations(observations, "instruction")
        for row, count in enumerate(shown.sum(axis=1).tolist()):
            mentions = read_instruction_features(instructions[row])
            for column in range(count):
                category = int(categories[row][column])
                found[row, column] = mentions.compute_features(names[row][column], category)
    return found


def _names(
    names: tuple[tuple[str, ...], ...], shown: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the distinct names of a batch: rows (B, O) and the names."""
    numbers: dict[str, int] = {}
    rows = np.zeros(shown.shape, np.int64)
    for row, (line, count) in enumerate(zip(names, shown.sum(axis=1).tolist(), strict=True)):
        for column in range(count):
            rows[row, column] = numbers.setdefault(line[column], len(numbers))
    return rows, tuple(numbers)
