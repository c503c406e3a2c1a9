"""Percepts from predicted semantics: objects are connected parts of a class image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.categories import MPCAT40, SOS_CATEGORIES, SOS_INDEX, STRUCTURE
from embodied.errors import SensorError
from maps.panorama.from_images import build_panorama_from_images
from maps.panorama.observation import PanoramaObservation

Segment = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.integer]]
"""rgb (N, H, W, 3) and depth (N, H, W) [m], whole equirectangular images with north in the middle
-> class ids (N, H, W) into `embodied.categories.MPCAT40`."""

PLACE_ID_STRIDE = 1000
"""Predicted object k of place p has the identity STRIDE * (p + 1) + k."""

ROWS = np.array([SOS_INDEX.get(name, -1) for name in MPCAT40])
NAMES = tuple(name.replace("_", " ") for name in MPCAT40)
LISTED = np.array([name not in STRUCTURE - {"objects"} for name in MPCAT40])


def label_components(classes: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Split a class image into connected parts; left and right edge are joined.

    Args:
        classes: (H, W) class ids.

    Returns:
        (H, W) number of each pixel's part, from 1, and the class of each part, [0] unused.
    """
    parts = np.zeros(classes.shape, np.int32)
    kinds = [-1]
    for kind in np.unique(classes):
        mask = np.ascontiguousarray(classes == kind, np.uint8)
        count, labels = cv2.connectedComponents(mask, connectivity=8)
        parts[mask > 0] = labels[mask > 0] + (len(kinds) - 1)
        kinds += [int(kind)] * (count - 1)
    leader = np.arange(len(kinds))
    left, right = parts[:, 0], parts[:, -1]
    for shift in (-1, 0, 1):
        rows = np.arange(max(0, -shift), len(left) - max(0, shift))
        for a, b in zip(left[rows], right[rows + shift], strict=True):
            if kinds[a] == kinds[b]:
                a, b = leader[a], leader[b]
                leader[leader == max(a, b)] = min(a, b)
    return leader[parts].astype(np.int32), np.array(kinds, np.int64)


def perceive_predicted(
    images: Mapping[str, NDArray[Any]],
    segment: Segment,
    truth: Sequence[PanoramaObservation],
    reach: float,
    min_area: float,
) -> tuple[list[PanoramaObservation], list[NDArray[np.int64]]]:
    """Describe places with predicted semantics.

    Args:
        images: "rgb", "depth" and "instance" (the true one, for scoring) of N places.
        segment: the predictor.
        truth: N percepts with true semantics.
        reach: as in `build_panorama_from_images`.
        min_area: as in `build_panorama_from_images`.

    Returns:
        N percepts, and per percept the true object behind each of its objects: the one listed in
        `truth` that it overlaps most, -1 if most of it is none.

    Raises:
        SensorError: the predictor returned another shape, or classes that do not exist.
    """
    predicted = np.asarray(segment(images["rgb"], images["depth"]))
    shape = images["depth"].shape
    if predicted.shape != shape or predicted.dtype.kind not in "iu":
        raise SensorError(
            f"the segmenter returned {predicted.dtype} {predicted.shape} for images {shape}: "
            "it must return one class id per pixel"
        )
    if predicted.min() < 0 or predicted.max() >= len(MPCAT40):
        raise SensorError(
            f"the segmenter returned classes {predicted.min()} .. {predicted.max()}: allowed are "
            f"0 .. {len(MPCAT40) - 1} (mpcat40)"
        )
    percepts, identities = [], []
    for place in range(len(predicted)):
        parts, kinds = label_components(predicted[place])
        base = PLACE_ID_STRIDE * (place + 1)
        names = {base + k: NAMES[kind] for k, kind in enumerate(kinds)}
        listed = np.zeros(base + len(kinds), bool)
        listed[base + 1 :] = LISTED[kinds[1:]]
        percept = build_panorama_from_images(
            images["rgb"][place], images["depth"][place], ROWS[predicted[place]],
            parts + base, names, len(SOS_CATEGORIES),
            reach=reach, min_area=min_area, listed=listed,
        )  # fmt: skip
        percepts.append(percept)
        known = set(truth[place].objects.tolist())
        identities.append(_behind(percept.objects - base, parts, images["instance"][place], known))
    return percepts, identities


def _behind(
    ids: NDArray[np.int64], parts: NDArray[np.int32], instance: NDArray[Any], known: set[int]
) -> NDArray[np.int64]:
    """Return the true object most pixels of each part show, -1 where it is not a known one."""
    found = []
    for k in ids:
        shown, counts = np.unique(instance[parts == k], return_counts=True)
        best = int(shown[counts.argmax()])
        found.append(best if best in known else -1)
    return np.array(found, np.int64)
