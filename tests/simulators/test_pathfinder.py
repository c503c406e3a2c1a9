"""Navigation on scenes whose answers are known: a room, a wall, stairs, islands, broken input."""

from __future__ import annotations

import numpy as np
import pytest

from embodied.errors import NavigationError
from embodied.simulators.base import AgentSpec
from embodied.simulators.pathfinder import PathFinder

Mesh = tuple[np.ndarray, np.ndarray]
AGENT = AgentSpec()


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    """A closed box with outward faces."""
    corners = np.array([[(high, low)[i][0], (high, low)[j][1], (high, low)[k][2]]
                        for i in (1, 0) for j in (1, 0) for k in (1, 0)])  # fmt: skip
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def join(*meshes: Mesh) -> Mesh:
    offsets = np.cumsum([0] + [len(v) for v, _ in meshes])
    faces = [f + start for (_, f), start in zip(meshes, offsets, strict=False)]
    return np.concatenate([v for v, _ in meshes]), np.concatenate(faces)


def slab(x0: float, z0: float, x1: float, z1: float, height: float = 0.0) -> Mesh:
    return box((x0, height - 0.1, z0), (x1, height, z1))


def room(*more: Mesh) -> PathFinder:
    """8 x 6 m of floor between walls."""
    walls = [
        box((-0.1, 0, -0.1), (0, 2.5, 6.1)),
        box((8, 0, -0.1), (8.1, 2.5, 6.1)),
        box((0, 0, -0.1), (8, 2.5, 0)),
        box((0, 0, 6), (8, 2.5, 6.1)),
    ]
    return PathFinder(*join(slab(0, 0, 8, 6), *walls, *more), AGENT)


@pytest.fixture(scope="module")
def empty() -> PathFinder:
    return room()


@pytest.fixture(scope="module")
def divided() -> PathFinder:
    """A wall at x = 4 with a 1 m door at its far end."""
    return room(box((3.9, 0, 0), (4.1, 2.5, 5)))


@pytest.fixture(scope="module")
def storeys() -> PathFinder:
    """Ground floor, a straight flight of 15 steps of 0.18 m, and an upper floor at 2.7 m."""
    steps = [box((4 + 0.28 * k, 0, 4), (4.28 + 0.28 * k, 0.18 * (k + 1), 6)) for k in range(15)]
    upper = slab(8.2, 0, 12, 6, 2.7)
    return PathFinder(*join(slab(0, 0, 4, 6), *steps, upper), AGENT)


def at(*points: tuple[float, float, float]) -> np.ndarray:
    return np.array(points, float)


def test_area_is_the_floor_less_the_radius(empty: PathFinder) -> None:
    assert empty.navigable_area == pytest.approx(7.6 * 5.6, rel=0.03)
    assert [round(f.height, 2) for f in empty.floors] == [0.0]


def test_navigable_keeps_the_radius_from_walls(empty: PathFinder) -> None:
    points = at((4, 0, 3), (0.1, 0, 3), (0.3, 0, 3), (-1, 0, 3), (4, 0.4, 3), (4, 0.6, 3))
    assert empty.is_navigable(points).tolist() == [True, False, True, False, True, False]
    assert empty.is_navigable(points, max_y_delta=1.0)[5]
    assert not empty.is_navigable(at((np.nan, 0, 3)))[0]


def test_feet_stand_on_the_floor_or_a_cell_above_it(empty: PathFinder) -> None:
    assert empty.snap_points(at((4, 0, 3)))[0, 1] == pytest.approx(0.0, abs=1e-6)
    hovering = PathFinder(*slab(0, 0, 4, 4), AgentSpec(navmesh="habitat"))
    assert hovering.snap_points(at((2, 0, 2)))[0, 1] == pytest.approx(0.1, abs=1e-6)


def test_distance_around_the_door(divided: PathFinder) -> None:
    start, end = at((2, 0, 1))[0], at((6, 0, 1))
    edge = 5.2  # the wall's end plus the radius
    half = 0.3  # half the wall plus the radius
    expected = 2 * np.hypot(2 - half, edge - 1) + 2 * half
    assert divided.geodesic_distance(start, end)[0] == pytest.approx(expected, rel=0.02)
    path = divided.find_shortest_path(start, end[0])
    length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    assert length == pytest.approx(divided.geodesic_distance(start, end)[0], abs=0.02)
    np.testing.assert_allclose(path[[0, -1]], [start, end[0]], atol=1e-6)


