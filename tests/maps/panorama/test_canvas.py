"""Views, boxes and category canvases against rotations, loops and renderings done another way."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maps.panorama import canvas as pano

K = 5
ANGLE = st.floats(-10, 10)


def direction(heading: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """(sin h cos e, sin e, -cos h cos e): the convention of all headings, y up."""
    flat = np.cos(elevation)
    return np.stack([np.sin(heading) * flat, np.sin(elevation), -np.cos(heading) * flat], -1)


def rotation(heading: float, elevation: float) -> np.ndarray:
    """Camera (x right, y up, z back) to world: pitch about x, then yaw about y."""
    c, s = np.cos(elevation), np.sin(elevation)
    pitch = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(-heading), np.sin(-heading)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ pitch


def test_the_views_look_where_their_index_says() -> None:
    angles = np.degrees(pano.compute_view_angles())
    assert angles.shape == (36, 2)
    assert angles[0].tolist() == pytest.approx([0, -30])
    assert angles[15].tolist() == pytest.approx([90, 0])
    assert angles[35].tolist() == pytest.approx([330, 30])


@given(heading=ANGLE, elevation=st.floats(-1.5, 1.5))
def test_the_nearest_view_has_the_smallest_angle(heading: float, elevation: float) -> None:
    axes = direction(*pano.compute_view_angles().T)
    closeness = axes @ direction(np.array(heading), np.array(elevation))
    assert closeness[pano.find_nearest_view(heading, elevation)] == pytest.approx(closeness.max())


@given(
    view=st.integers(0, 35),
    x=st.floats(0, pano.IMAGE_WIDTH),
    y=st.floats(0, pano.IMAGE_HEIGHT),
)
def test_pixels_become_the_angles_of_the_rotated_ray(view: int, x: float, y: float) -> None:
    ray = np.array([(x - 320) / 415.6921938, (240 - y) / 415.6921938, -1.0])
    world = rotation(*pano.compute_view_angles()[view]) @ ray
    heading, elevation = pano.pixels_to_angles(view, x, y)
    assert direction(heading, elevation) == pytest.approx(world / np.linalg.norm(world), abs=1e-8)
    assert np.stack(pano.angles_to_pixels(view, heading, elevation)) == pytest.approx(
        [x, y], abs=1e-5
    )


def test_what_is_behind_the_camera_is_in_no_pixel() -> None:
    assert np.isinf(pano.angles_to_pixels(12, np.pi, 0.0)).all()


def slow_canvas(categories: np.ndarray, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    canvas = np.zeros((K, height, width), bool)
    for category, (heading, elevation, wide, high) in zip(categories, boxes, strict=True):
        if category < 0 or abs(elevation) - high / 2 >= np.pi / 3:
            continue
        own_row = min(max(int((np.pi / 3 - elevation) / (2 * np.pi / 3) * height), 0), height - 1)
        own_column = int(heading % (2 * np.pi) / (2 * np.pi) * width) % width
        for row in range(height):
            e = np.pi / 3 - (row + 0.5) * 2 * np.pi / 3 / height
            for column in range(width):
                h = (column + 0.5) * 2 * np.pi / width
                turn = np.arctan2(np.sin(h - heading), np.cos(h - heading))
                across = abs(turn) <= wide / 2 or column == own_column
                down = abs(e - elevation) <= high / 2 or row == own_row
                if across and down:
                    canvas[category, row, column] = True
    return canvas


BOXES = st.lists(
    st.tuples(
        st.integers(-1, K - 1),
        st.floats(-7, 7),
        st.floats(-1.5, 1.5),
        st.floats(0.01, 7),
        st.floats(0.01, 2),
    ),
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(items=BOXES)
def test_boxes_fill_the_cells_that_a_plain_loop_fills(items: list) -> None:
    table = np.array(items, np.float64).reshape(-1, 5)
    categories, boxes = table[:, 0].astype(int), table[:, 1:]
    fast = pano.boxes_to_canvas(categories, boxes, K, 8, 24)
    assert np.array_equal(fast, slow_canvas(categories, boxes, 8, 24))


def test_a_box_across_north_wraps() -> None:
    canvas = pano.boxes_to_canvas([1], [[0.0, 0.0, np.radians(30), np.radians(15)]], K)
    assert np.flatnonzero(canvas[1].any(axis=0)).tolist() == [0, 1, 2, 3, 92, 93, 94, 95]
    assert np.flatnonzero(canvas[1].any(axis=1)).tolist() == [14, 15, 16, 17]
    assert not canvas[[0, 2, 3, 4]].any()


def test_a_tiny_box_keeps_its_cell_and_one_above_the_canvas_none() -> None:
    boxes = [[1.0, 0.2, 0.001, 0.001], [1.0, 1.4, 0.1, 0.1]]
    canvas = pano.boxes_to_canvas([0, 1], boxes, K)
    assert canvas[0].sum() == 1
    assert not canvas[1].any()
    assert canvas[0][pano.direction_to_cell(1.0, 0.2)]


@pytest.mark.parametrize(
    ("categories", "box", "message"),
    [
        ([0], [np.nan, 0, 1, 1], "box 0"),
        ([0], [0, 0, 0, 1], "box 0"),
        ([K], [0, 0, 1, 1], "allowed are -1"),
        ([0, 1], [0, 0, 1, 1], "one per box"),
    ],
)
def test_bad_boxes_are_refused(categories: list, box: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pano.boxes_to_canvas(categories, [box], K)


def test_bad_boxes_in_views_are_refused() -> None:
    with pytest.raises(ValueError, match="view"):
        pano.join_boxes([0], [36], [[1, 1, 5, 5]])
    with pytest.raises(ValueError, match="box 0"):
        pano.join_boxes([0], [1], [[1, 1, np.inf, 5]])
    with pytest.raises(ValueError, match="box for each"):
        pano.join_boxes([1], [1], [[1, 1, 5, 5]])
    with pytest.raises(ValueError, match="categories"):
        pano.view_boxes_to_canvas([0, 1], [0], [1], [[1, 1, 5, 5]], K)


def view_boxes(heading: float, elevation: float, wide: float, high: float) -> tuple:
    """The boxes that a rectangle of directions has in all views that see some of it."""
    h = np.linspace(heading - wide / 2, heading + wide / 2, 200)
    e = np.linspace(elevation - high / 2, elevation + high / 2, 200)
    grid_h, grid_e = np.meshgrid(h, e)
    x, y = pano.angles_to_pixels(np.arange(36)[:, None, None], grid_h, grid_e)
    inside = (x >= 0) & (x <= 640) & (y >= 0) & (y <= 480)
    views, boxes = [], []
    for view in np.flatnonzero(inside.any(axis=(1, 2))):
        px, py = x[view][inside[view]], y[view][inside[view]]
        if np.ptp(px) > 1 and np.ptp(py) > 1:
            # Where the object goes on beyond an edge, its box reaches that edge.
            low, far = [px.min(), py.min()], [px.max(), py.max()]
            cut = ~inside[view].all()
            low = [0 if cut and v < 12 else v for v in low]
            far = [s if cut and v > s - 12 else v for v, s in zip(far, (640, 480), strict=True)]
            views.append(int(view))
            boxes.append([*low, far[0] - low[0], far[1] - low[1]])
    return views, boxes


@settings(max_examples=30, deadline=None)
@given(
    heading=st.floats(0, 6.28),
    elevation=st.floats(-0.5, 0.5),
    wide=st.floats(0.05, 2.5),
    high=st.floats(0.15, 1.0),  # of a slab lower than two cells, every cell is on the rim
)
def test_views_agree_on_the_object_they_show(
    heading: float, elevation: float, wide: float, high: float
) -> None:
    views, boxes = view_boxes(heading, elevation, wide, high)
    objects = np.zeros(len(views), int)
    found = pano.view_boxes_to_canvas([2], objects, views, boxes, K)[2]
    true = pano.boxes_to_canvas([2], [[heading, elevation, wide, high]], K)[2]
    cell = np.radians(3.75)
    near = found.copy()
    # A thing thinner than a cell may hold no centre: one neighbour is as right as the other.
    if high < cell:
        near[1:] |= found[:-1]
        near[:-1] |= found[1:]
    if wide < cell:
        near |= np.roll(found, 1, axis=1) | np.roll(found, -1, axis=1)
    missed = (true & ~near).sum()
    assert missed <= max(2, 0.1 * true.sum())  # cell centres on the rim may fall either way
    # Straight image edges bulge on the sphere: a box is a little more than the object, mostly by
    # cells next to it.
    around = np.pad(true, ((1, 1), (0, 0)))
    around = around[:-2] | around[1:-1] | around[2:]
    around = around | np.roll(around, 1, axis=1) | np.roll(around, -1, axis=1)
    assert (found & ~around).sum() <= 0.25 * true.sum() + 4
    joined = pano.join_boxes(objects, views, boxes)[0]
    assert abs(pano.wrap_angle(joined[0] - heading)) < 1.1 * cell + 0.05 * wide
    assert abs(joined[1] - elevation) < 1.1 * cell + 0.2 * high
    assert joined[2] > wide - 2 * cell
    # An upright image edge keeps its distance in metres, so it spans more heading further up.
    bulge = np.cos(elevation) / np.cos(abs(elevation) + high / 2)
    assert joined[2] < max(1.35, bulge) * wide + 2.1 * cell


@pytest.mark.parametrize("wide", [0.02, 0.055])
def test_a_pole_narrower_than_a_cell_is_whole(wide: float) -> None:
    """Its edges lie between two columns' centres; 57 degrees are 15 rows, the last to a cell."""
    views, boxes = view_boxes(0.0, 0.5, wide, 1.0)
    found = pano.view_boxes_to_canvas([2], np.zeros(len(views), int), views, boxes, K)[2]
    assert found[1:15, 0].all()
    assert not found[17:].any()
    assert set(np.flatnonzero(found.any(axis=0))) <= {0, 1, 95}


