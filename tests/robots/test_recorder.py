"""The recorder under a disk that is stuck, full or gone, and under kill -9; nothing is mocked."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mcap", reason="recording needs mcap")

from mcap.reader import make_reader

from robots.episode import CAMERA, GAP, EpisodeError, RecordingOrigin, read_episode
from robots.recorder import Recorder, RecorderOptions, _Ring
from tests.robots.recordings import ORIGIN

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
# The thread that writes does so about every 20 ms; `put` takes 10 us. A wait would be seen.
AT_ONCE = 0.5


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        time.sleep(0.005)


def image(shade: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.full((*size, 3), shade, np.uint8)


def put_counting(recorder: Recorder, first: int, count: int) -> float:
    """Put numbered states; return how long the slowest took [s]."""
    slowest = 0.0
    for number in range(first, first + count):
        begin = time.monotonic()
        recorder.record_message("state", begin, {"positions": np.full(6, number), "number": number})
        slowest = max(slowest, time.monotonic() - begin)
    return slowest


class StuckDisk:
    """A pipe in the place of a camera's file: who writes to it waits until it is let go."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.pipe = recorder.path / "wrist.mp4"
        os.mkfifo(self.pipe)
        recorder.record_frame("wrist", time.monotonic(), image())

    def let_go(self) -> None:
        """Swallow what is written; the pipe leaves the folder, where nothing can wait for it."""
        descriptor = os.open(self.pipe, os.O_RDONLY)
        self.pipe.unlink()
        threading.Thread(target=self._swallow, args=(descriptor,), daemon=True).start()

    def _swallow(self, descriptor: int) -> None:
        while os.read(descriptor, 65536):
            pass
        os.close(descriptor)


def test_a_stuck_disk_never_keeps_the_loop_waiting(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", ORIGIN, RecorderOptions(max_records=1000)) as recorder:
        disk = StuckDisk(recorder)
        slowest, total = 0.0, 0
        deadline = time.monotonic() + PATIENCE
        while recorder.dropped_records < 3000:
            assert time.monotonic() < deadline
            slowest = max(slowest, put_counting(recorder, total, 500))
            total += 500
        assert slowest < AT_ONCE
        assert recorder.problem == ""
        disk.let_go()
        wait_for(lambda: recorder.path.joinpath("episode.mcap").stat().st_size > 5000, "the disk")
    episode = read_episode(tmp_path / "run")
    kept = episode["state"].get_array("number")
    lost = int(episode[GAP].get_array("count").sum())
    assert lost == recorder.dropped_records >= 3000
    assert len(kept) + lost == total
    # The oldest gave way: what came last is there, without a hole.
    assert np.array_equal(kept[-1000:], np.arange(total - 1000, total))
    assert any(f"{lost} records" in what for what in episode.lost)


def test_closing_on_a_stuck_disk_gives_up(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run", ORIGIN, RecorderOptions(close_timeout=0.3))
    disk = StuckDisk(recorder)
    begin = time.monotonic()
    assert recorder.close() == tmp_path / "run.part"
    assert time.monotonic() - begin < 0.3 + 10 * AT_ONCE
    assert "did not take the recording within 0.3 s" in recorder.problem
    disk.let_go()
    wait_for((tmp_path / "run").exists, "the recording to be finished after all")


FULL = """
import sys, time, numpy as np
from robots.episode import RecordingOrigin
from robots.recorder import Recorder
films = sys.argv[2] == "films"
recorder = Recorder(sys.argv[1], RecordingOrigin("r", "m", ("a",)))
rng = np.random.default_rng(0)
number, deadline, after = 0, time.monotonic() + 20, 0
while after < 500 and time.monotonic() < deadline:
    numbers = rng.random(50).tolist()
    recorder.record_message("state", time.monotonic(), {"positions": numbers, "number": number})
    if films and number % 10 == 0:
        frame = rng.integers(0, 255, (64, 64, 3), np.uint8)
        recorder.record_frame("wrist", time.monotonic(), frame)
    number += 1
    after += bool(recorder.problem)
    time.sleep(0.0005)
path = recorder.close()
print(path, number, recorder.dropped_records, recorder.problem, sep="|")
"""


def run_until_full(folder: Path, what: str, limit: int | None) -> list[str]:
    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder), what],
        cwd=ROOT, capture_output=True, text=True, timeout=60, preexec_fn=restrict, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("|")


