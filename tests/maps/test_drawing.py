import numpy as np
import pytest

from maps.drawing import MapCanvas, MapPalette, draw_ground_truth, draw_map, tile_images
from maps.grid.frontiers import extract_frontiers
from maps.grid.occupancy import OccupancyMap
from tests.box_world import BoxWorld, camera

COLORS = MapPalette()
BOX = ((-4.0, -4.0), (4.0, 4.0))


def near(pixel, color, tolerance=12):
    return np.abs(pixel.astype(int) - color).max() <= tolerance


@pytest.fixture(scope="module")
def grid():
    room, result = BoxWorld((-3.02, 0, -2.02), (3.02, 2.6, 2.02)), OccupancyMap()
    for k in range(5):
        pose = camera(0, 0, k * np.pi / 6)
        result.integrate_depth(room.depth(pose, 128), pose, 90.0)
    return result


def test_what_is_where(grid):
    image = draw_map(grid, size=(400, 400), box=BOX)
    assert image.shape == (400, 400, 3)
    assert image.dtype == np.uint8
    assert near(image[150, 200], COLORS.free)  # 1 m ahead of the start: up in the picture
    assert near(image[300, 300], COLORS.unknown)
    assert near(image[20, 200], COLORS.unknown)
    wall = image[90:110, 200].astype(int)  # z = -2.02
    assert np.abs(wall - COLORS.obstacle).max(axis=1).min() < 30
    side = image[200, 40:58].astype(int)  # x = -3.02 lies left
    assert np.abs(side - COLORS.obstacle).max(axis=1).min() < 30


def test_marks_are_drawn_at_their_places(grid):
    frontiers = extract_frontiers(grid.free, ~grid.explored, grid.cell_size, first=grid.first)
    image = draw_map(
        grid, size=(400, 400), box=BOX, path=[[0, 0, 0], [-2, 0, 0], [-2, 0, -1]],
        frontiers=frontiers, goal=[-1, 0, 1], agent=([-2, 0, -1.5], 0.0),
    )  # fmt: skip
    assert near(image[250, 150], COLORS.goal)
    assert near(image[125, 100], COLORS.agent)
    blue = image[200, 150].astype(int)
    assert blue[2] > blue[0] + 60
    x, z = frontiers[0].target
    spot = image[round((z + 4) * 50) - 1 :, round((x + 4) * 50) - 1 :][:3, :3].reshape(-1, 3)
    assert any(near(p, COLORS.frontier, 40) for p in spot)


@pytest.mark.parametrize("quarter", range(4))
def test_the_arrow_points_along_the_heading(quarter):
    yaw = quarter * np.pi / 2
    image = draw_map(OccupancyMap(), size=(400, 400), box=BOX, agent=([0, 0, 0], yaw))
    # turn the picture so that the heading is up: counter-clockwise yaw, clockwise picture
    marked = np.rot90(np.abs(image.astype(int) - COLORS.agent).max(axis=2) < 40, -quarter)
    row, column = np.nonzero(marked)
    assert np.ptp(column[row == row.min()]) <= 3  # the tip is narrow and on the axis
    assert abs(column[row == row.min()].mean() - 199.5) < 2
    assert np.ptp(column[row >= row.max() - 1]) > 10  # two wings behind


def test_fog_hides_the_unseen_floor():
    navigable = np.ones((100, 100), bool)
    navigable[:, 50] = False
    seen = np.zeros_like(navigable)
    seen[:, 50:] = True
    image = draw_ground_truth(navigable, (0.0, 0.0), 0.05, seen=seen, size=(300, 300))
    assert near(image[150, 75], COLORS.hidden)
    assert near(image[150, 225], COLORS.free)
    assert near(image[150, 151], COLORS.obstacle, 40)
    wide = draw_ground_truth(navigable, (0.0, 0.0), 0.05, size=(300, 600))
    assert near(wide[150, 75], COLORS.unknown)
    assert near(wide[150, 225], COLORS.free)


def test_shrinking_keeps_thin_walls_visible():
    navigable = np.ones((1000, 1000), bool)
    navigable[:, 500:502] = False
    image = draw_ground_truth(navigable, (0.0, 0.0), 0.05, size=(100, 100)).astype(int)
    assert image[50, 49:52].min() < 250


def test_empty_map_and_bad_sizes():
    image = draw_map(OccupancyMap(), size=(64, 64))
    assert image.shape == (64, 64, 3)
    with pytest.raises(ValueError, match="at least 16"):
        MapCanvas((0, 0), (1, 1), (8, 100))
    with pytest.raises(ValueError, match="empty world box"):
        MapCanvas((0, 0), (0, 1), (64, 64))
    with pytest.raises(ValueError, match="equal"):
        draw_ground_truth(np.ones((3, 3), bool), (0, 0), 0.05, seen=np.ones((3, 4), bool))
    assert tile_images([image, image], gap=4).shape == (64, 132, 3)
    with pytest.raises(ValueError, match="equal heights"):
        tile_images([])