def test_an_uncut_central_box_is_taken_exactly() -> None:
    half = 415.6921938 * np.tan(np.radians(10))
    box = [320 - half, 240 - half, 2 * half, 2 * half]
    joined = pano.join_boxes([0], [15], [box])[0]
    assert np.degrees(joined).tolist() == pytest.approx([90, 0, 20, 20], abs=1e-6)


def painted(heading: np.ndarray, elevation: np.ndarray) -> np.ndarray:
    """A world of three patches, as canvas rows."""
    rows = np.full(np.broadcast(heading, elevation).shape, -1)
    turn = pano.wrap_angle(heading)
    rows[(np.abs(turn) < 0.6) & (np.abs(elevation) < 0.4)] = 0
    rows[(np.abs(pano.wrap_angle(heading - 2.0)) < 0.3) & (elevation > 0.2)] = 3
    rows[(np.abs(pano.wrap_angle(heading - 4.0)) < 0.8) & (elevation < -0.5)] = 4
    return rows


def equirectangular(h: int, w: int, heading: float) -> np.ndarray:
    column = heading + (np.arange(w) + 0.5) * 2 * np.pi / w - np.pi
    row = np.pi / 2 - (np.arange(h) + 0.5) * np.pi / h
    return painted(column[None], row[:, None])


