"""Record what the bridge does without ever keeping its loop waiting.

`record_message` and `record_frame` append to a ring and return; a thread of its own writes. When
the disk cannot follow, the OLDEST records in the ring give way: after a stall the newest ones,
which lead up to now, are what an inquiry needs, and a ring of that kind needs no lock, so that no
thread can keep the loop waiting. Every loss is counted, and noted in the file where it happened.

A recording grows in `<folder>.part` and becomes `<folder>` when it is closed. It is written in
blocks that are complete in themselves, so that a kill or a full disk costs half a second at most;
`robots.episode` reads such a folder too. A power cut can cost what the system had not yet put on
the disk.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import json
import math
import os
import platform
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np

from embodied.extras import require_extra
from robots.episode import CAMERA, CLOSING, GAP, MCAP, ORIGIN, PART, EpisodeError, RecordingOrigin
from robots.video import FRAGMENTS, TICKS, CameraVideoWriter, Image

Item = TypeVar("Item")

PAUSE = 0.02
BLOCK = 256 * 1024
# No clock since boot says more [s]; nanoseconds and ticks stay within 64 bits.
LATEST = 1e9
# Good enough to train on; one thread, since the arm's loop wants the others.
CODEC = {"preset": "superfast", "tune": "zerolatency", "crf": "20", "g": "30", "threads": "1"}

_NUMBERS = {"type": "array", "items": {"type": ["number", "string"]}}
_NUMBER = {"type": ["number", "string", "null"]}
_TEXT = {"type": "string"}
# What viewers are told of the messages; more fields may be there, and other kinds.
SCHEMAS: dict[str, dict[str, Any]] = {
    "state": {"positions": _NUMBERS, "velocities": _NUMBERS, "gripper": _NUMBER, "fault": _TEXT},
    "setpoint": {"positions": _NUMBERS, "velocities": _NUMBERS, "gripper": _NUMBER},
    "verdict": {"outcome": _TEXT, "reason": _TEXT, "asked": _NUMBERS},
    "event": {"event": _TEXT},
}


@dataclass(frozen=True)
class RecorderOptions:
    """How much may wait for the disk.

    Attributes:
        max_records: this many, about a minute of states, setpoints and verdicts at 100 Hz.
        max_frames: this many images, of all cameras together.
        flush_interval: a block is written at least this often [s].
        close_timeout: how long `close` waits for a disk that does not answer [s].
    """

    max_records: int = 20_000
    max_frames: int = 60
    flush_interval: float = 0.5
    close_timeout: float = 5.0

    def __post_init__(self) -> None:
        for name in ("max_records", "max_frames", "flush_interval", "close_timeout"):
            if not 0 < getattr(self, name) < math.inf:
                raise EpisodeError(f"recorder: {name} = {getattr(self, name)} must be above 0")


class _Ring(Generic[Item]):
    """Bounded; the oldest gives way. Any number of threads put, one takes; none ever waits.

    Putting, which numbers an item and appends it, is one step of the interpreter, and so is taking:
    numbers in the ring rise, and one is missing only where an item gave way.
    """

    def __init__(self, size: int) -> None:
        self._items: deque[tuple[Item, int]] = deque(maxlen=size)
        self._numbers = itertools.count()
        self._next = 0
        self.missed = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> None:
        # One call into C. In two steps another thread's item could come between them.
        self._items.extend(zip((item,), self._numbers, strict=False))

    def take(self) -> Item:
        """Return the oldest; raises IndexError when empty."""
        item, number = self._items.popleft()
        self.missed += number - self._next
        self._next = number + 1
        return item

    def lost(self, ended: bool) -> int:
        """Return how many gave way; after the end, also those that still wait."""
        try:
            upto = self._items[-1][1] + 1 if ended else self._items[0][1]
        except IndexError:
            return self.missed
        return self.missed + max(0, upto - self._next)


class Recorder:
    """Records one episode. As a context manager it is closed on exit.

    Args:
        folder: of the recording; must not exist.
        origin: what is recorded.
        options: how much may wait.

    Raises:
        EpisodeError: the folder exists, or cannot be written to.
        MissingExtraError: the package mcap is absent.
    """

    def __init__(
        self, folder: str | Path, origin: RecordingOrigin, options: RecorderOptions | None = None
    ) -> None:
        with require_extra("Recording"):
            from mcap.writer import Writer
        self.options = options or RecorderOptions()
        self._final = Path(folder)
        self._part = self._final.with_name(self._final.name + PART)
        for there in (self._final, self._part):
            if there.exists():
                raise EpisodeError(f"{there} exists; give the recording a name of its own")
        self._records: _Ring[tuple[str, float, dict[str, Any]]] = _Ring(self.options.max_records)
        self._frames: _Ring[tuple[str, float, Image]] = _Ring(self.options.max_frames)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._channels: dict[str, int] = {}
        self._films: dict[str, tuple[CameraVideoWriter, float]] = {}
        self._held: dict[str, tuple[float, int]] = {}
        self._counts: dict[str, int] = {}
        self._noted = 0
        self._problem = ""
        # Viewers want dates, the loop's clock has none.
        self._offset = time.time() - time.monotonic()
        try:
            self._part.mkdir(parents=True)
            self._file = (self._part / MCAP).open("wb")
            self._mcap = Writer(self._file, chunk_size=BLOCK, enable_data_crcs=True)
            self._mcap.start(library="embodied")
            self._mcap.add_metadata(ORIGIN, self._metadata(origin))
            self._mcap.flush()
        except OSError as error:
            raise EpisodeError(f"cannot record to {self._part}: {error}") from error
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The recording's folder: `.part` until it is closed."""
        return self._part if self._part.exists() else self._final

    @property
    def problem(self) -> str:
        """Why nothing is recorded any more; "" while all is well."""
        return self._problem

    @property
    def dropped_records(self) -> int:
        """Records lost so far: the disk was too slow, or recording has ended."""
        return self._records.lost(not self._thread.is_alive())

    @property
    def dropped_frames(self) -> int:
        """Images lost so far."""
        return self._frames.lost(not self._thread.is_alive())

    def record_message(self, kind: str, stamp: float, fields: Mapping[str, Any]) -> None:
        """Record one thing; returns at once, whatever the disk does.

        Args:
            kind: "state", "setpoint", "verdict", "event"; another makes a channel of its own.
            stamp: when, monotonic clock [s].
            fields: numbers, texts, lists and arrays. Arrays are copied; the rest must not be
                changed afterwards.
        """
        plain = {
            name: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
            for name, value in fields.items()
        }
        self._records.put((kind, stamp, plain))

    def record_frame(self, name: str, stamp: float, rgb: Image) -> None:
        """Record an image; it is copied, and encoded later.

        Args:
            name: of the camera: letters, digits, "_" and "-".
            stamp: when it was taken, monotonic clock [s].
            rgb: (H, W, 3) uint8, H and W even, the same for every image of a camera.

        Raises:
            EpisodeError: name, stamp or image are not of that kind.
        """
        shape = self._shapes.get(name)
        if shape is None:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise EpisodeError(f"camera name '{name}': only letters, digits, '_' and '-'")
            even = rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.shape[0] % 2 == rgb.shape[1] % 2 == 0
            shape = rgb.shape if even and rgb.size else ()
        if rgb.dtype != np.uint8 or rgb.shape != shape or not abs(stamp) < LATEST:
            raise EpisodeError(
                f"camera '{name}': an image of {rgb.dtype} {rgb.shape} at {stamp} s; allowed is "
                "uint8 (even height, even width, 3)" + (f", here always {shape}" if shape else "")
            )
        self._shapes[name] = shape
        self._frames.put((name, stamp, rgb.copy()))

    def close(self) -> Path:
        """Write what waits, finish the files and give the folder its name. Safe to call twice.

        Never raises: a recording that could not be finished stays `.part`, and `problem` says why.

        Returns:
            The recording's folder.
        """
        self._ending.set()
        self._thread.join(self.options.close_timeout)
        if self._thread.is_alive() and not self._problem:
            self._problem = (
                f"the disk did not take the recording within {self.options.close_timeout} s; "
                f"what it "
                f"has is in {self._part}"
            )
        return self.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            due = time.monotonic() + self.options.flush_interval
            done = False
            while not done:
                done = self._ending.wait(0 if self._frames else PAUSE)
                self._write_records()
                self._write_frames(len(self._frames) if done else 1)
                if time.monotonic() >= due:
                    self._mcap.flush()
                    due = time.monotonic() + self.options.flush_interval
            self._finish()
        except Exception as error:  # the arm goes on, whatever befell its recording
            self._problem = f"recording stopped, {self._part} holds what came before: {error}"
            with contextlib.suppress(OSError):
                self._file.close()

    def _write_records(self) -> None:
        gap: float | None = None
        for _ in range(len(self._records)):
            before = self._records.missed
            kind, stamp, fields = self._records.take()
            if gap is None and self._records.missed > before:
                gap = stamp
            self._write(kind, stamp, fields)
        missed = self._records.missed - self._noted
        if gap is not None and missed > 0:
            self._write(GAP, gap, {"count": missed})
            self._noted += missed

    def _write_frames(self, count: int) -> None:
        for _ in range(min(count, len(self._frames))):
            name, stamp, image = self._frames.take()
            if name not in self._films:
                file, (height, width) = self._part / f"{name}.mp4", image.shape[:2]
                made = CameraVideoWriter(
                    file, height, width, Fraction(1, TICKS), 30, CODEC, FRAGMENTS
                )
                self._films[name] = made, stamp
            film, start = self._films[name]
            tick = film.add_image(image, round((stamp - start) * TICKS))
            # The muxer keeps one image back: a kill must not leave a row without its image.
            self._write_held(name)
            self._held[name] = stamp, tick

    def _write_held(self, name: str) -> None:
        if name in self._held:
            stamp, tick = self._held.pop(name)
            self._write(CAMERA + name, stamp, {"seconds": tick / TICKS})

    def _write(self, kind: str, stamp: float, fields: Mapping[str, Any]) -> None:
        if kind not in self._channels:
            properties = {"stamp": {"type": "number"}, **SCHEMAS.get(kind, {})}
            schema = {"type": "object", "properties": properties}
            name = f"embodied.{kind}"
            made = self._mcap.register_schema(name, "jsonschema", json.dumps(schema).encode())
            self._channels[kind] = self._mcap.register_channel(f"/{kind}", "json", made)
        moment = stamp if abs(stamp) < LATEST else time.monotonic()
        wall = max(0, round((moment + self._offset) * 1e9))
        count = self._counts[kind] = self._counts.get(kind, -1) + 1
        data = _encode({**fields, "stamp": stamp})
        self._mcap.add_message(self._channels[kind], wall, data, wall, count)

    def _finish(self) -> None:
        for name, (film, _) in self._films.items():
            film.close()
            self._write_held(name)
        counts = {kind: count + 1 for kind, count in self._counts.items()}
        closing = {"dropped": self._records.missed, "dropped_frames": self._frames.missed, **counts}
        self._mcap.add_metadata(CLOSING, {name: str(value) for name, value in closing.items()})
        self._mcap.finish()
        self._file.close()
        for file in self._part.iterdir():
            if file.is_file():
                _sync(file)
        _sync(self._part)
        self._part.rename(self._final)
        _sync(self._final.parent)

    def _metadata(self, origin: RecordingOrigin) -> dict[str, str]:
        packages = ("embodied-stack", "mcap", "numpy", "av")
        versions = {name: _version(name) for name in packages}
        return {
            "robot": origin.robot,
            "model": origin.model,
            "joints": json.dumps(origin.joints),
            "limits": origin.limits,
            "notes": json.dumps(dict(origin.notes)),
            "versions": json.dumps({**versions, "python": platform.python_version()}),
            "clock_offset": repr(self._offset),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "unknown"


def _encode(fields: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(fields, allow_nan=False, default=str)
    except (TypeError, ValueError):  # not a number, or a key that is not text
        text = json.dumps(_speakable(fields), allow_nan=False, default=str)
    return text.encode()


def _speakable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _speakable(item) for key, item in value.items()}
    return [_speakable(item) for item in value] if isinstance(value, list | tuple) else value


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
