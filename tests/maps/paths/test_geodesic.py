"""Distances on grids: closed forms, MovingAI's optimal costs, the exact reference, bad input."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest

from maps.paths import geodesic
from maps.paths.geodesic import GeodesicGrid
from maps.paths.visibility import compute_exact_distances, is_visible


def boxes(seed: int, shape: tuple[int, int] = (120, 160), count: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    free = np.ones(shape, bool)
    for _ in range(count):
        r, c = rng.integers(0, shape[0] - 5), rng.integers(0, shape[1] - 5)
        free[r : r + rng.integers(1, 14), c : c + rng.integers(1, 14)] = False
    return free


def test_open_space_is_euclidean() -> None:
    field = geodesic.compute_distance_field(
        np.ones((60, 80), bool), np.array([[10, 20]]), cell_size=0.05
    )
    rows, columns = np.indices((60, 80))
    expected = np.hypot(rows - 10, columns - 20) * 0.05
    np.testing.assert_allclose(field, expected, atol=1e-5)


def test_way_around_a_wall_turns_at_its_end() -> None:
    free = np.ones((40, 41), bool)
    free[:30, 20] = False
    field = geodesic.compute_distance_field(free, np.array([[5, 10]]))
    # Both lower corners of the wall lie on the way: (30, 20) and (30, 21).
    expected = np.hypot(30 - 5.5, 20 - 10.5) + 1 + np.hypot(30 - 5.5, 30.5 - 21)
    assert field[5, 30] == pytest.approx(expected, abs=1e-4)
    path = geodesic.find_shortest_path(free, (5, 30), (5, 10))
    np.testing.assert_allclose(path, [[5.5, 30.5], [30, 21], [30, 20], [5.5, 10.5]])


def test_no_squeeze_between_diagonal_obstacles() -> None:
    free = np.eye(2, dtype=bool)
    assert np.isinf(geodesic.compute_distance_field(free, np.array([[0, 0]]))[1, 1])
    assert np.isinf(
        geodesic.compute_distance_field(free, np.array([[0, 0]]), metric="octile")[1, 1]
    )
    assert geodesic.find_shortest_path(free, (0, 0), (1, 1)).shape == (0, 2)
    assert not is_visible(free, 0.5, 0.5, 1.5, 1.5)


def test_many_sources_give_the_nearest() -> None:
    free = boxes(4)
    cells = np.argwhere(free)[[10, 5000, 12000]]
    together = geodesic.compute_distance_field(free, cells)
    alone = np.min([geodesic.compute_distance_field(free, cell) for cell in cells], axis=0)
    reached = np.isfinite(alone)
    assert (np.isfinite(together) == reached).all()
    gap = np.abs(together[reached] - alone[reached])
    assert (gap <= 0.02 * alone[reached] + 1e-4).all()


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_exact_visibility_graph(seed: int) -> None:
    free = boxes(seed)
    rng = np.random.default_rng(seed)
    cells = np.argwhere(free)
    start = cells[rng.integers(len(cells))]
    ends = cells[rng.choice(len(cells), 1500)]
    exact = compute_exact_distances(free, start + 0.5, ends + 0.5)
    ours = geodesic.compute_distance_field(free, start)[ends[:, 0], ends[:, 1]].astype(float)
    assert (np.isfinite(ours) == np.isfinite(exact)).all()
    far = np.isfinite(exact) & (exact >= 20)  # 1 m at 5 cm
    error = ours[far] / exact[far] - 1
    assert error.min() > -1e-5, "shorter than the shortest"
    assert np.median(np.abs(error)) < 1e-3
    assert np.abs(error).max() < 0.03


def test_path_is_as_long_as_its_distance_and_free() -> None:
    free = boxes(7)
    rng = np.random.default_rng(7)
    cells = np.argwhere(free)
    grid = GeodesicGrid(free)
    for start, goal in cells[rng.choice(len(cells), (20, 2))]:
        path = grid.find_path(start, goal)
        distance = grid.compute_field(goal)[tuple(start)]
        if not len(path):
            assert np.isinf(distance)
            continue
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).sum() == pytest.approx(
            distance, abs=0.02
        )
        assert all(is_visible(free, *a, *b) for a, b in zip(path[:-1], path[1:], strict=True))


def movingai(folder):
    with tarfile.open(folder / "movingai_rooms_subset.tar.xz") as archive:
        files = {m.name: archive.extractfile(m).read().decode() for m in archive if m.isfile()}
    for name in sorted(files):
        if not name.endswith(".scen"):
            continue
        rows = files[name.replace("scenarios", "maps").removesuffix(".scen")].splitlines()[4:]
        free = np.array([[mark in ".G" for mark in row] for row in rows])
        table = np.loadtxt(io.StringIO(files[name]), skiprows=1, usecols=range(4, 9))
        yield name, free, table


def check_octile(folder, every: int) -> int:
    total = 0
    for name, free, table in movingai(folder):
        grid = GeodesicGrid(free)
        for x0, y0, x1, y1, cost in table[::every]:
            ours = grid.compute_octile_distance([int(y0), int(x0)], [int(y1), int(x1)])
            assert ours == pytest.approx(cost, abs=1e-3), f"{name} {x0, y0, x1, y1}"
            total += 1
    return total


def test_octile_costs_of_movingai_queries(shared_data) -> None:
    assert check_octile(shared_data("floorplans"), every=6) > 300


@pytest.mark.slow
def test_octile_costs_of_every_movingai_query(shared_data) -> None:
    assert check_octile(shared_data("floorplans"), every=1) > 2000


def check_any_angle(folder, every: int) -> None:
    for name, free, table in movingai(folder):
        grid = GeodesicGrid(free)
        for x0, y0, x1, y1, cost in table[::every]:
            goal = int(y1), int(x1)
            ours = grid.compute_field([[int(y0), int(x0)]], max_distance=cost + 3)[goal]
            assert ours <= cost + 1e-3, f"{name} {x0, y0, x1, y1}"
            assert ours >= np.hypot(x1 - x0, y1 - y0) - 1e-3, f"{name} {x0, y0, x1, y1}"


def test_any_angle_is_close_to_the_visibility_graph_on_short_queries(shared_data) -> None:
    # A way of length c stays within c cells of its start, so that the map around it is enough.
    total = 0
    for name, free, table in movingai(shared_data("floorplans")):
        grid = GeodesicGrid(free)
        for x0, y0, x1, y1, cost in table[table[:, 4] < 40]:
            row, column, reach = int(y0), int(x0), int(cost) + 2
            top, left = max(0, row - reach), max(0, column - reach)
            around = free[top : row + reach + 1, left : column + reach + 1]
            start, goal = np.array([row, column]), np.array([int(y1), int(x1)])
            corner = np.array([top, left]) - 0.5  # queries run between the centres of cells
            exact = compute_exact_distances(around, start - corner, goal - corner)[0]
            ours = grid.compute_field([start], max_distance=cost + 3)[tuple(goal)]
            assert exact * (1 - 1e-6) <= ours <= exact * 1.03, f"{name} {x0, y0, x1, y1}"
            total += 1
    assert total > 100


def test_any_angle_stays_between_straight_and_octile(shared_data) -> None:
    check_any_angle(shared_data("floorplans"), every=24)


@pytest.mark.slow
def test_any_angle_stays_between_straight_and_octile_everywhere(shared_data) -> None:
    check_any_angle(shared_data("floorplans"), every=1)


def test_metric_octile_field_equals_single_queries() -> None:
    free = boxes(9)
    cells = np.argwhere(free)
    field = geodesic.compute_distance_field(free, cells[100], cell_size=0.05, metric="octile")
    grid = GeodesicGrid(free, 0.05)
    for cell in cells[::997]:
        assert field[tuple(cell)] == pytest.approx(
            grid.compute_octile_distance(cells[100], cell), abs=1e-4
        )


@pytest.mark.parametrize(
    ("free", "sources", "match"),
    [
        (np.ones((4, 4)), [[0, 0]], "bool"),
        (np.ones(4, bool), [[0, 0]], r"\(H, W\)"),
        (np.ones((4, 4), bool), [[4, 0]], "outside"),
        (np.ones((4, 4), bool), [[0.5, 0.5]], "integer"),
        (np.ones((4, 4), bool), [[0, 0, 0]], r"\(K, 2\)"),
    ],
)
def test_bad_input_is_named(free: np.ndarray, sources: list, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        geodesic.compute_distance_field(free, sources)


def test_unknown_metric_lists_the_allowed() -> None:
    with pytest.raises(ValueError, match="any_angle, octile"):
        geodesic.compute_distance_field(np.ones((4, 4), bool), [[0, 0]], metric="manhattan")


def test_blocked_source_reaches_nothing() -> None:
    free = np.ones((4, 4), bool)
    free[1, 1] = False
    assert np.isinf(geodesic.compute_distance_field(free, [[1, 1]])).all()
    assert geodesic.find_shortest_path(free, (1, 1), (0, 0)).shape == (0, 2)