def check_full(answer: list[str], reason: str) -> None:
    path, put, dropped, problem = answer
    assert reason in problem
    assert path.endswith("run.part")
    episode = read_episode(path)
    numbers = episode["state"].get_array("number")
    assert len(numbers) > 50
    assert np.array_equal(numbers, np.arange(len(numbers)))
    assert 500 <= int(dropped) < int(put)
    assert any("the end" in what for what in episode.lost)


@pytest.mark.parametrize("what", ["records", "films"])
def test_a_file_that_may_not_grow_stops_the_recording_only(tmp_path: Path, what: str) -> None:
    check_full(run_until_full(tmp_path / "run", what, 300_000), "File too large")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("what", ["records", "films"])
def test_a_full_disk_stops_the_recording_only(small_disk: Path, what: str) -> None:
    check_full(run_until_full(small_disk / "run", what, None), "No space left on device")


ENDLESS = """
import sys, time, numpy as np
from robots.episode import RecordingOrigin
from robots.recorder import Recorder
recorder = Recorder(sys.argv[1], RecordingOrigin("r", "m", ("a",)))
number = 0
while True:
    numbers = {"positions": [number / 7], "number": number}
    recorder.record_message("state", time.monotonic(), numbers)
    if number % 4 == 0:
        frame = np.full((64, 64, 3), number % 256, np.uint8)
        recorder.record_frame("wrist", time.monotonic(), frame)
    number += 1
    time.sleep(0.002)
"""


def test_what_kill_9_leaves_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(folder)], cwd=ROOT)
    try:
        part = tmp_path / "run.part" / "episode.mcap"
        wait_for(lambda: part.exists() and part.stat().st_size > 20_000, "the recording")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(EpisodeError, match=r"not closed: read .*run\.part"):
        read_episode(folder)
    episode = read_episode(tmp_path / "run.part")
    numbers = episode["state"].get_array("number")
    assert len(numbers) > 100
    assert np.array_equal(numbers, np.arange(len(numbers)))
    assert episode.lost == ("the end: the file stops where more should follow",)
    assert episode.cameras == ("wrist",)
    images = list(episode.decode_frames("wrist"))
    assert len(images) >= len(episode[CAMERA + "wrist"]) > 20
    for number, (_, seen) in enumerate(images):
        assert abs(seen.mean() - 4 * number % 256) < 4


