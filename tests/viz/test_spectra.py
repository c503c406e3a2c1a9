"""The picture of a scene object spectrum, and the command that makes it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from embodied.cli.main import main
from embodied.perception.sos import compute_spectrum
from embodied.viz.spectra import category_colors, draw_spectrum, paint_canvas
from maps.panorama.canvas import boxes_to_canvas

NAMES = ("chair", "table", "sofa")


def test_masks_are_painted_small_ones_on_top() -> None:
    boxes = [[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.3, 0.3]]
    picture = paint_canvas(boxes_to_canvas([0, 2], boxes, 3), 960)
    assert picture.shape == (320, 960, 3)
    colors = category_colors(3)
    assert len(np.unique(colors, axis=0)) == 3
    column = round(1.0 / (2 * np.pi) * 960)
    assert picture[160, column].tolist() == colors[2].tolist()
    assert picture[160, column + 60].tolist() == colors[0].tolist()
    assert picture[0, 0].tolist() == [240, 240, 240]


def test_the_picture_grows_with_what_is_seen() -> None:
    empty = np.zeros((3, 32, 96), bool)
    seen = boxes_to_canvas([0, 1], [[1, 0, 1, 1], [3, 0, 1, 0.5]], 3)
    pictures = []
    for canvas in (empty, seen):
        found = compute_spectrum(torch.from_numpy(canvas)).numpy()
        pictures.append(draw_spectrum(canvas, found, NAMES))
    assert all(p.shape[1] == 1200 and p.dtype == np.uint8 for p in pictures)
    assert len(pictures[1]) > len(pictures[0]) + 96
    photo = np.zeros((128, 256, 3), np.uint8)
    words = compute_spectrum(torch.from_numpy(seen)).numpy()
    larger = draw_spectrum(seen, words, NAMES, photo=photo, words=words, title="here")
    assert len(larger) > len(pictures[1]) + 300


def test_the_command_draws_a_place_of_a_house(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "seen.png"
    assert main(["view", "sos", "--house", "1", "--words", "the door", "--out", str(file)]) == 0
    assert cv2.imread(str(file)).shape[1] == 1200
    text = capsys.readouterr().out
    assert "cosine with 'door'" in text
    assert str(file) in text


def test_the_command_draws_a_viewpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shared_data: object
) -> None:
    data: Path = shared_data("reverie")  # type: ignore[operator]
    viewpoint = "17DRP5sb8fy_00ebbf3782c64d74aaf7dd39cd561175"
    line = ["view", "sos", "--viewpoint", viewpoint, "--out", str(tmp_path / "seen.png")]
    assert main([*line, "--data", str(data.parent), "--scale", "log1p"]) == 0
    assert "toilet" in capsys.readouterr().out
    assert (tmp_path / "seen.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--at", "1"], "two numbers"),
        (["--at", "900,900"], "no walkable floor"),
        (["--out", "x.txt"], "png"),
        (["--words", "nothing at all"], "no object"),
    ],
)
def test_mistakes_are_explained(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", "sos", *options]) == 2
    assert message in capsys.readouterr().err
