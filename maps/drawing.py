"""Top-down pictures of maps: unknown, free, obstacles, fog of war, path, frontiers, goal, agent.

World x runs to the right and z downwards, so an agent at yaw 0 (looking along -z) points up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from maps.grid.frontiers import Frontier
from maps.grid.occupancy import OccupancyMap

Color = tuple[int, int, int]
Image = NDArray[np.uint8]
_SHIFT = 4  # fractional bits of the sub-pixel coordinates OpenCV draws with


@dataclass(frozen=True)
class MapPalette:
    """RGB colours of a picture."""

    unknown: Color = (226, 230, 236)
    free: Color = (255, 255, 255)
    hidden: Color = (196, 203, 214)
    obstacle: Color = (58, 66, 82)
    frontier: Color = (20, 168, 150)
    path_old: Color = (146, 178, 245)
    path_new: Color = (37, 84, 214)
    goal: Color = (226, 62, 87)
    agent: Color = (245, 132, 31)
    ink: Color = (58, 66, 82)
    halo: Color = (255, 255, 255)


class MapCanvas:
    """A picture of the world box `low` .. `high` (x, z) [m], at most `size` (height, width) pixels.

    The box is centred and keeps its proportions; what is left over shows the background colour.
    """

    def __init__(
        self,
        low: tuple[float, float],
        high: tuple[float, float],
        size: tuple[int, int],
        palette: MapPalette | None = None,
    ) -> None:
        if min(size) < 16:
            raise ValueError(f"picture size {size} must be at least 16 x 16 pixels")
        span = (high[0] - low[0], high[1] - low[1])
        if not (span[0] > 0 and span[1] > 0):
            raise ValueError(f"empty world box {low} .. {high}")
        self.palette = palette or MapPalette()
        self.scale = min(size[1] / span[0], size[0] / span[1])  # pixels per metre
        self._left = low[0] - (size[1] / self.scale - span[0]) / 2
        self._top = low[1] - (size[0] / self.scale - span[1]) / 2
        self.image: Image = np.full((*size, 3), self.palette.unknown, np.uint8)

    def to_pixels(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map world points (..., 2) x, z or (..., 3) x, y, z [m] to pixels (..., 2) x, y."""
        array = np.asarray(points, np.float64)
        if array.shape[-1] == 3:
            array = array[..., [0, 2]]
        return (array - (self._left, self._top)) * self.scale

    def draw_grid(self, colors: Image, origin: tuple[float, float], cell_size: float) -> None:
        """Lay a grid of colours (H, W, 3), whose low corner is `origin` (x, z) [m], over the
        canvas.
        """
        factor = self.scale * cell_size
        shift = self.to_pixels(np.array(origin))
        # cell centres sit at +0.5 in the grid and pixel centres at +0.5 in the picture
        matrix = np.array(
            [
                [factor, 0.0, shift[0] + 0.5 * factor - 0.5],
                [0.0, factor, shift[1] + 0.5 * factor - 0.5],
            ]
        )
        height, width = self.image.shape[:2]
        if factor < 1:  # shrinking: average first, or walls of one cell vanish
            columns = max(1, round(colors.shape[1] * factor))
            rows = max(1, round(colors.shape[0] * factor))
            colors = np.asarray(cv2.resize(colors, (columns, rows), interpolation=cv2.INTER_AREA))
            matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
        cv2.warpAffine(
            colors,
            matrix,
            (width, height),
            dst=self.image,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )

    def draw_dots(self, points: ArrayLike, color: Color, radius: float) -> None:
        """Draw discs of `radius` [m] at points (N, 2 or 3)."""
        spot = max(1.2, radius * self.scale)
        for x, y in self.to_pixels(points):
            self._disc(x, y, spot, color)

    def draw_polyline(self, points: ArrayLike, start: Color, end: Color, width: float) -> None:
        """Draw a polyline (N, 2 or 3) that fades from `start` to `end`, `width` in pixels."""
        corners = np.round(self.to_pixels(points) * 2**_SHIFT).astype(np.int32)
        blend = np.linspace(0.0, 1.0, max(1, len(corners) - 1))
        thick = max(1, round(width))
        for (a, b), t in zip(zip(corners[:-1], corners[1:], strict=True), blend, strict=False):
            color = tuple(round((1 - t) * p + t * q) for p, q in zip(start, end, strict=True))
            cv2.line(self.image, a.tolist(), b.tolist(), color, thick, cv2.LINE_AA, _SHIFT)

    def draw_goal(self, point: ArrayLike) -> None:
        """Draw a ring with a dot at a point (2 or 3,)."""
        x, y = self.to_pixels(point)
        radius = self._mark()
        self._disc(x, y, radius + 2, self.palette.halo)
        self._disc(x, y, radius, self.palette.goal)
        self._disc(x, y, 0.62 * radius, self.palette.halo)
        self._disc(x, y, 0.32 * radius, self.palette.goal)

    def draw_agent(self, position: ArrayLike, yaw: float) -> None:
        """Draw an arrowhead at a position (2 or 3,) with heading `yaw` [rad]."""
        x, y = self.to_pixels(position)
        forward = np.array([-np.sin(yaw), -np.cos(yaw)])
        side = np.array([-forward[1], forward[0]])
        size = 1.25 * self._mark()
        tip, tail, wing = forward * 1.25, -forward * 0.45, -forward * 0.95
        shape = np.stack([tip, wing + side * 0.85, tail, wing - side * 0.85])
        for grow, color in ((1.32, self.palette.halo), (1.0, self.palette.agent)):
            corners = (np.array([x, y]) + shape * size * grow) * 2**_SHIFT
            cv2.fillPoly(
                self.image, [np.round(corners).astype(np.int32)], color, cv2.LINE_AA, _SHIFT
            )

    def draw_scale_bar(self) -> None:
        """Draw a bar of a round length with its label in the lower left corner."""
        height, width = self.image.shape[:2]
        fits = [m for m in (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100) if m * self.scale <= 0.28 * width]
        if not fits:
            return
        metres = fits[-1]
        unit = max(0.35, height / 1100)
        pad, length = round(26 * unit), metres * self.scale
        left, y = float(pad), float(height - pad)
        bar = np.array([[left, y - 4], [left, y], [left + length, y], [left + length, y - 4]])
        corners = np.round(bar * 2**_SHIFT).astype(np.int32)
        label = (f"{metres:g} m", (pad, round(y - 12 * unit)), cv2.FONT_HERSHEY_SIMPLEX)
        for color, extra in ((self.palette.halo, 3), (self.palette.ink, 0)):
            thick = max(1, round(2 * unit)) + extra
            cv2.polylines(self.image, [corners], False, color, thick, cv2.LINE_AA, _SHIFT)
            cv2.putText(
                self.image,
                *label,
                0.75 * unit,
                color,
                max(1, round(1.6 * unit)) + extra,
                cv2.LINE_AA,
            )

    def _mark(self) -> float:
        """Radius of a marker [px]: about 20 cm, but visible in any picture."""
        return float(np.clip(0.2 * self.scale, 0.012 * min(self.image.shape[:2]) + 2, 40))

    def _disc(self, x: float, y: float, radius: float, color: Color) -> None:
        center = (round(x * 2**_SHIFT), round(y * 2**_SHIFT))
        cv2.circle(
            self.image, center, round(radius * 2**_SHIFT), color, cv2.FILLED, cv2.LINE_AA, _SHIFT
        )


