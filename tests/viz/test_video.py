"""Films play in a browser, look like what went in, and are never half-written."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from embodied.errors import EmbodiedError
from embodied.viz.video import SIZE, VideoWriter, colorize_depth, compose_frame, write_video


def test_a_film_is_h264_and_shows_its_frames(tmp_path: Path) -> None:
    levels = (30, 120, 220)
    frames = [np.full((64, 96, 3), level, np.uint8) for level in levels]
    assert write_video(tmp_path / "film.mp4", frames, fps=5) == 3
    with av.open(str(tmp_path / "film.mp4")) as film:
        stream = film.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert [s.shape for s in shown] == [(64, 96, 3)] * 3
    for picture, level in zip(shown, levels, strict=True):
        assert abs(float(picture.mean()) - level) < 4


def test_an_error_leaves_no_film(tmp_path: Path) -> None:
    def fail() -> None:
        with VideoWriter(tmp_path / "film.mp4") as film:
            film.add_frame(np.zeros((16, 16, 3), np.uint8))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [np.zeros((15, 16, 3), np.uint8)],
        [np.zeros((16, 16, 3), np.uint8), np.zeros((32, 16, 3), np.uint8)],
    ],
)
def test_frames_that_make_no_film_are_refused(tmp_path: Path, frames: list[np.ndarray]) -> None:
    with pytest.raises(EmbodiedError):
        write_video(tmp_path / "film.mp4", frames)
    assert not list(tmp_path.iterdir())


def test_depth_is_brighter_when_nearer_and_black_when_unknown() -> None:
    depth = np.array([[0.0, 0.5, 3.0, 5.5]], np.float32)
    light = colorize_depth(depth).astype(int).sum(axis=2)[0]
    assert light[0] == 0
    assert light[1] > light[2] > light[3] > 0


def test_a_frame_holds_the_three_pictures_and_the_text() -> None:
    red = np.full((64, 64, 3), (250, 0, 0), np.uint8)
    blue = np.full((400, 400, 3), (0, 0, 250), np.uint8)
    frame = compose_frame(red, np.full((64, 64), 0.1, np.float32), blue, "Title", "note")
    assert frame.shape == (SIZE[1], SIZE[0], 3)
    assert tuple(frame[200, 100]) == (250, 0, 0)
    assert tuple(frame[200, 1100]) == (0, 0, 250)
    plain = compose_frame(red, np.full((64, 64), 0.1, np.float32), blue, "", "")
    assert (frame[:60, :300] != plain[:60, :300]).any()
    assert (frame[:60, 1100:] != plain[:60, 1100:]).any()
    assert (frame[64:464] == plain[64:464]).all()
