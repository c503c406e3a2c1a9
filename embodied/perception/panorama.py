"""From the detections around a place to its `PanoramaObservation`, so that a real detector can
drive the agent.

A detector sees the 36 views one by one and finds the same chair in several of them; the boxes are
turned into angles, those of one object are joined, and the rest is what annotated boxes go through.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embodied.categories import SOS_CATEGORIES, SOS_INDEX
from embodied.errors import SensorError
from embodied.perception.detection import Detections
from embodied.perception.landmarks import find_landmarks
from maps.panorama.canvas import view_boxes_to_canvas
from maps.panorama.from_boxes import build_panorama_from_boxes
from maps.panorama.observation import VIEWS, PanoramaObservation
from maps.panorama.views import IMAGE_HEIGHT, IMAGE_WIDTH, boxes_to_angles, join_boxes, wrap_angle

OVERLAP = 0.5
"""Boxes of two views show one object if they have the same label and share this part of the
smaller one (our choice: neighbouring views turn by 30 of 75 deg, so boxes are often cut)."""


def find_canvas_row(label: str) -> int:
    """Return the canvas row of an object's name, -1 for none: "potted plant" is a plant."""
    name = "_".join(label.lower().split())
    if name in SOS_INDEX:
        return SOS_INDEX[name]
    words = find_landmarks(label)
    return words[-1].row if words else -1  # the last noun is the head: "chair cushion"


def observation_from_views(
    detections: Sequence[Detections],
    size: tuple[int, int] = (IMAGE_HEIGHT, IMAGE_WIDTH),
    first_id: int = 0,
) -> PanoramaObservation:
    """Describe a place by the detections in its 36 views.

    Args:
        detections: of view 0 .. 35, see `maps.panorama.observation.VIEWS`.
        size: height and width of the images [px], 3:4.
        first_id: identity of the first object; the others count on.

    Raises:
        SensorError: not 36 detections, or images that are not 4:3.
    """
    if len(detections) != VIEWS or size[0] * 4 != size[1] * 3:
        raise SensorError(
            f"{len(detections)} views of {size[1]} x {size[0]} pixels: give {VIEWS} of 4:3, e.g. "
            f"640x480"
        )
    views = np.repeat(np.arange(VIEWS), [len(f) for f in detections])
    labels = [label for f in detections for label in f.labels]
    scores = np.concatenate([f.scores for f in detections])
    boxes = np.concatenate([f.boxes for f in detections]).astype(np.float64) * (
        IMAGE_HEIGHT / size[0]
    )
    boxes[:, 2:] -= boxes[:, :2]  # left, top, width, height
    owner = group_detections(labels, views, boxes_to_angles(views, boxes), scores)
    count = int(owner.max(initial=-1)) + 1
    names = [labels[int(np.flatnonzero(owner == i)[0])] for i in range(count)]
    rows = [find_canvas_row(name) for name in names]
    canvas = view_boxes_to_canvas(rows, owner, views, boxes, len(SOS_CATEGORIES))
    joined = join_boxes(owner, views, boxes)
    ids = np.arange(first_id, first_id + count)
    return build_panorama_from_boxes(ids, names, rows, joined, len(SOS_CATEGORIES), canvas=canvas)


def observation_from_panorama(
    detections: Detections, size: tuple[int, int], heading: float = 0.0, first_id: int = 0
) -> PanoramaObservation:
    """Describe a place by the detections in an equirectangular image of the full sphere.

    Args:
        detections: boxes may go beyond the right edge.
        size: height and width of the image [px].
        heading: of the middle of the image [rad], clockwise from north.
        first_id: identity of the first object; the others count on.

    Raises:
        SensorError: the image is not twice as wide as high.
    """
    height, width = size
    if width != 2 * height:
        raise SensorError(f"a panorama of {width} x {height} pixels must be twice as wide as high")
    left, top, right, bottom = detections.boxes.astype(np.float64).T
    step = 2 * np.pi / width
    angles = np.stack(
        [
            ((left + right) / 2 * step - np.pi + heading) % (2 * np.pi),
            np.pi / 2 - (top + bottom) / 2 * step,
            (right - left) * step,
            (bottom - top) * step,
        ],
        axis=1,
    )
    rows = [find_canvas_row(name) for name in detections.labels]
    ids = np.arange(first_id, first_id + len(detections))
    return build_panorama_from_boxes(ids, detections.labels, rows, angles, len(SOS_CATEGORIES))


def group_detections(
    labels: Sequence[str],
    views: NDArray[np.int64],
    angles: NDArray[np.floating],
    scores: NDArray[np.floating],
) -> NDArray[np.int64]:
    """Return the object (N,) of each detection, 0 .. O-1 in order of the best score.

    Detections join greedily, best first: each goes to the object of the same label that it overlaps
    most, if that is not yet seen in its view.

    Args:
        labels: N names.
        views: (N,) view of each.
        angles: (N, 4) heading and elevation of the centre, width and height [rad].
        scores: (N,).
    """
    owner = np.full(len(labels), -1, np.int64)
    members: list[list[int]] = []
    for i in np.argsort(-scores, kind="stable"):
        best, most = -1, OVERLAP
        for number, group in enumerate(members):
            if labels[group[0]] != labels[i] or any(views[j] == views[i] for j in group):
                continue
            share = float(_overlap(angles[i], angles[group]).max())
            if share >= most:
                best, most = number, share
        if best < 0:
            best = len(members)
            members.append([])
        members[best].append(int(i))
        owner[i] = best
    return owner


def _overlap(one: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return which part of the smaller of two angular boxes they share, (M,)."""
    apart = np.abs(np.stack([wrap_angle(others[:, 0] - one[0]), others[:, 1] - one[1]], axis=1))
    shared = np.clip((one[2:] + others[:, 2:]) / 2 - apart, 0, np.minimum(one[2:], others[:, 2:]))
    smaller = np.minimum(one[2] * one[3], others[:, 2] * others[:, 3])
    return shared.prod(axis=1) / smaller
