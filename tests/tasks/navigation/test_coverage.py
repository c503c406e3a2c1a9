from __future__ import annotations

import time

import numpy as np

from embodied.simulators.base import CameraSpec
from embodied.simulators.embedded import World
from embodied.simulators.raycast import compute_camera_poses
from embodied.tasks.navigation.coverage import CELL, NEAR, CoverageGrid

CAMERA = CameraSpec(outputs=("depth",), width=128, height=128)


def look(
    world: World, place: tuple[float, float, float], yaw: float, camera: CameraSpec = CAMERA
) -> tuple[CoverageGrid, np.ndarray]:
    grid = CoverageGrid(world, np.array([-2.0, 0.0, 0.0]))
    seen = np.zeros(len(grid.points), bool)
    feet = np.array([place])
    pose = compute_camera_poses(feet, np.array([yaw]), camera)
    depth = world.caster.render(camera, pose)["depth"][0]
    new = grid.mark_seen(seen, camera, pose[0], depth, feet[0])
    assert new == seen.sum()
    return grid, seen


def test_area_is_the_navigable_area(flat: World) -> None:
    grid = CoverageGrid(flat, np.array([-2.0, 0.0, 0.0]))
    paths = flat.pathfinder
    share = (
        paths.get_island(paths.sample_points(np.random.default_rng(0), 4000))
        == paths.largest_island
    ).mean()
    assert abs(grid.area - paths.navigable_area * share) < 0.06 * grid.area


def test_a_wall_hides_the_next_room(flat: World) -> None:
    grid, seen = look(flat, (-3.0, 0.0, -1.0), -np.pi / 2)  # looks east along +x
    # Through the door at z > 0.8 a wedge of the next room shows, its near rim at z = 0.98.
    east = (grid.points[:, 0] > 0.3) & (grid.points[:, 2] < 0.7)
    assert not seen[east].any()
    ahead = (grid.points[:, 0] > -1.5) & (grid.points[:, 0] < -0.3)
    ahead &= np.abs(grid.points[:, 2] + 1.0) < 0.5
    assert seen[ahead].all()


def test_nothing_behind_the_back_but_the_ground_at_the_feet(flat: World) -> None:
    grid, seen = look(flat, (-2.0, 0.0, 0.0), np.pi / 2)  # looks west along -x
    behind = grid.points[:, 0] > -1.9
    far = np.hypot(grid.points[:, 0] + 2, grid.points[:, 2]) > NEAR + CELL
    assert not seen[behind & far].any()
    assert seen[behind & (np.hypot(grid.points[:, 0] + 2, grid.points[:, 2]) < NEAR - CELL)].all()


def test_what_lies_beyond_the_depth_range_is_not_seen(flat: World) -> None:
    short = CameraSpec(outputs=("depth",), width=128, height=128, max_depth=1.5)
    grid, seen = look(flat, (-3.0, 0.0, -1.0), -np.pi / 2, short)
    far = grid.points[:, 0] > -3.0 + 1.5 + 0.2
    assert not seen[far].any()
    assert look(flat, (-3.0, 0.0, -1.0), -np.pi / 2)[1][far].any()


def test_nearness_does_not_reach_through_walls(flat: World) -> None:
    grid, seen = look(flat, (-0.35, 0.0, -1.0), np.pi / 2)  # 35 cm from the wall, back to it
    assert not seen[grid.points[:, 0] > 0.0].any()


def test_standing_everywhere_and_turning_sees_everything(flat: World) -> None:
    grid = CoverageGrid(flat, np.array([-2.0, 0.0, 0.0]))
    seen = np.zeros(len(grid.points), bool)
    rng = np.random.default_rng(0)
    feet = flat.pathfinder.sample_points(rng, 60, island=flat.pathfinder.largest_island)
    for place in feet:
        for yaw in np.arange(4) * np.pi / 2:
            pose = compute_camera_poses(place[None], np.array([yaw]), CAMERA)
            grid.mark_seen(
                seen, CAMERA, pose[0], flat.caster.render(CAMERA, pose)["depth"][0], place
            )
    assert seen.mean() > 0.99


def test_a_look_costs_less_than_a_millisecond(flat: World) -> None:
    grid = CoverageGrid(flat, np.array([-2.0, 0.0, 0.0]))
    feet = np.array([[-2.0, 0.0, 0.0]])
    pose = compute_camera_poses(feet, np.zeros(1), CAMERA)
    depth = flat.caster.render(CAMERA, pose)["depth"][0]
    costs = []
    for _ in range(50):
        seen = np.zeros(len(grid.points), bool)
        begin = time.process_time()
        grid.mark_seen(seen, CAMERA, pose[0], depth, feet[0])
        costs.append(time.process_time() - begin)
    assert np.median(costs) < 1e-3
