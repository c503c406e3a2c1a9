"""Value and class layers on a growing map."""

import numpy as np
import pytest

from maps.grid.layers import realign_layer
from maps.grid.occupancy import OccupancyMap
from maps.grid.values import ValueMap
from maps.semantics import SemanticMap
from tests.box_world import BoxWorld, camera

ROOM = BoxWorld((-3.02, 0, -2.02), (3.02, 2.6, 2.02))


def at(layer, grid, x, z):
    row, column = grid.to_cell([x, 0, z])
    return layer[row, column]


def test_realign_moves_by_the_lattice():
    layer = np.arange(12).reshape(3, 4)
    moved = realign_layer(layer, (5, 5), (4, 3), (6, 8))
    assert moved[1, 2] == 0
    assert np.array_equal(moved[1:4, 2:6], layer)
    assert moved.sum() == layer.sum()
    assert realign_layer(layer, (0, 0), (1, 2), (1, 1))[0, 0] == layer[1, 2]
    assert not realign_layer(layer, (0, 0), (50, 0), (3, 3)).any()


def test_confidence_is_highest_ahead_and_zero_outside_the_cone():
    grid = OccupancyMap()
    values = ValueMap(grid, max_range=3.0)
    values.update(0.8, camera(0, 0, 0), 90.0)
    assert at(values.confidence, grid, 0.0, -2.0) > 0.99
    assert at(values.confidence, grid, 1.0, -2.0) == pytest.approx(
        np.cos(np.arctan(0.5) / (np.pi / 4) * np.pi / 2) ** 2, abs=0.05
    )
    assert at(values.confidence, grid, 0.0, 2.0) == 0
    assert at(values.confidence, grid, 2.0, -1.0) == 0
    assert at(values.confidence, grid, 0.0, -3.5) == 0
    assert at(values.values[0], grid, 0.0, -2.0) == pytest.approx(0.8)


def test_fusion_follows_the_formula_and_left_is_left():
    grid = OccupancyMap()
    values = ValueMap(grid)
    values.update(1.0, camera(0, 0, 0), 90.0)
    old = float(at(values.confidence, grid, -0.5, -2.0))
    values.update(0.0, camera(0, 0, 0.3), 90.0)  # turned left: (-0.5, -2) is nearer its axis
    offset = np.arctan2(0.525, 2.025) - 0.3
    new = np.cos(offset / (np.pi / 4) * np.pi / 2) ** 2
    assert at(values.values[0], grid, -0.5, -2.0) == pytest.approx(old / (old + new), abs=0.02)
    assert at(values.confidence, grid, -0.5, -2.0) == pytest.approx(
        (old**2 + new**2) / (old + new), abs=0.02
    )


def test_walls_stop_values_and_growth_keeps_them():
    grid = OccupancyMap(block=16)
    values = ValueMap(grid, channels=2, max_range=6.0)
    pose = camera(0, 0, 0)
    values.update([0.5, 0.25], pose, 90.0, ROOM.depth(pose, 64))
    assert at(values.confidence, grid, 0.0, -1.9) > 0
    assert at(values.confidence, grid, 0.0, -2.3) == 0
    grid.grow_to_cover((-20, -20), (20, 20))
    assert values.values.shape == (2, *grid.shape)
    assert at(values.values[1], grid, 0.0, -1.5) == pytest.approx(0.25)
    assert values.max_value_near([[0.0, -1.5], [10.0, 10.0]]) == pytest.approx(
        np.array([[0.5, 0.25], [0, 0]])
    )


def test_old_evidence_fades():
    grid = OccupancyMap()
    values = ValueMap(grid, decay=0.5)
    values.update(1.0, camera(0, 0, 0), 90.0)
    values.update(0.0, camera(0, 0, np.pi), 90.0)
    assert at(values.confidence, grid, 0.0, -1.0) == pytest.approx(0.5, abs=0.01)


def test_a_labelled_box_is_found_where_it_stands():
    box = ((1.0, 0.0, -1.0), (1.5, 0.8, -0.5))
    world = BoxWorld(ROOM.low, ROOM.high, [box])
    grid = OccupancyMap(block=16)
    classes = SemanticMap(grid)
    for x in (-1.5, -1.0):
        pose = camera(x, -0.75, -np.pi / 2)
        depth = world.depth(pose, 128)
        labels = np.where(depth < ROOM.depth(pose, 128) - 1e-4, 7, 1)
        used = classes.integrate_labels(labels, depth, pose, 90.0, (7, 9))
        assert used[7] == (labels == 7).sum()
        assert used[9] == 0
    points = grid.to_world(np.argwhere(classes.get_votes(7) >= 2))
    assert len(points) >= 10
    assert (points[:, 0] > 0.94).all()
    assert (points[:, 0] < 1.56).all()
    assert (points[:, 2] > -1.06).all()
    assert (points[:, 2] < -0.44).all()
    assert at(classes.compute_distance(7), grid, 0.0, -0.75) == pytest.approx(1.0, abs=0.06)
    assert np.isinf(classes.compute_distance(9)).all()
    grid.grow_to_cover((-30, -30), (30, 30))
    assert len(np.argwhere(classes.get_votes(7) >= 2)) == len(points)
    classes.clear_class(7, [1.25, 0, -0.75], 1.0)
    assert not classes.get_votes(7).any()


def test_specks_and_invalid_depth_are_no_objects():
    grid = OccupancyMap()
    classes = SemanticMap(grid, min_pixels=5)
    labels, depth = np.zeros((32, 32), int), np.full((32, 32), 2.0)
    labels[0, :4] = 3
    labels[10:20, 10:20], depth[10:20, 10:20] = 4, np.nan
    assert classes.integrate_labels(labels, depth, camera(0, 0, 0), 90.0, (3, 4)) == {3: 0, 4: 0}


def test_bad_input_is_refused():
    grid = OccupancyMap()
    with pytest.raises(ValueError, match="finite"):
        ValueMap(grid).update(np.nan, camera(0, 0, 0), 90.0)
    with pytest.raises(ValueError, match="heading"):
        ValueMap(grid).update(1.0, camera(0, 0, 0, pitch=np.pi / 2), 90.0)
    with pytest.raises(ValueError, match="channels"):
        ValueMap(grid, 0)
    with pytest.raises(ValueError, match="equal"):
        SemanticMap(grid).integrate_labels(
            np.zeros((3, 3)), np.zeros((4, 3)), np.eye(4), 90.0, (1,)
        )
