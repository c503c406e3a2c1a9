import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from maps.grid.frontiers import FrontierTracker, extract_frontiers


def masks(picture):
    """Rows of '.', '#', '?' to free and unknown masks."""
    grid = np.array([list(row) for row in picture])
    return grid == ".", grid == "?"


def test_an_open_corridor_has_one_frontier_at_its_end():
    free, unknown = masks(["########", "#.....??", "#.....??", "#.....??", "########"])
    (frontier,) = extract_frontiers(free, unknown, 0.1, first=(10, -20), min_cells=2)
    assert {tuple(c) for c in frontier.cells} == {(11, -15), (12, -15), (13, -15)}
    assert frontier.centroid == pytest.approx((-1.45, 1.25))
    assert frontier.target == pytest.approx((-1.45, 1.25))
    assert frontier.size == pytest.approx(0.3)


def test_a_closed_room_has_none():
    free, unknown = masks(["?????", "?###?", "?#.#?", "?###?", "?????"])
    assert extract_frontiers(free, unknown, 0.05, min_cells=1) == []


def test_the_target_lies_on_a_bent_frontier():
    size = 60
    y, x = np.indices((size, size)) - 30
    free = np.hypot(x, y) < 20
    (ring,) = extract_frontiers(free, ~free, 0.05)
    assert ring.centroid == pytest.approx((1.525, 1.525), abs=0.03)
    assert np.hypot(ring.target[0] - 1.525, ring.target[1] - 1.525) == pytest.approx(1.0, abs=0.08)


def test_largest_first_and_noise_dropped():
    free = np.zeros((40, 60), bool)
    free[10:30, 10:50] = True
    unknown = np.zeros_like(free)
    unknown[9, 12:32], unknown[30, 20:26], unknown[9, 48] = True, True, True
    found = extract_frontiers(free, unknown, 0.05, min_cells=2)
    assert [len(f.cells) for f in found] == [20, 6]


def test_information_is_the_unknown_area_in_sight():
    free = np.zeros((200, 200), bool)
    unknown = np.zeros_like(free)
    free[:, :100], unknown[:, 100:] = True, True
    (open_side,) = extract_frontiers(free, unknown, 0.05, reach=2.0)
    assert open_side.unknown_area == pytest.approx(np.pi * 2**2 / 2, rel=0.05)
    walled = unknown.copy()
    walled[:, 110:112] = False  # a wall 0.5 m behind the frontier
    hidden = extract_frontiers(free, walled, 0.05, reach=2.0)[0]
    assert hidden.unknown_area < 0.45 * open_side.unknown_area


@given(st.integers(0, 10_000), st.integers(3, 40), st.integers(3, 40))
@settings(max_examples=60, deadline=None)
def test_same_components_as_scipy(seed, height, width):
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, (height, width), p=[0.5, 0.3, 0.2])
    free, unknown = kind == 0, kind == 1
    border = free & ndimage.binary_dilation(unknown, ndimage.generate_binary_structure(2, 1))
    label, count = ndimage.label(border, np.ones((3, 3)))
    found = extract_frontiers(free, unknown, 0.05, min_cells=1)
    expected = {frozenset(map(tuple, np.argwhere(label == k + 1))) for k in range(count)}
    assert {frozenset(map(tuple, f.cells)) for f in found} == expected


def blobs(seed, side=120):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(side, side)), 6)
    field /= field.std()
    return field


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_identities_survive_small_changes_and_growth(seed):
    field = blobs(seed)
    tracker = FrontierTracker()
    before = tracker.update(extract_frontiers((field < 0.6) & (field > -1.2), field >= 0.6, 0.05))
    grown = np.pad(field, ((16, 0), (32, 0)), constant_values=-5.0)
    free = (grown < 0.62) & (grown > -1.2)
    after = tracker.update(extract_frontiers(free, grown >= 0.62, 0.05, first=(-16, -32)))
    assert len({f.identity for f in after}) == len(after)
    places = {f.identity: np.array(f.centroid) for f in before}
    for frontier in after:
        near = [i for i, c in places.items() if np.hypot(*(c - frontier.centroid)) < 0.05]
        if len(near) == 1:
            clash = [f for f in after if np.hypot(*(places[near[0]] - f.centroid)) < 0.3]
            if len(clash) == 1:
                assert frontier.identity == near[0]


def test_identities_are_never_reused():
    tracker = FrontierTracker()
    free, unknown = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
    free[5:15, :10], unknown[5:15, 10:15] = True, True
    (left,) = tracker.update(extract_frontiers(free, unknown, 0.05))
    assert tracker.update([]) == []
    (again,) = tracker.update(extract_frontiers(free, unknown, 0.05))
    assert again.identity != left.identity
    tracker.reset()
    assert tracker.update(extract_frontiers(free, unknown, 0.05))[0].identity == 0


def test_split_frontier_keeps_its_number_on_the_larger_part():
    free, unknown = np.zeros((60, 30), bool), np.zeros((60, 30), bool)
    free[:, :10], unknown[:, 10:] = True, True
    tracker = FrontierTracker()
    (whole,) = tracker.update(extract_frontiers(free, unknown, 0.05))
    unknown[15:22, 10:] = False
    large, small = tracker.update(extract_frontiers(free, unknown, 0.05))
    assert large.identity == whole.identity != small.identity


@pytest.mark.parametrize(
    ("free", "unknown", "arguments"),
    [
        (np.zeros((3, 3), bool), np.zeros((3, 4), bool), {}),
        (np.zeros(9, bool), np.zeros(9, bool), {}),
        (np.zeros((3, 3), bool), np.zeros((3, 3), bool), {"cell_size": 0.0}),
        (np.zeros((3, 3), bool), np.zeros((3, 3), bool), {"min_cells": 0}),
    ],
)
def test_bad_input_is_refused(free, unknown, arguments):
    with pytest.raises(ValueError, match="must be|out of range"):
        extract_frontiers(free, unknown, **({"cell_size": 0.05} | arguments))


def test_a_border_around_everything_known_is_cut_into_pieces_with_targets_of_their_own() -> None:
    free = np.zeros((120, 120), bool)
    free[20:100, 20:100] = True
    whole = extract_frontiers(free, ~free, 0.05)
    pieces = extract_frontiers(free, ~free, 0.05, longest=1.0, first=(-7, 3))
    assert len(whole) == 1
    assert len(pieces) >= 12
    assert max(np.ptp(p.cells, axis=0).max() for p in pieces) < 20
    cells = np.concatenate([p.cells for p in pieces]) - np.array([-7, 3])
    assert sorted(map(tuple, cells)) == sorted(map(tuple, whole[0].cells))
