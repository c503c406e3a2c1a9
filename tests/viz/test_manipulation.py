"""Films of arms: where things lie in the picture, bars, badges, the grid."""

from __future__ import annotations

import numpy as np
import pytest

from embodied.viz.manipulation import (
    AIM,
    DONE,
    GAP,
    HEAD,
    PLAN,
    STRIP,
    TILE,
    TileScene,
    draw_grid,
    draw_tile,
    project_points,
)

SIZE = (200, 100)
GREY = np.full((64, 64, 3), 90, np.uint8)


def colored(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(H, W) where an image has nearly a colour."""
    return np.abs(image.astype(int) - color).max(axis=-1) < 30


def test_points_are_projected_as_by_a_pinhole() -> None:
    pose = np.eye(4)
    pose[:3, 3] = (1.0, 2.0, 3.0)
    # 90 degrees: the focal length is half the width. Cameras look along -z, +y is up.
    points = np.array([[1, 2, 1], [2, 2, 1], [1, 2.5, 1], [1, 2, 5]], float)
    found = project_points(points, pose, 90.0, SIZE)
    assert np.allclose(found[:3], [[100, 50], [150, 50], [100, 25]])
    assert np.isnan(found[3]).all()  # behind


def test_a_turned_camera_sees_what_lies_before_it() -> None:
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float)  # about y: looks along -x
    pose = np.eye(4)
    pose[:3, :3] = turn
    assert np.allclose(project_points(np.array([-2.0, 0, 0]), pose, 60.0, SIZE), [100, 50])
    assert np.isnan(project_points(np.array([2.0, 0, 0]), pose, 60.0, SIZE)).all()


@pytest.mark.parametrize("progress", [0.1, 0.5, 1.0])
def test_the_bar_is_as_long_as_the_progress(progress: float) -> None:
    bar = draw_tile(TileScene(GREY, progress=progress))[TILE + STRIP // 2]
    full = draw_tile(TileScene(GREY, progress=1.0))[TILE + STRIP // 2]
    share = colored(bar, AIM).sum() / colored(full, AIM).sum()
    assert share == pytest.approx(progress, abs=0.05)


def test_plan_and_aim_are_drawn_where_they_are() -> None:
    plan = np.array([[8.0, 32.0], [56.0, 32.0], [np.nan, np.nan]])
    made = draw_tile(TileScene(GREY, plan_pixels=plan, imagined_pixel=np.array([32.0, 16.0])))[
        :TILE
    ]
    rows, columns = np.nonzero(colored(made, PLAN))
    assert np.abs(rows - TILE / 2).max() < 4
    assert (columns.min(), columns.max()) == pytest.approx((TILE / 8, 7 * TILE / 8), abs=4)
    rows, columns = np.nonzero(colored(made, AIM))
    assert (rows.mean(), columns.mean()) == pytest.approx((TILE / 4, TILE / 2), abs=2)


def test_an_ended_episode_shows_how_it_ended_and_no_plan() -> None:
    plan = np.array([[8.0, 32.0], [56.0, 32.0]])
    done = draw_tile(TileScene(GREY, plan_pixels=plan, success=True, done=True))
    failed = draw_tile(TileScene(GREY, plan_pixels=plan, done=True))
    assert colored(done, DONE)[2, TILE // 2]
    assert not colored(failed, DONE).any()
    assert not colored(failed, PLAN).any()
    assert not colored(draw_tile(TileScene(GREY)), AIM).any()  # no progress, no bar


def test_tiles_stand_in_rows_below_the_heading() -> None:
    tiles = [np.full((10, 20, 3), 20 * number + 40, np.uint8) for number in range(5)]
    made = draw_grid(tiles, "title", "")
    assert made.shape[0] % 2 == made.shape[1] % 2 == 0
    assert made.shape[1] == GAP + 3 * (20 + GAP)
    for number, picture in enumerate(tiles):
        top, left = HEAD + number // 3 * (10 + GAP), GAP + number % 3 * (20 + GAP)
        assert (made[top : top + 10, left : left + 20] == picture).all()
    assert made[:HEAD].max() > 200  # the title
