"""A tiny world of axis-aligned boxes with an exact ray caster: known answers for map tests."""

from __future__ import annotations

import numpy as np


class BoxWorld:
    """The inside of a room `low` .. `high` with solid boxes (K, 2, 3) in it; y up, floor at
    low[1].
    """

    def __init__(self, low, high, boxes=()):
        self.low, self.high = np.array(low, float), np.array(high, float)
        self.boxes = np.array(boxes, float).reshape(-1, 2, 3)

    def depth(self, pose, size=128, hfov=90.0, height=None):
        """Depth image (height, size) along the optical axis from a camera-to-world pose."""
        height = height or size
        focal = size / (2 * np.tan(np.deg2rad(hfov) / 2))
        a = (np.arange(size) + 0.5 - size / 2) / focal
        b = (height / 2 - np.arange(height) - 0.5) / focal
        rays = np.stack(np.broadcast_arrays(a[None], b[:, None], -1.0), -1) @ pose[:3, :3].T
        eye = pose[:3, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = np.maximum((self.low - eye) / rays, (self.high - eye) / rays).min(axis=-1)
            for low, high in self.boxes:
                t0, t1 = (low - eye) / rays, (high - eye) / rays
                enter, leave = np.minimum(t0, t1).max(axis=-1), np.maximum(t0, t1).min(axis=-1)
                depth = np.where((enter < leave) & (enter > 0), np.minimum(depth, enter), depth)
        return depth.astype(np.float32)

    def blocked(self, point, radius, height=1.5):
        """Whether a cylinder standing at a point (3,) touches a wall or a box."""
        x, _, z = point
        if not (
            self.low[0] + radius <= x <= self.high[0] - radius
            and self.low[2] + radius <= z <= self.high[2] - radius
        ):
            return True
        for low, high in self.boxes:
            if low[1] < self.low[1] + height and high[1] > self.low[1] + 0.2:
                gap = np.maximum(np.maximum(low - point, point - high), 0)
                if np.hypot(gap[0], gap[2]) < radius:
                    return True
        return False


def camera(x, z, yaw, y=1.25, pitch=0.0):
    """Camera-to-world pose (4, 4) at a heading and pitch [rad]."""
    cos, sin, up, lean = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    pose = np.eye(4)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    pose[:3, :3] = turn @ np.array([[1, 0, 0], [0, up, -lean], [0, lean, up]])
    pose[:3, 3] = x, y, z
    return pose


class WalkingAgent:
    """Discrete steps in a BoxWorld with the observations of the navigation tasks."""

    def __init__(self, world, start=(0.0, 0.0), yaw=0.0, size=96):
        self.world, self.size = world, size
        self.start, self.start_yaw = np.array([start[0], world.low[1], start[1]]), yaw
        self.position, self.yaw = self.start.copy(), yaw
        self.collisions = 0

    def observe(self):
        """Observations of a batch of one: depth and pose in the frame of the start."""
        pose = camera(self.position[0], self.position[2], self.yaw, self.position[1] + 1.25)
        dx, dy, dz = self.position - self.start
        cos, sin = np.cos(self.start_yaw), np.sin(self.start_yaw)
        local = [cos * dx - sin * dz, dy, sin * dx + cos * dz, self.yaw - self.start_yaw]
        return {
            "depth": self.world.depth(pose, self.size)[None],
            "pose": np.array([local], np.float32),
        }

    def step(self, action):
        """Apply MOVE_FORWARD (blocked without sliding), TURN_LEFT or TURN_RIGHT."""
        if action == 1:
            ahead = np.array([-np.sin(self.yaw), 0.0, -np.cos(self.yaw)])
            for _ in range(10):
                if self.world.blocked(self.position + 0.025 * ahead, 0.2):
                    self.collisions += 1
                    break
                self.position = self.position + 0.025 * ahead
        elif action == 2:
            self.yaw += np.pi / 6
        elif action == 3:
            self.yaw -= np.pi / 6