def test_images_give_way_when_the_encoder_cannot_follow(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", ORIGIN, RecorderOptions(max_frames=4)) as recorder:
        for number in range(100):
            recorder.record_frame("wrist", number / 30, image(number, (480, 640)))
    episode = read_episode(tmp_path / "run")
    kept = episode[CAMERA + "wrist"].stamps * 30
    assert recorder.dropped_frames > 0
    assert len(kept) + recorder.dropped_frames == 100
    assert np.allclose(kept[-4:], [96, 97, 98, 99])
    assert any(f"{recorder.dropped_frames} images" in what for what in episode.lost)
    for stamp, seen in episode.decode_frames("wrist"):
        assert abs(seen.mean() - stamp * 30) < 3


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    each = 3000
    with Recorder(tmp_path / "run", ORIGIN) as recorder:
        threads = [
            threading.Thread(target=put_counting, args=(recorder, k * each, each)) for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    episode = read_episode(tmp_path / "run")
    assert recorder.dropped_records == 0
    assert episode.lost == ()
    assert sorted(episode["state"].get_array("number")) == list(range(4 * each))


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can, so that they meet between any two steps."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_a_ring_that_is_not_full_misses_nothing_even_for_a_moment() -> None:
    each, ring = 100_000, _Ring[int](400_000)

    def put() -> None:
        for number in range(each):
            ring.put(number)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken, missed = 0, 0
    while taken < 4 * each and (ring or any(thread.is_alive() for thread in threads)):
        if ring:
            ring.take()
            taken += 1
            missed = max(missed, ring.missed)
    assert (taken, missed) == (4 * each, 0)


def test_the_recording_gets_its_name_when_it_is_closed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run", ORIGIN)
    assert recorder.path == tmp_path / "run.part"
    assert not (tmp_path / "run").exists()
    assert recorder.close() == recorder.close() == recorder.path == tmp_path / "run"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
    recorder.record_message("event", 0.0, {"event": "too late"})
    assert (recorder.dropped_records, recorder.problem) == (1, "")


@pytest.mark.parametrize("name", ["run", "run.part"])
def test_an_earlier_recording_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(EpisodeError, match="exists; give the recording a name"):
        Recorder(tmp_path / "run", ORIGIN)


def test_a_place_that_cannot_be_written_to_is_noticed_before_the_arm_moves(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EpisodeError, match="cannot record to"):
        Recorder(tmp_path / "file" / "run", ORIGIN)


def test_arrays_may_be_reused_after_putting_them(tmp_path: Path) -> None:
    positions, picture = np.zeros(6), image(40)
    with Recorder(tmp_path / "run", ORIGIN) as recorder:
        recorder.record_message("state", 0.0, {"positions": positions})
        recorder.record_frame("wrist", 0.0, picture)
        positions += 1
        picture += 100
    episode = read_episode(tmp_path / "run")
    assert not episode["state"].get_array("positions").any()
    assert abs(next(episode.decode_frames("wrist"))[1].mean() - 40) < 3


def test_whatever_is_put_the_recording_goes_on(tmp_path: Path) -> None:
    strange = {"asked": [float("nan"), float("inf"), 1.0], ("a", 1): {2, 3}, "thing": object()}
    with Recorder(tmp_path / "run", ORIGIN) as recorder:
        recorder.record_message("verdict", float("nan"), strange)
        recorder.record_message("verdict", 1e300, {"asked": [1.0, 2.0, 3.0]})
        recorder.record_message("of its own", -1e30, {"deep": {"x": [float("-inf")]}})
        recorder.record_message("state", 5.0, {"number": np.int32(7), "gripper": np.float32(0.5)})
    assert recorder.problem == ""
    episode = read_episode(tmp_path / "run")
    asked = episode["verdict"].get_array("asked")
    assert np.isnan(asked[0, 0])
    assert asked[0, 1:].tolist() == [np.inf, 1.0]
    assert episode["of its own"].columns["deep"] == ({"x": ["-inf"]},)
    assert episode["state"].get_array("number").tolist() == [7.0]


@pytest.mark.parametrize(
    ("name", "picture", "message"),
    [
        ("wrist", np.zeros((48, 64), np.uint8), "allowed is uint8"),
        ("wrist", np.zeros((48, 64, 4), np.uint8), "allowed is uint8"),
        ("wrist", np.zeros((48, 64, 3), np.float32), "allowed is uint8"),
        ("front", np.zeros((48, 64, 3), np.float32), "allowed is uint8"),
        ("wrist", np.zeros((47, 64, 3), np.uint8), "even height"),
        ("wrist", np.zeros((0, 64, 3), np.uint8), "allowed is uint8"),
        ("../wrist", np.zeros((48, 64, 3), np.uint8), "only letters"),
        ("front", np.zeros((32, 64, 3), np.uint8), r"here always \(48, 64, 3\)"),
    ],
)
def test_unusable_images_are_refused(
    tmp_path: Path, name: str, picture: np.ndarray, message: str
) -> None:
    with Recorder(tmp_path / "run", ORIGIN) as recorder:
        recorder.record_frame("front", 0.0, image())
        with pytest.raises(EpisodeError, match=message):
            recorder.record_frame(name, 0.0, picture)
        with pytest.raises(EpisodeError, match="at nan s"):
            recorder.record_frame("front", float("nan"), image())
    assert read_episode(tmp_path / "run").cameras == ("front",)


def test_any_mcap_viewer_can_read_it(tmp_path: Path) -> None:
    before = time.time()
    with Recorder(tmp_path / "run", ORIGIN) as recorder:
        recorder.record_message(
            "verdict", time.monotonic(), {"outcome": "refused", "reason": "not finite"}
        )
    with (tmp_path / "run" / "episode.mcap").open("rb") as stream:
        ((schema, channel, message),) = make_reader(stream, validate_crcs=True).iter_messages()
    assert schema is not None
    assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
    assert channel.topic == "/verdict"
    assert json.loads(message.data)["reason"] == "not finite"
    assert before - 0.1 <= message.log_time / 1e9 <= time.time() + 0.1


@pytest.mark.parametrize("field", ["max_records", "max_frames", "flush_interval", "close_timeout"])
def test_options_are_checked(field: str) -> None:
    with pytest.raises(EpisodeError, match=f"{field} = 0 must be above 0"):
        RecorderOptions(**{field: 0})


def test_metadata_tells_what_was_recorded(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run", RecordingOrigin("left", "fr3", ("a", "b"), "12ab", {"n": "1"})):
        pass
    episode = read_episode(tmp_path / "run")
    assert episode.origin == RecordingOrigin("left", "fr3", ("a", "b"), "12ab", {"n": "1"})
    assert {"embodied-stack", "mcap", "numpy", "python"} <= json.loads(
        episode.metadata["versions"]
    ).keys()
