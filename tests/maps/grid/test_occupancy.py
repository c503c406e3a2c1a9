import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maps.grid.occupancy import OccupancyMap
from tests.box_world import BoxWorld, camera

ROOM = BoxWorld((-3.02, 0, -2.02), (3.02, 2.6, 2.02))


def spin(grid, world, x=0.0, z=0.0, y=0.0, size=128, turns=12, **kwargs):
    for k in range(turns):
        pose = camera(x, z, 2 * np.pi * k / turns, y + 1.25)
        grid.integrate_depth(world.depth(pose, size), pose, 90.0, **kwargs)


def state(grid, x, z):
    """'?' unknown, '#' occupied, '.' free at a world point."""
    row, column = grid.to_cell([x, 0, z])
    if not grid.contains([row, column]) or not grid.explored[row, column]:
        return "?"
    return "#" if grid.occupied[row, column] else "."


@pytest.mark.parametrize("size", [48, 128, 256])
def test_empty_room_is_mapped_to_its_walls(size):
    grid = OccupancyMap()
    spin(grid, ROOM, 0.7, -0.3, size=size)
    area = 6.04 * 4.04
    assert grid.free.sum() * 0.05**2 == pytest.approx(area, rel=0.04)
    centers = grid.to_world(np.argwhere(grid.occupied))
    wall = np.minimum(3.02 - np.abs(centers[:, 0]), 2.02 - np.abs(centers[:, 2]))
    assert np.abs(wall).max() < 0.08
    assert state(grid, 0.0, 0.0) == "."
    assert state(grid, 3.5, 0.0) == "?"
    # a closed loop of walls: every wall cell along x = 3.02 is known
    assert all(state(grid, 3.02, z) == "#" for z in np.arange(-1.9, 1.9, 0.05))


def test_nothing_behind_a_wall_is_seen():
    grid = OccupancyMap()
    for size in (32, 64, 128, 256):
        spin(grid, ROOM, 1.1, 0.4, size=size)
    centers = grid.to_world(np.argwhere(grid.explored))
    assert np.abs(centers[:, 0]).max() < 3.02 + 0.06
    assert np.abs(centers[:, 2]).max() < 2.02 + 0.06


def test_a_table_blocks_although_its_underside_is_seen():
    legs = [((x, 0, z), (x + 0.05, 0.7, z + 0.05)) for x in (0.5, 1.65) for z in (-0.4, 0.35)]
    top = ((0.5, 0.7, -0.4), (1.7, 0.74, 0.4))
    world = BoxWorld(ROOM.low, ROOM.high, [top, *legs])
    grid = OccupancyMap()
    for x, z in ((-1.5, 0.0), (-2.5, 1.0), (2.4, 1.5), (1.0, -1.5), (-2.5, -1.5)):
        spin(grid, world, x, z)
    inside = [
        state(grid, x, z) for x in np.arange(0.55, 1.65, 0.1) for z in np.arange(-0.35, 0.35, 0.1)
    ]
    assert inside.count("#") > 0.95 * len(inside)
    assert state(grid, 0.2, 0.0) == "."
    assert state(grid, 1.1, 0.8) == "."


@pytest.mark.parametrize(
    ("bottom", "top", "expected"),
    [(0.0, 0.15, "."), (0.0, 0.5, "#"), (1.2, 1.4, "#"), (1.9, 2.2, ".")],
)
def test_only_the_agents_height_band_blocks(bottom, top, expected):
    world = BoxWorld(ROOM.low, ROOM.high, [((1.0, bottom, -0.5), (1.6, top, 0.5))])
    grid = OccupancyMap()
    spin(grid, world, -1.5, 0.0, size=256)
    spin(grid, world, -0.5, 1.0, size=256)
    # the near edge of a box that blocks, the top of a low one, the floor under a high one
    assert state(grid, 1.02, 0.0) == expected


def test_thin_leg_is_not_carved_away():
    world = BoxWorld(ROOM.low, ROOM.high, [((1.02, 0, 0.0), (1.05, 1.2, 0.03))])
    grid = OccupancyMap()
    for x in np.arange(-2.5, 0.8, 0.3):
        pose = camera(x, 0.0, -np.pi / 2)
        grid.integrate_depth(world.depth(pose, 256), pose, 90.0)
    assert state(grid, 1.03, 0.015) == "#"


