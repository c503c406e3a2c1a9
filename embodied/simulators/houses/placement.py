"""Find places for furniture in a room so that doors stay free and the floor stays one piece."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from embodied.simulators.houses.layout import Rect

CELL = 0.05  # resolution of the occupancy check [m]
CLEARANCE = 0.3  # half of the free passage that is kept [m]
WALLS = ("z0", "z1", "x0", "x1")
_STEPS = np.linspace(0.0, 1.0, 11)
_SHARE = np.abs(2 * _STEPS - 1)
YAW = {"z0": 0.0, "z1": np.pi, "x0": np.pi / 2, "x1": -np.pi / 2}
"""Heading of an object standing with its back to each wall: its front (+z) looks into the room."""


@dataclass(frozen=True)
class Spot:
    """A place found: floor rectangle, the back's centre point and the heading [rad]."""

    rect: Rect
    x: float
    z: float
    yaw: float
    wall: str


@dataclass
class RoomSpace:
    """The floor of one room while it is being furnished.

    Args:
        inner: rectangle between the wall faces [m].
        anchors: (x, z) points that must stay connected: one in front of every door [m].
        keep_free: rectangles nothing may stand in (passages, open door leaves).
        windows: rectangles along the walls that only low things may stand in front of.
    """

    inner: Rect
    anchors: list[tuple[float, float]]
    keep_free: list[Rect]
    windows: list[Rect]
    occupied_rects: list[Rect] = field(default_factory=list)

    def __post_init__(self) -> None:
        x0, z0, x1, z1 = self.inner
        self._shape = (int(np.ceil((z1 - z0) / CELL)), int(np.ceil((x1 - x0) / CELL)))
        self._free = np.zeros(self._shape, np.uint8)
        i = int(CLEARANCE / CELL)
        self._free[i : self._shape[0] - i, i : self._shape[1] - i] = 1

    def _block(self, grid: NDArray[np.uint8], rect: Rect) -> None:
        x0, z0 = self.inner[:2]
        a = max(int(np.floor((rect[0] - CLEARANCE - x0) / CELL)), 0)
        b = max(int(np.ceil((rect[2] + CLEARANCE - x0) / CELL)), 0)
        c = max(int(np.floor((rect[1] - CLEARANCE - z0) / CELL)), 0)
        d = max(int(np.ceil((rect[3] + CLEARANCE - z0) / CELL)), 0)
        grid[c:d, a:b] = 0

    def _joined(self, grid: NDArray[np.uint8]) -> bool:
        count, labels = cv2.connectedComponents(grid, connectivity=4)
        if count < 2:
            return False
        x0, z0 = self.inner[:2]
        seen = set()
        for x, z in self.anchors:
            row = min(max(int((z - z0) / CELL), 0), self._shape[0] - 1)
            col = min(max(int((x - x0) / CELL), 0), self._shape[1] - 1)
            seen.add(int(labels[row, col]))
        if 0 in seen or len(seen) > 1:
            return False
        # A pocket of floor behind furniture is an island no agent can reach.
        sizes = np.bincount(labels.ravel(), minlength=count)[1:]
        main = seen.pop() - 1 if seen else int(sizes.argmax())
        return bool(sizes[main] >= 0.97 * sizes.sum())

    def is_connected(self) -> bool:
        """Return whether all doors of the room still reach each other."""
        return self._joined(self._free)

    def occupy_rect(self, rect: Rect) -> None:
        """Take floor away whatever it does to the rest of the room."""
        self._block(self._free, rect)
        self.occupied_rects.append(rect)

    def try_occupy(self, rect: Rect) -> bool:
        """Occupy floor if the room stays in one piece; return whether it was done."""
        grid = self._free.copy()
        self._block(grid, rect)
        if not self._joined(grid):
            return False
        self._free = grid
        self.occupied_rects.append(rect)
        return True

    def check_overlaps(self, rects: NDArray, tall: bool, margin: float = 0.0) -> NDArray[np.bool_]:
        """Return which of (K, 4) rectangles collide with something already there."""
        others = self.occupied_rects + self.keep_free + (self.windows if tall else [])
        if not others:
            return np.zeros(len(rects), np.bool_)
        o = np.array(others)[None]
        r = rects[:, None]
        apart = (
            (r[..., 0] >= o[..., 2] + margin - 1e-6)
            | (r[..., 2] <= o[..., 0] - margin + 1e-6)
            | (r[..., 1] >= o[..., 3] + margin - 1e-6)
            | (r[..., 3] <= o[..., 1] - margin + 1e-6)
        )
        return np.asarray(~apart.all(axis=1))

    def is_overlapping(self, rect: Rect) -> bool:
        """Return whether one rectangle collides with something already there."""
        return bool(self.check_overlaps(np.array([rect]), False)[0])

    def contains_rect(self, rect: Rect) -> bool:
        """Return whether a rectangle lies in the room."""
        x0, z0, x1, z1 = self.inner
        return x0 <= rect[0] and z0 <= rect[1] and rect[2] <= x1 and rect[3] <= z1

    def place_against_wall(
        self,
        rng: np.random.Generator,
        width: float,
        depth: float,
        *,
        tall: bool = False,
        corner: float = 0.0,
        middle: float = 0.0,
        gap: float = 0.01,
        walls: tuple[str, ...] = WALLS,
        front: float = 0.0,
        facing: Spot | None = None,
    ) -> Spot | None:
        """Find a place with the back to a wall and occupy it.

        Args:
            rng: random source.
            width: floor size along the wall [m].
            depth: floor size across it [m].
            tall: may not stand in front of a window.
            corner: preference for corners.
            middle: preference for the middle of a wall.
            gap: distance between back and wall [m].
            walls: the walls to try.
            front: free floor wanted in front [m], checked but not occupied.
            facing: prefer to stand opposite to this spot.

        Returns:
            The spot, or None when nothing fits.
        """
        x0, z0, x1, z1 = self.inner
        along = np.empty((len(walls), len(_STEPS)))
        box, zone = np.empty((2, len(walls), len(_STEPS), 4))
        score = rng.random(along.shape) + corner * (_SHARE == 1) + middle * (1 - _SHARE)
        backs = []
        for i, wall in enumerate(walls):
            lo, hi = (x0, x1) if wall[0] == "z" else (z0, z1)
            line = {"z0": z0, "z1": z1, "x0": x0, "x1": x1}[wall]
            inward = 1.0 if wall[1] == "0" else -1.0
            near = line + inward * gap
            backs.append(near)
            slack = hi - lo - width - 0.02
            along[i] = lo + width / 2 + 0.01 + max(slack, 0.0) * _STEPS
            if slack < 0:
                score[i] = -np.inf
            first, second = (0, 1) if wall[0] == "z" else (1, 0)
            for target, reach in ((box, depth), (zone, depth + front)):
                far = near + inward * reach
                target[i, :, first] = along[i] - width / 2
                target[i, :, first + 2] = along[i] + width / 2
                target[i, :, second], target[i, :, second + 2] = min(near, far), max(near, far)
            if facing is not None:
                opposite = wall[0] == facing.wall[0] and wall != facing.wall
                aim = facing.x if wall[0] == "z" else facing.z
                score[i] += (4.0 if opposite else 0.0) - 2.0 * np.abs(along[i] - aim)
        box, zone, score = box.reshape(-1, 4), zone.reshape(-1, 4), score.ravel()
        bad = self.check_overlaps(box, tall)
        if front:
            bad |= self.check_overlaps(zone, False)
        bad |= ((zone[:, :2] < (x0, z0)) | (zone[:, 2:] > (x1, z1))).any(axis=1)
        score[bad] = -np.inf
        for k in np.argsort(-score, kind="stable")[:4].tolist():
            if not np.isfinite(score[k]):
                return None
            rect: Rect = tuple(box[k].tolist())
            wall, back = walls[k // len(_STEPS)], backs[k // len(_STEPS)]
            at = float(along.flat[k])
            x, z = (at, back) if wall[0] == "z" else (back, at)
            spot = Spot(rect, x, z, YAW[wall], wall)
            if self.try_occupy(rect):
                return spot
        return None

    def place_free_standing(
        self, rng: np.random.Generator, width: float, depth: float, margin: float = 0.6
    ) -> Spot | None:
        """Find a place in the open, as central as possible, and occupy it."""
        x0, z0, x1, z1 = self.inner
        boxes, turned = [], []
        for w, d, turn in ((width, depth, False), (depth, width, True)):
            if x1 - x0 < w + 2 * margin or z1 - z0 < d + 2 * margin:
                continue
            xs = np.linspace(x0 + margin + w / 2, x1 - margin - w / 2, 7)
            zs = np.linspace(z0 + margin + d / 2, z1 - margin - d / 2, 7)
            gx, gz = (g.ravel() for g in np.meshgrid(xs, zs))
            boxes.append(np.stack([gx - w / 2, gz - d / 2, gx + w / 2, gz + d / 2], axis=1))
            turned += [turn] * len(gx)
        if not boxes:
            return None
        box = np.concatenate(boxes)
        middle = (box[:, :2] + box[:, 2:]) / 2
        score = -np.linalg.norm(middle - [(x0 + x1) / 2, (z0 + z1) / 2], axis=1)
        score = np.where(
            self.check_overlaps(box, False, 0.05), -np.inf, score + 0.3 * rng.random(len(box))
        )
        for k in np.argsort(-score, kind="stable")[:4].tolist():
            if not np.isfinite(score[k]):
                return None
            rect: Rect = tuple(box[k].tolist())
            if self.try_occupy(rect):
                x, z = middle[k].tolist()
                yaw = (np.pi / 2 if turned[k] else 0.0) + (np.pi if rng.random() < 0.5 else 0.0)
                return Spot(rect, x, z, yaw, "")
        return None
