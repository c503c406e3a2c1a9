from __future__ import annotations

import numpy as np
import pytest

from maps.grid.egocentric import FLOOR, OBSTACLE, VISITED, EgocentricMaps, compute_window_cells
from maps.paths.optimistic import compute_path_ring, get_ring_shape

HEIGHT, WIDTH, LENS = 48, 64, 1.25


def room_depth(wall: float, hfov: float = 90.0, pitch: float = 0.0) -> np.ndarray:
    """Depth of a floor and a wall across the view, `wall` metres ahead: closed form."""
    focal = 0.5 * WIDTH / np.tan(np.deg2rad(hfov) / 2)
    up = (HEIGHT / 2 - 0.5 - np.arange(HEIGHT)) / focal
    tilt = np.deg2rad(pitch)
    climb = np.sin(tilt) + up * np.cos(tilt)
    ahead = np.cos(tilt) - up * np.sin(tilt)
    floor = np.where(climb < 0, LENS / np.maximum(-climb, 1e-9), np.inf)
    depth = np.minimum(floor, wall / ahead)
    return np.repeat(depth[:, None], WIDTH, axis=1).astype(np.float32)


def cell_of(maps: EgocentricMaps, x: float, z: float) -> int:
    side = maps.grid.shape[1]
    row, column = int(np.floor(z / maps.cell_size)), int(np.floor(x / maps.cell_size))
    return int(maps.grid[0, row % side, column % side])


@pytest.mark.parametrize("pitch", [0.0, -20.0])
@pytest.mark.parametrize("yaw", [0.0, np.pi / 2, -2.0])
@pytest.mark.parametrize("at", [(0.0, 0.0), (-3.13, 7.73)])
def test_a_wall_appears_where_it_stands(pitch: float, yaw: float, at: tuple) -> None:
    maps = EgocentricMaps(1, 90.0, LENS, pitch)
    pose = np.array([[at[0], 0.0, at[1], yaw]], np.float32)
    maps.integrate_depth(room_depth(2.02, pitch=pitch)[None], pose)
    forward, right = np.array([-np.sin(yaw), -np.cos(yaw)]), np.array([np.cos(yaw), -np.sin(yaw)])
    for side in (-1.0, 0.0, 1.0):
        x, z = np.array(at) + 2.02 * forward + side * right
        near = [cell_of(maps, x + dx, z + dz) for dx in (-0.05, 0, 0.05) for dz in (-0.05, 0, 0.05)]
        assert any(bits & OBSTACLE for bits in near)
    for ahead in (1.75, 1.85):  # level, the camera sees the floor from 1.7 m on
        bits = cell_of(maps, *(np.array(at) + ahead * forward))
        assert bits & FLOOR
        assert not bits & OBSTACLE
    assert cell_of(maps, *at) == VISITED | FLOOR
    assert cell_of(maps, *(np.array(at) + 3.0 * forward)) == 0  # behind the wall


def test_things_overhead_and_empty_pixels_leave_no_trace() -> None:
    maps = EgocentricMaps(1, 90.0, LENS, body_height=1.5)
    depth = np.zeros((1, HEIGHT, WIDTH), np.float32)
    depth[0, 0] = 3.0  # the top row looks up: 3 m away it is above 1.5 m
    maps.integrate_depth(depth, np.zeros((1, 4), np.float32))
    assert not (maps.grid & OBSTACLE).any()
    assert np.count_nonzero(maps.grid) == 1


def test_the_window_turns_with_the_agent() -> None:
    maps = EgocentricMaps(2, 90.0, LENS)
    maps.grid[:, 10:14, 20:24] = OBSTACLE | FLOOR  # x 2.0-2.4, z 1.0-1.4
    pose = np.array([[0, 0, 1.2, -np.pi / 2], [0, 0, 1.2, np.pi / 2]], np.float32)
    out = np.zeros((2, 3, 32, 32), np.uint8)
    maps.crop_windows(pose, 0.2, 32, out)
    cells = compute_window_cells(0.2, 32)
    for agent, direction in ((0, 1.0), (1, -1.0)):  # facing +x it lies ahead, facing -x behind
        seen = cells[out[agent, 0] > 0]
        np.testing.assert_allclose(seen.mean(axis=0), [2.2 * direction, 0.0], atol=0.15)


def test_clearing_forgets_only_the_marked() -> None:
    maps = EgocentricMaps(2, 90.0, LENS)
    maps.grid[:] = FLOOR
    maps.clear_maps(np.array([True, False]))
    assert not maps.grid[0].any()
    assert maps.grid[1].all()


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="power of two"):
        EgocentricMaps(1, 90.0, LENS, cells=300)
    with pytest.raises(ValueError, match="hfov"):
        EgocentricMaps(1, 190.0, LENS)
    with pytest.raises(ValueError, match="must be"):
        EgocentricMaps(2, 90.0, LENS).integrate_depth(
            room_depth(2)[None], np.zeros((1, 4), np.float32)
        )


def test_on_an_empty_map_the_way_is_straight() -> None:
    maps = EgocentricMaps(3, 90.0, LENS)
    pose = np.zeros((3, 4), np.float32)
    pose[2] = (5.0, 0.0, -3.0, 1.0)
    goal = np.array([[4.0, 0.0], [4.0, np.pi / 2], [4.0, -np.pi / 3]], np.float32)
    ring, way = compute_path_ring(maps, pose, goal)
    assert ring.shape == (3, *get_ring_shape(12))
    np.testing.assert_allclose(way, 4.0, rtol=0.1)  # eight neighbours: at most 8 % longer
    assert [int(r[2].argmax()) for r in ring] == [0, 3, 10]
    np.testing.assert_allclose(ring[:, 2].max(axis=1), 1.0, atol=0.12)
    np.testing.assert_allclose(ring[:, 3], 2.0)


@pytest.mark.parametrize("distance", [4.0, 25.0])
def test_a_known_wall_is_walked_round(distance: float) -> None:
    maps = EgocentricMaps(1, 90.0, LENS)
    for x in range(-30, 12):  # 1 m ahead, from 3 m left to 1.2 m right
        maps.grid[0, -11:-9, x] = OBSTACLE
    goal = np.array([[distance, 0.0]], np.float32)
    ring, way = compute_path_ring(maps, np.zeros((1, 4), np.float32), goal)
    assert int(ring[0, 2].argmax()) in (10, 11)  # half right
    assert way[0] > distance + 0.3
    assert ring[0, 3, 0] == pytest.approx(0.95, abs=0.1)


def test_a_goal_behind_a_closed_ring_still_has_a_way() -> None:
    maps = EgocentricMaps(1, 90.0, LENS)
    maps.grid[0, -30:30, :] = 0
    for k in range(-20, 21):
        maps.grid[0, k, [-20, 20]] = OBSTACLE
        maps.grid[0, [-20, 20], k] = OBSTACLE
    _, way = compute_path_ring(
        maps, np.zeros((1, 4), np.float32), np.array([[5.0, 0.0]], np.float32)
    )
    assert np.isfinite(way[0])
    assert way[0] > 8.0