def draw_map(
    grid: OccupancyMap,
    *,
    size: tuple[int, int] = (512, 512),
    box: tuple[tuple[float, float], tuple[float, float]] | None = None,
    path: ArrayLike | None = None,
    plan: ArrayLike | None = None,
    frontiers: Iterable[Frontier] = (),
    goal: ArrayLike | None = None,
    agent: tuple[ArrayLike, float] | None = None,
    palette: MapPalette | None = None,
) -> Image:
    """Draw a live map.

    Args:
        grid: the map; its explored part fills the picture unless `box` is given.
        size: (height, width) [px].
        box: low and high corner (x, z) [m] to show; keep it fixed for the frames of a video.
        path: (N, 3) positions visited, oldest first.
        plan: (M, 3) positions ahead.
        frontiers: drawn along their cells.
        goal: (3,) position.
        agent: position (3,) and heading [rad].
        palette: colours.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    colors = palette or MapPalette()
    rows, columns = grid.find_explored_window(margin=0.5)
    if rows.stop <= rows.start:
        rows = columns = slice(0, 1)
    x, z = grid.origin
    origin = (x + columns.start * grid.cell_size, z + rows.start * grid.cell_size)
    if box is None:
        box = (
            origin,
            (x + columns.stop * grid.cell_size, z + rows.stop * grid.cell_size),
        )
    canvas = MapCanvas(*box, size, colors)
    explored, occupied = grid.explored[rows, columns], grid.occupied[rows, columns]
    picture = np.full((*explored.shape, 3), colors.unknown, np.uint8)
    picture[explored] = colors.free
    picture[occupied] = colors.obstacle
    canvas.draw_grid(picture, origin, grid.cell_size)
    for frontier in frontiers:
        centers = (frontier.cells[:, ::-1] + 0.5) * grid.cell_size
        canvas.draw_dots(centers, colors.frontier, grid.cell_size * 0.75)
    _overlay(canvas, path, plan, goal, agent)
    return canvas.image


def draw_ground_truth(
    navigable: NDArray[np.bool_],
    origin: tuple[float, float],
    cell_size: float,
    *,
    seen: NDArray[np.bool_] | None = None,
    size: tuple[int, int] = (512, 512),
    path: ArrayLike | None = None,
    plan: ArrayLike | None = None,
    goal: ArrayLike | None = None,
    agent: tuple[ArrayLike, float] | None = None,
    palette: MapPalette | None = None,
) -> Image:
    """Draw a ground-truth floor plan under fog of war.

    Args:
        navigable: (H, W) walkable cells, rows along z, columns along x
            (`PathFinder.get_topdown_view`).
        origin: (x, z) of the low corner of cell (0, 0) [m].
        cell_size: [m].
        seen: (H, W) cells the agent has seen; the others are darkened. None: all seen.
        size: (height, width) [px].
        path: (N, 3) positions visited, oldest first.
        plan: (M, 3) positions ahead or a reference path.
        goal: (3,) position.
        agent: position (3,) and heading [rad].
        palette: colours.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: masks of different shape.
    """
    if navigable.ndim != 2 or (seen is not None and seen.shape != navigable.shape):
        raise ValueError(
            f"navigable {navigable.shape} and seen {None if seen is None else seen.shape} "
            "must be equal (H, W) masks"
        )
    colors = palette or MapPalette()
    high = (origin[0] + navigable.shape[1] * cell_size, origin[1] + navigable.shape[0] * cell_size)
    canvas = MapCanvas(origin, high, size, colors)
    picture = np.full((*navigable.shape, 3), colors.unknown, np.uint8)
    picture[navigable] = colors.free
    if seen is not None:
        picture[navigable & ~seen] = colors.hidden
    edge = cv2.dilate(navigable.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool) & ~navigable
    picture[edge] = colors.obstacle
    canvas.draw_grid(picture, origin, cell_size)
    _overlay(canvas, path, plan, goal, agent)
    return canvas.image


def _overlay(
    canvas: MapCanvas,
    path: ArrayLike | None,
    plan: ArrayLike | None,
    goal: ArrayLike | None,
    agent: tuple[ArrayLike, float] | None,
) -> None:
    colors = canvas.palette
    width = max(1.5, 0.05 * canvas.scale)
    if plan is not None and len(points := np.asarray(plan)) > 1:
        canvas.draw_polyline(points, colors.frontier, colors.frontier, 0.6 * width)
    if path is not None and len(points := np.asarray(path)) > 1:
        canvas.draw_polyline(points, colors.path_old, colors.path_new, width)
    if goal is not None:
        canvas.draw_goal(goal)
    if agent is not None:
        canvas.draw_agent(*agent)
    canvas.draw_scale_bar()


def tile_images(images: Sequence[Image], gap: int = 8, color: Color = (255, 255, 255)) -> Image:
    """Put pictures of equal height side by side, `gap` pixels apart."""
    if not images or len({image.shape[0] for image in images}) != 1:
        raise ValueError("tile needs at least one picture and equal heights")
    bar = np.full((images[0].shape[0], gap, 3), color, np.uint8)
    parts = [part for image in images for part in (bar, image)][1:]
    return np.concatenate(parts, axis=1)
