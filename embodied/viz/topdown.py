"""A house from above, its ceilings taken off, with the agent's path and fog over the unseen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.simulators.base import CameraSpec, Scene
from embodied.simulators.raycast import RayCaster
from maps.drawing import MapCanvas, MapPalette
from maps.grid.occupancy import OccupancyMap

Image = NDArray[np.uint8]

CUT = 1.9
"""Height above the floor at which the house is cut open [m]: above furniture, below ceilings."""
NARROW = 16.0
"""Field of view of the camera above [deg]: so small that walls hardly lean."""
DIMMING = 0.015
"""Share of light the renderer takes off per metre, at short range."""
FOG = np.array([176, 184, 196], np.float32)


@dataclass(frozen=True)
class FloorPlan:
    """A picture of one storey and where it lies in the world.

    Attributes:
        image: (S, S, 3) uint8.
        house: (S, S) share of each pixel that shows the house, not the ground around it.
        low, high: world corners (x, z) of the picture [m].
        floor: height of the storey [m].
    """

    image: Image
    house: NDArray[np.float32]
    low: tuple[float, float]
    high: tuple[float, float]
    floor: float

    def draw_overlay(
        self,
        *,
        seen: OccupancyMap | None = None,
        path: ArrayLike | None = None,
        goal: ArrayLike | None = None,
        agent: tuple[ArrayLike, float] | None = None,
    ) -> Image:
        """Return the picture with fog over what `seen` does not know, a path (N, 3) and marks."""
        canvas = MapCanvas(self.low, self.high, self.image.shape[:2])
        canvas.image = self.image.copy() if seen is None else self._fogged(seen)
        width = max(3.0, 0.07 * canvas.scale)
        if path is not None and len(points := np.asarray(path)) > 1:
            halo = canvas.palette.halo
            canvas.draw_polyline(points, halo, halo, width + 3)
            canvas.draw_polyline(points, canvas.palette.path_old, canvas.palette.path_new, width)
        if goal is not None:
            canvas.draw_goal(goal)
        if agent is not None:
            canvas.draw_agent(*agent)
        canvas.draw_scale_bar()
        return canvas.image

    def _fogged(self, seen: OccupancyMap) -> Image:
        size = self.image.shape[0]
        centers = (np.arange(size) + 0.5) / size
        x = self.low[0] + centers * (self.high[0] - self.low[0])
        z = self.low[1] + centers * (self.high[1] - self.low[1])
        points = np.stack(
            [
                np.broadcast_to(x, (size, size)),
                np.zeros((size, size)),
                np.repeat(z, size).reshape(size, size),
            ],
            axis=-1,
        )
        cells = seen.to_cell(points.reshape(-1, 3))
        inside = seen.contains(cells)
        known = np.zeros(len(cells), np.float32)
        known[inside] = seen.explored[cells[inside, 0], cells[inside, 1]]
        # a wall's far half is never seen: close the gap, then soften the edge
        clear = cv2.dilate(known.reshape(size, size), np.ones((5, 5), np.uint8))
        clear = cv2.GaussianBlur(clear, (0, 0), size / 300)[..., None]
        clear = np.maximum(clear, 1 - self.house[..., None])
        grey = self.image.mean(axis=2, keepdims=True) * 0.35 + FOG * 0.5
        return (self.image * clear + grey * (1 - clear)).clip(0, 255).astype(np.uint8)


def render_floor_plan(
    scene: Scene, floor: float = 0.0, size: int = 720, margin: float = 0.4
) -> FloorPlan:
    """Render one storey of a scene from above.

    Args:
        scene: any scene; ceilings and what begins more than `CUT` above the floor are taken off.
        floor: height of the storey [m].
        size: side of the square picture [px].
        margin: space around the house [m].

    Returns:
        The picture with its place in the world.
    """
    low, high = _open(scene, floor).bounds[:, [0, 2]]
    center, half = (low + high) / 2, float((high - low).max()) / 2 + margin
    height = half / np.tan(np.deg2rad(NARROW) / 2)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    pose[:3, 3] = (center[0], floor + height, center[1])
    camera = CameraSpec(outputs=("rgb", "depth"), width=2 * size, height=2 * size, hfov=NARROW)
    images = RayCaster(_open(scene, floor)).render(camera, pose[None])
    rgb, depth = images["rgb"][0].astype(np.float32), images["depth"][0]
    # the renderer dims with distance, as indoors; from far above that would be night
    rgb *= (1 + DIMMING * depth[..., None]) / (1 + DIMMING * 2.0)
    rgb[(depth <= 0) | (depth > height + 0.5)] = MapPalette().unknown
    rgb = rgb.clip(0, 255).astype(np.uint8)
    house = ((depth > 0) & (depth <= height + 0.5)).astype(np.float32)
    image = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)
    corners = (center - half, center + half)
    (x0, z0), (x1, z1) = ((float(c[0]), float(c[1])) for c in corners)
    house = cv2.resize(house, (size, size), interpolation=cv2.INTER_AREA)
    return FloorPlan(image, house.astype(np.float32), (x0, z0), (x1, z1), floor)


def _open(scene: Scene, floor: float) -> Scene:
    """Return the scene without its ceilings and without other storeys."""
    heights = scene.vertices[scene.faces, 1]
    keep = (heights.min(axis=1) < floor + CUT) & (heights.max(axis=1) > floor - 0.5)
    names = np.array([o.category == "ceiling" for o in scene.objects])
    keep &= ~names[scene.face_object]
    if not keep.any():
        return scene
    return replace(
        scene,
        faces=scene.faces[keep],
        face_object=scene.face_object[keep],
        face_material=scene.face_material[keep],
        uv=None if scene.uv is None else scene.uv[keep],
    )
