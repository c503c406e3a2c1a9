"""Reading recordings: whole, cut anywhere, damaged anywhere, or not recordings at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mcap", reason="recording needs mcap")

from robots.episode import CAMERA, EpisodeError, RecordedEpisode, RecordingOrigin, read_episode
from robots.errors import RobotError
from robots.limits import SafetyConfig
from robots.model import load_model
from robots.recorder import Recorder
from tests.robots.recordings import ORIGIN, RATE, START, number_of, opening, path, record

SECONDS = 3.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RecordedEpisode:
    return record(tmp_path_factory.mktemp("episodes") / "run", SECONDS)


@pytest.fixture
def copy(whole: RecordedEpisode, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole.folder, tmp_path / "copy"))


def test_what_was_put_comes_back(whole: RecordedEpisode) -> None:
    times = np.arange(round(SECONDS * RATE) + 1) / RATE
    state, setpoint = whole["state"], whole["setpoint"]
    assert whole.lost == ()
    assert whole.origin == ORIGIN
    assert np.array_equal(state.stamps, START + times)
    assert np.array_equal(state.get_array("positions"), path(times))
    assert np.isnan(state.get_array("efforts")).all()
    assert np.allclose(state.get_array("gripper"), opening(times))
    assert set(state.get_array("fault")) == {""}
    told = setpoint.get_array("gripper")
    assert np.isfinite(told[::5]).all()
    assert np.isnan(told[1::5]).all()


def test_images_come_back_with_their_times(whole: RecordedEpisode) -> None:
    images = list(whole.decode_frames("wrist"))
    assert [number_of(image) for _, image in images] == list(range(91))
    assert np.allclose([stamp for stamp, _ in images], whole[CAMERA + "wrist"].stamps, atol=1e-4)


def test_a_channel_that_was_never_written_is_empty(whole: RecordedEpisode) -> None:
    assert len(whole["verdict"]) == 0
    with pytest.raises(EpisodeError, match="'reason' is missing"):
        whole["verdict"].get_array("reason")


def test_fields_of_changing_shape_are_kept_as_they_are(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", ORIGIN) as recorder:
        for asked in ([], [1.0, 2.0], "text", None):
            recorder.record_message("verdict", 0.0, {"asked": asked, "reason": "x"})
        recorder.record_message("verdict", 0.0, {"reason": "y"})
    verdicts = read_episode(tmp_path / "run")["verdict"]
    assert verdicts.columns["asked"] == ([], [1.0, 2.0], "text", None, None)
    with pytest.raises(EpisodeError, match="changes its shape; there are: reason"):
        verdicts.get_array("asked")


def is_beginning(part: RecordedEpisode, whole: RecordedEpisode) -> bool:
    return all(
        np.array_equal(channel.stamps, whole[kind].stamps[: len(channel)])
        for kind, channel in part.channels.items()
    )


def test_a_file_cut_anywhere_is_read_up_to_the_cut(whole: RecordedEpisode, copy: Path) -> None:
    file = copy / "episode.mcap"
    data = file.read_bytes()
    rng = np.random.default_rng(0)
    counts = []
    for size in [*range(0, 900, 30), *sorted(rng.integers(900, len(data), 50))]:
        file.write_bytes(data[:size])
        try:
            part = read_episode(copy)
        except EpisodeError:
            assert size < 900  # not even the description of the robot is whole
            continue
        assert any("the file stops" in what for what in part.lost), (size, part.lost)
        assert is_beginning(part, whole), size
        counts.append(len(part["state"]))
    assert counts == sorted(counts)
    assert counts[-1] == len(whole["state"])


def test_a_damaged_byte_never_passes_for_data(whole: RecordedEpisode, copy: Path) -> None:
    file = copy / "episode.mcap"
    data = file.read_bytes()
    rng = np.random.default_rng(1)
    for place in [*range(0, 900, 30), *rng.integers(900, len(data), 50)]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        try:
            part = read_episode(copy)
        except EpisodeError:
            continue
        if not part.lost:
            assert is_beginning(part, whole), place
            assert np.array_equal(
                part["state"].get_array("positions"), whole["state"].get_array("positions")
            )


def test_blocks_after_a_damaged_one_are_still_read(whole: RecordedEpisode, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", ORIGIN) as recorder:
        rng = np.random.default_rng(0)
        for number in range(4000):
            recorder.record_message("state", number, {"positions": rng.random(6), "number": number})
    file = tmp_path / "run" / "episode.mcap"
    data = bytearray(file.read_bytes())
    data[20_000] ^= 1  # in the first block, which names the channels
    file.write_bytes(data)
    part = read_episode(file)
    numbers = part["state"].get_array("number")
    assert "1 damaged blocks of records" in part.lost
    assert 100 < len(numbers) < 4000
    assert numbers[-1] == 3999


def test_a_cut_video_gives_the_images_before_the_cut(whole: RecordedEpisode, copy: Path) -> None:
    file = copy / "wrist.mp4"
    data = file.read_bytes()
    rng = np.random.default_rng(2)
    counts = []
    for size in [0, 10, *sorted(rng.integers(1000, len(data) // 2, 15))]:
        file.write_bytes(data[:size])
        part = read_episode(copy)
        images = list(part.decode_frames("wrist")) if part.cameras else []
        assert [number_of(image) for _, image in images] == list(range(len(images))), size
        assert len(images) == len(part[CAMERA + "wrist"])
        assert any(f"{91 - len(images)} of 91 images" in what for what in part.lost)
        counts.append(len(images))
    assert counts == sorted(counts)
    assert counts[-1] > 10


def test_a_lost_video_leaves_the_rest(copy: Path) -> None:
    (copy / "wrist.mp4").unlink()
    episode = read_episode(copy)
    assert episode.cameras == ()
    assert len(episode["state"]) == 301
    assert "91 of 91 images of camera 'wrist'" in episode.lost
    with pytest.raises(RobotError, match="cannot decode the video"):
        list(episode.decode_frames("wrist"))


def test_what_is_no_recording_says_so(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="there is no recording at"):
        read_episode(tmp_path)
    for content in (b"", b"hello", bytes(10_000), np.random.default_rng(3).bytes(10_000)):
        (tmp_path / "episode.mcap").write_bytes(content)
        with pytest.raises(EpisodeError, match="no recording of ours"):
            read_episode(tmp_path)


def test_a_foreign_mcap_file_says_so(tmp_path: Path) -> None:
    from mcap.writer import Writer

    file = tmp_path / "foreign.mcap"
    with file.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        writer.finish()
    with pytest.raises(EpisodeError, match="does not say of which robot"):
        read_episode(file)


def test_equal_limits_have_equal_digests(safety: SafetyConfig) -> None:
    fr3 = load_model("fr3")
    first = RecordingOrigin.describe_arm("left", fr3, safety)
    assert first == RecordingOrigin.describe_arm("left", load_model("fr3"), replace(safety))
    assert first.joints == fr3.joint_names
    assert (
        first.limits != RecordingOrigin.describe_arm("left", fr3, replace(safety, share=0.3)).limits
    )
    assert first.limits != RecordingOrigin.describe_arm("left", load_model("panda"), safety).limits