def test_pitched_cameras_map_the_same_room():
    grid = OccupancyMap()
    for k in range(12):
        for pitch in (-0.5, 0.5):
            pose = camera(0.2, 0.1, k * np.pi / 6, pitch=pitch)
            grid.integrate_depth(ROOM.depth(pose, 128), pose, 90.0)
    centers = grid.to_world(np.argwhere(grid.free))
    assert np.abs(centers[:, 0]).max() < 3.05
    assert np.abs(centers[:, 2]).max() < 2.05
    assert grid.free.sum() * 0.05**2 > 0.95 * 6.04 * 4.04


def test_looking_at_the_ceiling_claims_nothing():
    grid = OccupancyMap()
    pose = camera(0, 0, 0, pitch=np.pi / 2)
    grid.integrate_depth(ROOM.depth(pose, 64), pose, 90.0)
    assert not grid.occupied.any()
    assert grid.explored.sum() == 0


def test_a_drop_is_not_floor():
    # standing on a gallery 1 m above the ground of the room, whose edge is at z = -1
    world = BoxWorld(
        (-3.02, -1.0, -4.02), (3.02, 2.6, 2.02), [((-3.02, -1.0, -1.0), (3.02, 0.0, 2.02))]
    )
    grid = OccupancyMap()
    pose = camera(0, 1.0, 0.0)
    grid.integrate_depth(world.depth(pose, 128), pose, 90.0)
    assert state(grid, 0.0, -0.8) == "."
    assert state(grid, 0.0, -2.5) == "?"


def test_floor_height_is_relative():
    world = BoxWorld((-3.02, 2.9, -2.02), (3.02, 5.5, 2.02))
    grid, shifted = OccupancyMap(floor=2.9), OccupancyMap()
    spin(grid, world, y=2.9)
    spin(shifted, world, y=2.9, floor=2.9)
    assert grid.free.sum() * 0.05**2 > 23
    assert np.array_equal(grid.log_odds, shifted.log_odds)
    assert grid.to_world([[0, 0]])[0, 1] == 2.9


def test_an_obstacle_that_leaves_is_forgotten():
    box = BoxWorld(ROOM.low, ROOM.high, [((1.0, 0, -0.3), (1.4, 1, 0.3))])
    grid = OccupancyMap()
    spin(grid, box, -1.0)
    assert state(grid, 1.02, 0.0) == "#"
    for _ in range(16):
        spin(grid, ROOM, -1.0)
    assert state(grid, 1.02, 0.0) == "."


def test_invalid_pixels_are_no_evidence():
    pose = camera(0, 0, 0)
    depth = ROOM.depth(pose, 64)
    clean, dirty = OccupancyMap(), OccupancyMap()
    spoiled = depth.copy()
    spoiled[::2], spoiled[1::4] = np.nan, np.inf
    spoiled[5], spoiled[7] = -1.0, 0.0
    erased = np.where(np.isfinite(spoiled) & (spoiled > 0), spoiled, 0)
    dirty.integrate_depth(spoiled, pose, 90.0)
    clean.integrate_depth(erased, pose, 90.0)
    assert np.array_equal(dirty.log_odds, clean.log_odds)
    for value in (np.nan, 0.0, -3.0, np.inf):
        grid = OccupancyMap()
        grid.integrate_depth(np.full((8, 8), value), pose, 90.0)
        assert not grid.explored.any()


