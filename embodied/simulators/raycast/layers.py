"""One picture of several scenes in the same place: of every ray, the nearest hit counts.

A house does not change while things move in it. Each is traced by its own caster, and since light
here throws no shadows, the picture is the same as that of one scene with all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embodied.errors import SensorError
from embodied.simulators.base import CameraSpec
from embodied.simulators.raycast.caster import Renderable, render_many

_FAR = 1.0e4  # [m]


def render_layers(
    layers: Sequence[tuple[Renderable, NDArray[np.int32]]],
    camera: CameraSpec,
    poses: NDArray[np.floating],
) -> dict[str, NDArray[np.generic]]:
    """Render one camera at many poses.

    Args:
        layers: ray casters, each with the class id (C,) that its own class ids stand for.
        camera: what to render, all but "instance"; its `position` and `pitch` are not applied.
        poses: (N, 4, 4) camera to the frame that all layers share.

    Returns:
        One array per output, as of `render_many`.

    Raises:
        SensorError: no layer, poses that are not (N, 4, 4), or instances asked for.
    """
    if "instance" in camera.outputs or not layers:
        raise SensorError(
            f"{len(layers)} layers with {', '.join(camera.outputs)}: give at least one layer, and "
            "do not ask for 'instance', whose numbers belong to one scene"
        )
    outputs = tuple(dict.fromkeys((*camera.outputs, "depth")))
    deep = replace(camera, outputs=outputs, min_depth=0.0, max_depth=_FAR)
    merged: dict[str, NDArray[np.generic]] = {}
    for caster, classes in layers:
        images = render_many([caster] * len(poses), deep, poses)
        if "semantic" in images:
            images["semantic"] = classes[images["semantic"]]
        if not merged:
            merged = images
            continue
        depth, behind = (np.asarray(one["depth"], np.float32) for one in (images, merged))
        nearer = (depth > 0) & ((behind == 0) | (depth < behind))
        for name, image in images.items():
            merged[name][nearer] = image[nearer]
    far = np.asarray(merged["depth"], np.float32)
    shown = (far > 0) & (far <= camera.max_depth)
    near = np.float32(camera.min_depth)
    merged["depth"] = np.where(shown, np.maximum(far, near), np.float32(0.0))
    return {name: merged[name] for name in camera.outputs}
