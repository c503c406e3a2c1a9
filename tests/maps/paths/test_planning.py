import numpy as np
import pytest

from maps.paths.planning import compute_cost_field, compute_cost_weights, is_line_clear, trace_path


def test_open_floor_costs_the_octile_distance():
    field = compute_cost_field(np.ones((60, 80), np.uint8), (20, 30), 0.05)
    row, column = np.indices(field.shape)
    dr, dc = np.abs(row - 20), np.abs(column - 30)
    exact = (np.maximum(dr, dc) + (np.sqrt(2) - 1) * np.minimum(dr, dc)) * 0.05
    assert np.abs(field - exact).max() <= 0.011 * exact.max()


def test_walls_are_walked_round_and_corners_not_cut():
    weight = np.ones((21, 21), np.uint8)
    weight[10, :20] = 0
    field = compute_cost_field(weight, (0, 0), 1.0)
    path = trace_path(field, (20, 0))
    assert tuple(path[0]) == (0, 0)
    assert tuple(path[-1]) == (20, 0)
    assert (np.abs(np.diff(path, axis=0)).max(axis=1) == 1).all()
    assert all(weight[r, c] for r, c in path)
    assert tuple(np.array([10, 20])) in {tuple(p) for p in path}
    diagonal = np.ones((4, 4), np.uint8)
    diagonal[0, 1] = diagonal[1, 0] = 0
    assert np.isinf(compute_cost_field(diagonal, (0, 0), 1.0)[1:, 1:]).all()


def test_weights_push_the_path_to_the_middle():
    clearance = np.minimum(np.arange(21), np.arange(21)[::-1]) * 0.05 + np.zeros((50, 1))
    weight = compute_cost_weights(np.ones((50, 21), bool), clearance, radius=0.2, comfort=0.4)
    assert (weight[:, :4] == 0).all()
    assert (weight[:, 8:13] == 1).all()
    assert weight[0, 4] == 4
    path = trace_path(compute_cost_field(weight, (0, 5), 0.05), (49, 5))
    assert path[25, 1] >= 7


def test_unreachable_and_limited():
    weight = np.ones((5, 9), np.uint8)
    weight[:, 4] = 0
    field = compute_cost_field(weight, (2, 0), 1.0)
    assert np.isinf(field[:, 5:]).all()
    assert len(trace_path(field, (2, 8))) == 0
    near = compute_cost_field(np.ones((5, 9), np.uint8), (2, 0), 1.0, limit=3.0)
    assert np.isfinite(near[2, 3])
    assert np.isinf(near[2, 6])


def test_clear_line_sees_walls_and_weights():
    weight = np.ones((10, 10), np.uint8)
    assert is_line_clear(weight, 0.5, 0.5, 9.5, 9.5, 1)
    weight[5, 5] = 3
    assert not is_line_clear(weight, 0.5, 0.5, 9.5, 9.5, 2)
    assert is_line_clear(weight, 0.5, 0.5, 9.5, 9.5, 3)
    weight[5, 5] = 0
    assert not is_line_clear(weight, 0.5, 0.5, 9.5, 9.5, 8)
    assert not is_line_clear(weight, 0.5, 0.5, 12.0, 0.5, 8)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        compute_cost_field(np.full((3, 3), 9, np.uint8), (0, 0), 1.0)
    with pytest.raises(ValueError, match="outside"):
        compute_cost_field(np.ones((3, 3), np.uint8), (3, 0), 1.0)
    with pytest.raises(ValueError, match="steepness"):
        compute_cost_weights(np.ones((3, 3), bool), np.ones((3, 3)), 0.4, 0.2)