@given(
    st.lists(
        st.tuples(st.floats(-2.5, 2.5), st.floats(-1.5, 1.5), st.floats(-3, 3)),
        min_size=2,
        max_size=3,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_the_order_of_frames_does_not_matter(places, random):
    frames = [(ROOM.depth(p := camera(*place), 48), p) for place in places]
    shuffled = frames[:]
    random.shuffle(shuffled)
    a, b = OccupancyMap(limits=(-8, 8)), OccupancyMap(limits=(-8, 8))
    a.integrate_depths(*zip(*frames, strict=True), 90.0)
    b.integrate_depths(*zip(*shuffled, strict=True), 90.0)
    assert np.array_equal(a.crop_explored().log_odds, b.crop_explored().log_odds)
    assert np.array_equal(a.crop_explored().explored, b.crop_explored().explored)


@given(st.tuples(*[st.floats(-60, 60)] * 4))
@settings(max_examples=30, deadline=None)
def test_growing_keeps_content_in_place(box):
    grid = OccupancyMap(block=16)
    spin(grid, ROOM, size=32, turns=4)
    before = {
        tuple(p): v
        for p, v in zip(
            np.round(grid.to_world(np.argwhere(grid.explored)), 6).tolist()
            and map(tuple, np.round(grid.to_world(np.argwhere(grid.explored)), 6)),
            grid.log_odds[grid.explored],
            strict=True,
        )
    }
    x0, z0, x1, z1 = (
        min(box[0], box[2]),
        min(box[1], box[3]),
        max(box[0], box[2]),
        max(box[1], box[3]),
    )
    grid.grow_to_cover((x0, z0), (x1, z1))
    corners = grid.to_cell([[x0, 0, z0], [x1, 0, z1]])
    assert grid.contains(corners).all()
    cells = np.argwhere(grid.explored)
    after = dict(
        zip(
            map(tuple, np.round(grid.to_world(cells), 6)), grid.log_odds[grid.explored], strict=True
        )
    )
    assert after == before


@given(
    st.lists(st.tuples(st.integers(-500, 500), st.integers(-500, 500)), min_size=1, max_size=20),
    st.sampled_from([0.03, 0.05, 0.1]),
)
def test_cells_and_world_points_are_inverse(cells, size):
    grid = OccupancyMap(size)
    cells = np.array(cells)
    assert np.array_equal(grid.to_cell(grid.to_world(cells)), cells)
    assert (
        np.abs(grid.to_world(grid.to_cell(p := grid.to_world(cells) + size * 0.49)) - p).max()
        <= size
    )


def test_inflate_and_clearance_measure_distance():
    grid = OccupancyMap()
    grid.mark_points([[0.025, 0, 0.025]], occupied=True)
    row, column = grid.to_cell([0.025, 0, 0.025])
    assert grid.compute_clearance()[row, column + 10] == pytest.approx(0.5, abs=0.02)
    disc = grid.inflate_obstacles(0.3)
    assert disc.sum() * 0.05**2 == pytest.approx(np.pi * 0.3**2, rel=0.1)
    assert not OccupancyMap().inflate_obstacles(1.0).any()


def test_crop_keeps_the_world_frame():
    grid = OccupancyMap()
    spin(grid, ROOM, size=48)
    part = grid.crop_explored(0.2)
    assert part.shape < grid.shape
    assert part.explored.sum() == grid.explored.sum()
    assert state(part, 0.5, 0.5) == "."
    assert state(part, 3.02, 0.0) == "#"
    spin(part, ROOM, 1.0, 1.0, size=48)
    assert state(part, 0.5, 0.5) == "."


def test_reset_forgets():
    grid = OccupancyMap()
    spin(grid, ROOM, size=32)
    grid.reset(floor=3.0)
    assert not grid.explored.any()
    assert grid.floor == 3.0


@pytest.mark.parametrize(
    ("depth", "pose", "hfov", "message"),
    [
        (np.zeros((4, 4, 3)), np.eye(4), 90, "depth must be"),
        (np.zeros((0, 4)), np.eye(4), 90, "depth must be"),
        (np.ones((4, 4)), np.eye(3), 90, "pose must be"),
        (np.ones((4, 4)), np.full((4, 4), np.nan), 90, "pose must be"),
        (np.ones((4, 4)), np.eye(4), 180, "hfov"),
    ],
)
def test_bad_frames_are_refused(depth, pose, hfov, message):
    with pytest.raises(ValueError, match=message):
        OccupancyMap().integrate_depth(depth, pose, hfov)


@pytest.mark.parametrize(
    "arguments",
    [
        {"cell_size": 0},
        {"max_range": -1},
        {"obstacle_height": (1.5, 0.2)},
        {"hit": -1.0},
        {"block": 0},
    ],
)
def test_bad_settings_are_refused(arguments):
    with pytest.raises(ValueError, match="must|need"):
        OccupancyMap(**arguments)


def test_one_frame_stays_within_its_time_budget():
    grid, pose = OccupancyMap(), camera(0, 0, 0.3)
    depth = ROOM.depth(pose, 256)
    grid.integrate_depth(depth, pose, 90.0)
    times = []
    for _ in range(20):
        start = time.process_time()
        grid.integrate_depth(depth, pose, 90.0)
        times.append(time.process_time() - start)
    assert min(times) < 4e-3  # twice the target: machines differ


def test_a_point_on_the_rim_of_the_grid_stays_on_its_side():
    # 7.5 m is 125 cells of 0.06 m when divided, a hair more when multiplied by the inverse: the
    # wall's row may be one below the last row asked for, and must not come round as the first.
    grid = OccupancyMap(0.06, block=125)
    grid.integrate_depth(np.full((3, 3), 7.5, np.float32), camera(0.0, 0.0, 0.0, 1.25), 20.0)
    rows = np.flatnonzero(grid.occupied.any(axis=1))
    assert len(rows)
    assert np.abs(grid.to_world(np.stack([rows, 0 * rows], axis=1))[:, 2] + 7.5).max() <= 0.06