def of_cells(h: int = 32, w: int = 96) -> np.ndarray:
    columns, rows = pano.compute_cell_angles(h, w)
    return painted(columns[None], rows[:, None])


@pytest.mark.parametrize("heading", [0.0, 1.0, -2.5])
@pytest.mark.parametrize("size", [(64, 128), (128, 256), (512, 1024)])
def test_an_image_all_around_becomes_a_canvas(size: tuple[int, int], heading: float) -> None:
    canvas = pano.semantic_to_canvas(equirectangular(*size, heading), K, heading)
    for row in range(K):
        wrong = canvas[row] != (of_cells() == row)
        assert wrong.sum() <= 0.25 * max((of_cells() == row).sum(), 1)
    inner = of_cells(32, 96)
    assert canvas[0][15, 0] == (inner[15, 0] == 0)


def test_the_views_stitch_to_the_same_canvas_as_the_image_all_around() -> None:
    y, x = np.mgrid[0.5:120, 0.5:160]
    heading, elevation = pano.pixels_to_angles(np.arange(36)[:, None, None], x * 4, y * 4)
    stitched = pano.stitch_views(painted(heading, elevation), K)
    direct = pano.semantic_to_canvas(equirectangular(512, 1024, 0.0), K)
    assert (stitched != direct).mean() < 0.004
    assert stitched.any(axis=(1, 2)).tolist() == [True, False, False, True, True]


def test_wrong_images_are_refused() -> None:
    with pytest.raises(ValueError, match="36 images"):
        pano.stitch_views(np.zeros((12, 120, 160), int), K)
    with pytest.raises(ValueError, match="rows are"):
        pano.semantic_to_canvas(np.full((64, 128), K), K)


def test_shares_of_views_are_those_of_their_pixels() -> None:
    canvas = np.stack([of_cells() == row for row in range(K)])
    shares = pano.compute_view_shares(canvas)
    y, x = np.mgrid[1:480:4, 1:640:4]
    row, column = pano.direction_to_cell(*pano.pixels_to_angles(np.arange(36)[:, None, None], x, y))
    direct = canvas[:, row, column].mean(axis=(2, 3)).T
    assert shares.shape == (36, K)
    assert shares == pytest.approx(direct, abs=0.01)
    assert shares.max() > 0.3
    assert pano.compute_view_shares(np.ones((2, K, 32, 96), bool)) == pytest.approx(1.0)


def test_sizes_are_those_of_the_largest_object_in_view() -> None:
    boxes = [[0.0, 0.0, 0.2, 0.05], [0.1, 0.0, 0.1, 0.1], [np.pi, 0.0, 0.4, 0.4]]
    sizes = pano.compute_view_sizes([1, 1, -1], boxes, K)
    assert sizes[12, 1] == pytest.approx(0.1)
    assert sizes[18].max() == 0
    assert not sizes[:, [0, 2, 3, 4]].any()
    assert pano.compute_view_sizes([1], boxes[2:], K)[18, 1] == pytest.approx(0.4)


def test_reverie_boxes_join_to_the_bearings_derived_from_them(shared_data: object) -> None:
    folder: Path = shared_data("reverie")  # type: ignore[operator]
    with gzip.open(folder / "bboxes_v1.json.gz") as file:
        released = json.load(file)
    with gzip.open(folder / "derived_panorama_objects.json.gz") as file:
        derived = json.load(file)
    errors = []
    for key in list(released)[:400]:
        scan, viewpoint = key.split("_", 1)
        for row in derived[scan].get(viewpoint, []):
            item = released[key][str(row[0])]
            if row[6] != 2:
                continue
            views, boxes = item["visible_pos"], item["bbox2d"]
            joined = pano.join_boxes(np.zeros(len(views), int), views, boxes)[0]
            errors.append([pano.wrap_angle(joined[0] - row[2]), joined[1] - row[3]])
    assert len(errors) > 500
    assert np.degrees(np.median(np.abs(errors), axis=0)).max() < 0.6