def test_distances_are_symmetric_and_batched(divided: PathFinder) -> None:
    points = divided.sample_points(np.random.default_rng(0), 12)
    table = np.array([divided.geodesic_distance(p, points) for p in points])
    np.testing.assert_allclose(table, table.T, rtol=0.02, atol=0.03)
    np.testing.assert_allclose(np.diag(table), 0, atol=1e-6)
    straight = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert (table >= straight - 1e-4).all()


def test_field_of_several_goals_is_the_nearest(divided: PathFinder) -> None:
    rng = np.random.default_rng(1)
    goals, points = divided.sample_points(rng, 3), divided.sample_points(rng, 200)
    nearest = np.min(
        [divided.compute_distance_field(g).get_distances(points) for g in goals], axis=0
    )
    np.testing.assert_allclose(
        divided.compute_distance_field(goals).get_distances(points), nearest, rtol=0.02, atol=0.02
    )


def test_stairs_join_the_storeys(storeys: PathFinder) -> None:
    assert storeys.num_islands == 1
    assert [round(f.height, 1) for f in storeys.floors][0] == 0.0
    assert any(abs(f.height - 2.7) < 0.05 for f in storeys.floors)
    low, high = at((2, 0, 5), (10, 2.7, 5))
    assert storeys.is_navigable(at(low, high)).all()
    distance = storeys.geodesic_distance(low, high)[0]
    assert distance == pytest.approx(np.linalg.norm(high - low), rel=0.03)


def test_walking_up_the_stairs_climbs(storeys: PathFinder) -> None:
    place = at((3.5, 0, 5))
    heights = []
    for _ in range(26):
        place, collided = storeys.step(place, place + [0.25, 0, 0])
        heights.append(place[0, 1])
        assert not collided[0]
    assert np.all(np.diff(heights) >= -1e-6)
    assert heights[-1] == pytest.approx(2.7, abs=0.01)


def test_a_point_under_another_storey_belongs_to_its_own() -> None:
    finder = PathFinder(*join(slab(0, 0, 5, 5), slab(0, 0, 5, 5, 3.0)), AGENT)
    assert finder.num_islands == 2
    first, second = finder.get_island(at((2, 0, 2), (2, 3, 2)))
    assert first != second
    assert first == finder.largest_island, "the covered storey counts, not the roof"
    assert np.isinf(finder.geodesic_distance((2, 0, 2), at((2, 3, 2))))[0]
    assert finder.find_shortest_path((2, 0, 2), (2, 3, 2)).shape == (0, 3)
    assert {0.0, 3.0} == {round(f.height, 3) for f in finder.floors}
    on_top = finder.sample_points(np.random.default_rng(0), 50, floor=1)
    np.testing.assert_allclose(on_top[:, 1], 3.0, atol=1e-6)


