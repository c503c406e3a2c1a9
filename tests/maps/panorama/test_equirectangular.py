from __future__ import annotations

import numpy as np
import pytest

from maps.panorama.equirectangular import HFOV, VIEWS, split_depth


def room(half: tuple[float, float], height: float, rows: int, columns: int) -> np.ndarray:
    """Range to the walls, floor and (far) ceiling of an empty box room around the camera."""
    longitude = ((np.arange(columns) + 0.5) / columns - 0.5) * 2 * np.pi
    latitude = (0.5 - (np.arange(rows) + 0.5) / rows) * np.pi
    up = np.sin(latitude)[:, None] * np.ones(columns)
    right = np.cos(latitude)[:, None] * np.sin(longitude)
    ahead = np.cos(latitude)[:, None] * np.cos(longitude)
    with np.errstate(divide="ignore"):
        ranges = [half[0] / abs(right), half[1] / abs(ahead)]
        ranges.append(np.where(up < 0, height / -up, 50.0 / np.maximum(up, 1e-9)))
    return np.minimum.reduce(ranges).astype(np.float32)


def test_views_of_a_room_are_its_walls_and_floor() -> None:
    views = split_depth(room((2.0, 3.0), 1.25, 96, 192), 64, 112)
    assert views.shape == (VIEWS, 112, 64)
    middle = views[:, 54:58, 30:34].reshape(VIEWS, -1)
    # ahead, left, behind, right
    assert middle == pytest.approx(np.array([[3.0], [2.0], [3.0], [2.0]]) * np.ones(16), abs=0.02)
    focal = 32 / np.tan(np.deg2rad(HFOV) / 2)
    drop = (np.arange(112) + 0.5 - 56) / focal
    floor = views[0, :, 32] * drop  # how far below the camera each point lies
    assert floor[drop > 1.25 / 2.7] == pytest.approx(1.25, abs=0.02)


def test_depth_edges_stay_sharp_and_nothing_stays_nothing() -> None:
    panorama = np.full((64, 128), 4.0, np.float32)
    panorama[:, 64:70] = 1.0
    panorama[:, 20:40] = 0.0
    views = split_depth(panorama)
    ray = np.sqrt(1 + ((np.arange(64) + 0.5 - 32) / 32)[None] ** 2)
    level = views[:, 55, :] * ray
    assert np.abs(level[:, :, None] - np.array([0.0, 1.0, 4.0])).min(axis=2).max() < 0.01
    assert (level[1] == 0).any()


def test_the_seam_behind_is_closed() -> None:
    views = split_depth(np.full((64, 128), 2.5, np.float32))
    assert (views > 0).all()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="H, W"):
        split_depth(np.zeros((3, 4, 4), np.float32))


def test_far_floor_stays_flat() -> None:
    """Nearest pixels alone would lift the floor 5 m away by several centimetres."""
    views = split_depth(room((9.0, 9.0), 1.25, 96, 192), 64, 112)
    drop = (np.arange(112) + 0.5 - 56) / 32
    far = (drop > 1.25 / 6.0) & (drop < 1.25 / 4.0)
    assert far.sum() >= 2
    assert (views[0][far] * drop[far, None]) == pytest.approx(1.25, abs=0.03)
