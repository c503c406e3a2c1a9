"""habitat-lab's cameras, rendered by the embedded simulator.

Loaded by `register_with_habitat`, never before. The sensors keep their own class names:
habitat-sim's stay registered where it is installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gym import spaces
from habitat.core.simulator import DepthSensor, RGBSensor, SemanticSensor, Sensor, SensorSuite
from numpy.typing import NDArray

from embodied.simulators.base import CameraSpec
from embodied.simulators.habitat import convert

Array = NDArray[np.float64]


class EmbodiedRGBSensor(RGBSensor):
    """Colour: (H, W, 3) uint8."""

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> spaces.Box:
        return spaces.Box(0, 255, (self.config.height, self.config.width, 3), np.uint8)

    def get_observation(self, images: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
        """Pick this sensor's image."""
        return images[self.uuid]


class EmbodiedDepthSensor(DepthSensor):
    """Depth: (H, W, 1) float32, clipped to its range and scaled to [0, 1] when configured so."""

    def __init__(self, config: Any) -> None:
        self._low, self._high = float(config.min_depth), float(config.max_depth)
        self._normalize = bool(config.normalize_depth)
        super().__init__(config=config)

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> spaces.Box:
        low, high = (0.0, 1.0) if self._normalize else (self._low, self._high)
        return spaces.Box(low, high, (self.config.height, self.config.width, 1), np.float32)

    def get_observation(self, images: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Clip and scale this sensor's image."""
        depth = np.clip(images[self.uuid], self._low, self._high)[..., None]
        if self._normalize:
            depth = (depth - self._low) / (self._high - self._low)
        return depth.astype(np.float32, copy=False)


class EmbodiedSemanticSensor(SemanticSensor):
    """Instance ids: (H, W, 1) int32, indices into `semantic_annotations().objects`."""

    def _get_observation_space(self, *args: Any, **kwargs: Any) -> spaces.Box:
        top = np.iinfo(np.uint32).max  # habitat-lab's own bounds
        return spaces.Box(0, top, (self.config.height, self.config.width, 1), np.int32)

    def get_observation(self, images: dict[str, NDArray[Any]]) -> NDArray[np.int32]:
        """Pick this sensor's image."""
        return images[self.uuid][..., None]


_SENSOR_CLASSES: dict[str, Any] = {
    "rgb": EmbodiedRGBSensor,
    "depth": EmbodiedDepthSensor,
    "instance": EmbodiedSemanticSensor,
}


@dataclass
class SharedCamera:
    """Sensors that share one camera: rendered in one pass."""

    camera: CameraSpec
    mount: Array
    uuids: dict[str, str]  # output -> uuid


def build_sensors(configs: Iterable[Any]) -> tuple[SensorSuite, list[SharedCamera]]:
    """Return the sensors of habitat-lab's sensor configurations and the cameras behind them.

    Raises:
        SensorError: a sensor the embedded simulator lacks.
    """
    sensors: list[Sensor] = []
    views: list[SharedCamera] = []
    for config in configs:
        camera, mounted = convert.read_camera_spec(config), convert.read_mount_pose(config)
        (output,) = camera.outputs
        sensor: Sensor = _SENSOR_CLASSES[output](config=config)
        sensors.append(sensor)
        for view in views:
            if output not in view.uuids and _shareable(view, camera, mounted):
                view.uuids[output] = sensor.uuid
                view.camera = _merged(view.camera, camera)
                break
        else:
            views.append(SharedCamera(camera, mounted, {output: sensor.uuid}))
    return SensorSuite(sensors), views


def _shareable(view: SharedCamera, camera: CameraSpec, mounted: Array) -> bool:
    same = ("width", "height", "hfov", "projection")
    return all(getattr(view.camera, k) == getattr(camera, k) for k in same) and np.array_equal(
        view.mount, mounted
    )


def _merged(first: CameraSpec, second: CameraSpec) -> CameraSpec:
    """Return one camera with the outputs and the noise of both."""
    noise = replace(
        first.noise,
        rgb_sigma=max(first.noise.rgb_sigma, second.noise.rgb_sigma),
        depth="redwood" if "redwood" in (first.noise.depth, second.noise.depth) else "none",
        depth_multiplier=(
            second if second.noise.depth == "redwood" else first
        ).noise.depth_multiplier,
    )
    return replace(first, outputs=(*first.outputs, *second.outputs), noise=noise)