def test_samples_are_navigable_seeded_and_spread(divided: PathFinder) -> None:
    one, same = (divided.sample_points(np.random.default_rng(3), 500) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert divided.is_navigable(one).all()
    assert 0.3 < (one[:, 0] < 4).mean() < 0.7


def test_closest_obstacle_is_the_distance_to_the_kept_clear_edge(empty: PathFinder) -> None:
    gap = empty.distance_to_closest_obstacle(at((1.0, 0, 3), (4, 0, 3)), max_radius=2.0)
    np.testing.assert_allclose(gap, [0.8, 2.0], atol=0.06)


def test_topdown_is_the_navigable_mask(divided: PathFinder) -> None:
    mask = divided.get_topdown_view(0.0, 0.1)
    span = divided.bounds[1] - divided.bounds[0]
    assert np.abs(np.array(mask.shape) - span[[2, 0]] / 0.1).max() <= 1
    assert mask.sum() * 0.01 == pytest.approx(divided.navigable_area, rel=0.05)


def test_free_step_arrives(empty: PathFinder) -> None:
    place, collided = empty.step(at((4, 0, 3)), at((4.2, 0, 2.9)))
    np.testing.assert_allclose(place, at((4.2, 0, 2.9)), atol=1e-6)
    assert not collided[0]


def test_blocked_step_slides_or_stops(empty: PathFinder) -> None:
    start, target = at((0.5, 0, 3)), at((0.0, 0, 3.4))
    slid, hit = empty.step(start, target, sliding=True)
    assert hit[0]
    np.testing.assert_allclose(slid[0, [0, 2]], [0.2, 3.4], atol=0.06)
    stopped, hit = empty.step(start, target, sliding=False)
    assert hit[0]
    assert stopped[0, 2] == pytest.approx(3 + 0.4 * (0.5 - stopped[0, 0]) / 0.5, abs=0.01)
    away, hit = empty.step(stopped, stopped + [0.25, 0, 0], sliding=False)
    assert not hit[0], "an agent that touches a wall may turn and leave"


def test_slides_along_a_slanted_wall() -> None:
    half = PathFinder(
        np.array([[0, 0, 0], [0, 0, 8], [8, 0, 8]], float), np.array([[0, 1, 2]]), AGENT
    )
    start = half.snap_points(at((4.0, 0, 4.0)))
    end, _ = half.step(start, start + [0.25, 0, 0])
    moved = (end - start)[0]
    assert moved[0] > 0.08, "sliding must follow the slope"
    assert moved[2] > 0.08


def test_steps_never_leave_the_surface(divided: PathFinder) -> None:
    rng = np.random.default_rng(5)
    place = divided.sample_points(rng, 256)
    for sliding in (True, False):
        for _ in range(40):
            place, _ = divided.step(place, place + rng.normal(0, 0.4, place.shape), sliding)
            assert divided.is_navigable(place).all()


def test_habitat_agents_stick_to_walls_without_sliding() -> None:
    finder = PathFinder(*slab(0, 0, 4, 4), AgentSpec(navmesh="habitat"))
    touching, _ = finder.step(at((2, 0, 2)), at((9, 0, 2)), sliding=False)
    stuck, collided = finder.step(touching, touching - [0.25, 0, 0], sliding=False)
    np.testing.assert_allclose(stuck, touching, atol=1e-6)
    assert collided[0]


def test_islands_and_radius() -> None:
    finder = PathFinder(*join(slab(0, 0, 5, 5), slab(8, 0, 10, 2)), AGENT)
    assert finder.num_islands == 2
    assert finder.get_island(at((2, 0, 2), (9, 0, 1), (6.5, 0, 1))).tolist()[2] == -1
    radius = finder.island_radius(at((2, 0, 2), (9, 0, 1)))
    np.testing.assert_allclose(radius, [np.hypot(2.3, 2.3), np.hypot(0.8, 0.8)], atol=0.1)


def test_small_islands_low_ceilings_and_steep_slopes_are_out() -> None:
    speck, shelf = slab(8, 0, 9.2, 1.2), slab(0, 0, 5, 5, 1.3)
    with pytest.raises(NavigationError, match="no navigable area"):
        PathFinder(*speck, AGENT)
    under = PathFinder(*join(slab(0, 0, 5, 5), shelf), AGENT)
    assert not under.is_navigable(at((2.5, 0, 2.5)))[0]
    ramp = np.array([[0, 0, 0], [0, 0, 4], [4, 6, 4], [4, 6, 0]], float)
    with pytest.raises(NavigationError, match="faces? upwards|face upwards"):
        PathFinder(ramp, np.array([[0, 1, 2], [0, 2, 3]]), AGENT)


def test_start_in_a_wall_and_far_goals(divided: PathFinder) -> None:
    inside = at((4, 0, 1))
    assert not divided.is_navigable(inside)[0]
    assert divided.is_navigable(divided.snap_points(inside))[0]
    far = at((100, 0, 100))
    assert np.isnan(divided.snap_points(far)).all()
    assert np.isinf(divided.geodesic_distance((2, 0, 1), far))[0]
    with pytest.raises(NavigationError, match="outside the navigable area"):
        divided.step(far, far)
    with pytest.raises(NavigationError, match="goals"):
        divided.compute_distance_field(far)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f.step(at((np.nan, 0, 1)), at((2, 0, 1))),
        lambda f: f.step(at((2, 0, 1)), at((2, 0, np.nan))),
        lambda f: f.step(at((2, 0, 1)), at((2, 0, 1), (2, 0, 1))),
        lambda f: f.is_navigable(np.zeros((3, 2))),
        lambda f: f.compute_distance_field(at((np.nan, 0, 0))),
        lambda f: f.sample_points(np.random.default_rng(0), island=99),
        lambda f: f.sample_points(np.random.default_rng(0), floor=9),
        lambda f: f.get_topdown_view(0.0, -1.0),
    ],
)
def test_bad_queries_raise(divided: PathFinder, call) -> None:
    with pytest.raises(NavigationError):
        call(divided)


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (np.zeros((3, 2)), np.zeros((1, 3), int)),
        (np.zeros((3, 3)), np.zeros((0, 3), int)),
        (np.zeros((3, 3)), np.array([[0, 1, 9]])),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]])),
    ],
)
def test_bad_meshes_raise(vertices: np.ndarray, faces: np.ndarray) -> None:
    with pytest.raises(NavigationError):
        PathFinder(vertices, faces, AGENT)
