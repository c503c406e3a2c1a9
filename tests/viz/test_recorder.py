"""Recordings come back as they went in; damaged ones say so; Rerun is optional."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from embodied.errors import EmbodiedError, MissingExtraError
from embodied.viz import recorder as recorder_module
from embodied.viz import rerun
from embodied.viz.recorder import Recording, RecordingWriter, load_recording


def recorder(steps: int = 4) -> RecordingWriter:
    rng = np.random.default_rng(0)
    made = RecordingWriter(90.0, {"scene": "house 3"})
    for step in range(steps):
        camera = np.eye(4)
        camera[:3, 3] = (0, 1.25, -step)
        made.add_step(
            rng.integers(0, 255, (32, 32, 3)).astype(np.uint8),
            rng.uniform(0.5, 4, (32, 32)).astype(np.float32),
            (0, 0, -step), 0.1 * step, camera, "start" if step == 0 else "",
        )  # fmt: skip
    return made


def test_what_went_in_comes_out(tmp_path: Path) -> None:
    made = recorder()
    made.save(tmp_path / "recording")
    read = load_recording(tmp_path)  # finds the sub-folder of a demo
    assert len(read) == 4
    assert read.info == {"scene": "house 3"}
    assert read.hfov == 90.0
    assert read.notes == ("start", "", "", "")
    np.testing.assert_array_equal(read.rgb, recorder_images()[0])
    np.testing.assert_allclose(read.yaw, [0, 0.1, 0.2, 0.3], atol=1e-6)
    np.testing.assert_allclose(read.camera[3][:3, 3], [0, 1.25, -3])
    assert np.abs(read.depth - recorder_images()[1]).max() <= 0.00051  # kept in millimetres


def recorder_images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images, depths = [], []
    for _ in range(4):
        images.append(rng.integers(0, 255, (32, 32, 3)))
        depths.append(rng.uniform(0.5, 4, (32, 32)))
    return np.stack(images), np.stack(depths)


def test_images_of_different_sizes_do_not_mix() -> None:
    made, pose = recorder(), np.eye(4)
    with pytest.raises(EmbodiedError, match="one size"):
        made.add_step(np.zeros((16, 32, 3), np.uint8), np.zeros((16, 32)), (0, 0, 0), 0.0, pose)
    with pytest.raises(EmbodiedError, match="one size"):
        made.add_step(np.zeros((32, 32, 3), np.uint8), np.zeros((16, 32)), (0, 0, 0), 0.0, pose)
    assert len(made) == 4


def test_waiting_images_take_little_memory() -> None:
    made = RecordingWriter(90.0)
    ramp = np.broadcast_to(np.linspace(0, 5, 256), (256, 256))
    rgb = np.repeat((ramp * 50).astype(np.uint8)[..., None], 3, axis=2)
    for _ in range(20):
        made.add_step(rgb, ramp, (0, 0, 0), 0.0, np.eye(4))
    held = sum(len(image) for images in made._images.values() for image in images)
    assert held < 0.2 * 20 * (rgb.nbytes + ramp.size * 2)


def test_an_empty_recording_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(EmbodiedError, match="nothing was recorded"):
        RecordingWriter(90.0).save(tmp_path / "recording")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "flipped", "format", "length", "empty"])
def test_a_damaged_recording_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    made = recorder()
    if damage == "format":
        monkeypatch.setattr(recorder_module, "FORMAT", "3")
    elif damage == "length":
        monkeypatch.setitem(recorder_module._CHANNELS, "/step", ("other", {}))
        made._steps[-1] = {"position": 0}
    folder = made.save(tmp_path / "recording")
    monkeypatch.undo()
    file = folder / "recording.mcap"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 3] ^= 0xFF
        file.write_bytes(content)
    elif damage == "empty":
        file.write_bytes(b"")
    with pytest.raises(EmbodiedError, match="recording"):
        load_recording(folder)


def test_any_reader_of_mcap_finds_the_images(tmp_path: Path) -> None:
    with (recorder().save(tmp_path / "recording") / "recording.mcap").open("rb") as stream:
        found = list(make_reader(stream).iter_messages(["/camera/rgb"]))
    assert {schema.name for schema, _, _ in found if schema} == {"foxglove.CompressedImage"}
    assert [message.log_time for _, _, message in found] == [0, 10**8, 2 * 10**8, 3 * 10**8]
    data = base64.b64decode(json.loads(found[0][2].data)["data"])
    assert data.startswith(b"\x89PNG")


def test_a_recording_of_version_0_1_is_named(tmp_path: Path) -> None:
    (tmp_path / "frames.npz").touch()
    with pytest.raises(EmbodiedError, match=r"of version 0\.1.*Record it again"):
        load_recording(tmp_path)


def test_a_folder_without_a_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbodiedError, match="no recording in"):
        load_recording(tmp_path)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return load_recording(recorder().save(tmp_path / "recording"))


def test_without_rerun_the_error_names_the_extra(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(MissingExtraError, match=r"embodied-stack\[viz\]"):
        rerun.show_recording(recording, tmp_path / "out.rrd")


def test_rerun_gets_images_depth_path_and_map(recording: Recording, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="extra 'viz' is not installed")
    file = tmp_path / "out.rrd"
    rerun.show_recording(recording, file)
    data = file.read_bytes()
    assert data[:4] == b"RRF2"
    for entity in (b"world/camera/rgb", b"world/camera/depth", b"world/path", b"map"):
        assert entity in data
