"""Read back what `robots.recorder` wrote: arrays by channel, and what is missing.

A recording is a folder: `episode.mcap` (https://mcap.dev/spec; JSON messages, so that any MCAP
viewer plots them) and one `<camera>.mp4` per camera. A recording that was cut, by a kill or a full
disk, is read up to the cut; damaged blocks are left out. `RecordedEpisode.lost` says so.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.extras import require_extra
from robots.errors import RobotError
from robots.limits import SafetyConfig
from robots.model import ArmModel
from robots.video import Image, count_images, read_images

MCAP = "episode.mcap"
PART = ".part"
ORIGIN, CLOSING = "origin", "closing"
GAP = "gap"
CAMERA = "camera/"
# JSON has no such numbers; a refused command may well hold them.
NOT_FINITE = ("nan", "inf", "-inf")
# A writer's blocks are far smaller; a damaged length must not ask for the whole memory.
LARGEST_BLOCK = 64 * 2**20
CUT = "the end: the file stops where more should follow"
# Length of the record that holds the checksum of all before it: type, length, checksum.
DATA_END = 1 + 8 + 4
# What the MCAP library lets through when the bytes make no sense, besides its own errors.
GARBAGE = (ValueError, TypeError, LookupError, ArithmeticError, MemoryError, struct.error, OSError)


class EpisodeError(RobotError):
    """A recording that cannot be written, read or exported."""


@dataclass(frozen=True)
class RecordingOrigin:
    """What a recording is of.

    Attributes:
        robot: name of this arm, e.g. "left-so101".
        model: name of its description in `robots/models`.
        joints: names of its J joints, the order of every joint array.
        limits: digest of the limits in force.
        notes: whatever else should be kept with it.
    """

    robot: str
    model: str
    joints: tuple[str, ...]
    limits: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def describe_arm(
        cls, robot: str, model: ArmModel, safety: SafetyConfig | None = None
    ) -> RecordingOrigin:
        """Describe an arm; equal digests mean equal joint limits and safety settings."""
        digest = hashlib.sha256(repr((model, safety)).encode()).hexdigest()[:16]
        return cls(robot, model.name, model.joint_names, digest if safety else "")


@dataclass(frozen=True)
class RecordedChannel:
    """The messages of one kind, oldest first.

    Attributes:
        stamps: (N,) monotonic clock of the recording computer [s].
        columns: by field: numbers as (N,) or (N, K) float64, NaN where absent; texts as (N,)
            strings, "" where absent; anything else, such as lists of changing length, as a tuple.
    """

    stamps: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any] | tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self.stamps)

    def get_array(self, name: str) -> NDArray[Any]:
        """Return a column of numbers or texts.

        Raises:
            EpisodeError: there is none, or its values differ in kind or length.
        """
        column = self.columns.get(name)
        if not isinstance(column, np.ndarray):
            known = sorted(k for k, v in self.columns.items() if isinstance(v, np.ndarray))
            what = "is missing" if column is None else "changes its shape"
            raise EpisodeError(f"the field '{name}' {what}; there are: {', '.join(known)}")
        return column


@dataclass(frozen=True)
class RecordedEpisode:
    """One recording.

    Attributes:
        folder: where it lies.
        origin: what it is of.
        metadata: versions and clocks of the recording; wall = stamp + `clock_offset`.
        channels: by kind: "state", "setpoint", "verdict", "event", "camera/<name>", "gap".
        cameras: names of the cameras with a readable video.
        lost: what is missing, in words; empty for a whole recording.
    """

    folder: Path
    origin: RecordingOrigin
    metadata: Mapping[str, str]
    channels: Mapping[str, RecordedChannel]
    cameras: tuple[str, ...]
    lost: tuple[str, ...]

    def __getitem__(self, kind: str) -> RecordedChannel:
        """Return a channel; one that was never written is empty."""
        return self.channels.get(kind) or RecordedChannel(np.empty(0), {})

    def find_cuts(self) -> NDArray[np.float64]:
        """Return when the arm was armed or records are missing [s]: what follows begins anew."""
        events = self["event"]
        begun = events.stamps[events.get_array("event") == "armed"] if len(events) else np.empty(0)
        return np.sort(np.concatenate([begun, self[GAP].stamps]))

    def find_journeys(self) -> list[slice]:
        """Return the rows of setpoints between cuts, each from the last before it moves."""
        setpoints = self["setpoint"]
        if not len(setpoints):
            return []
        positions = setpoints.get_array("positions")
        edges = np.unique([0, *np.searchsorted(setpoints.stamps, self.find_cuts()), len(setpoints)])
        found = []
        for start, end in itertools.pairwise(edges.tolist()):
            moved = (positions[start + 1 : end] != positions[start]).any(axis=1)
            if moved.any():
                found.append(slice(start + int(moved.argmax()), end))
        return found

    def decode_frames(self, camera: str) -> Iterator[tuple[float, Image]]:
        """Decode a camera's video: stamp [s] and (H, W, 3) RGB, leaving out what is damaged.

        Raises:
            RobotError: it cannot be decoded at all.
        """
        channel = self[CAMERA + camera]
        # Of a damaged recording the first messages may be gone, so each says where it lies.
        start = float(channel.stamps[0] - channel.get_array("seconds")[0]) if len(channel) else 0.0
        for seconds, image in read_images(self.folder / f"{camera}.mp4"):
            yield start + seconds, image


def read_episode(path: str | Path) -> RecordedEpisode:
    """Read a recording, whole or not.

    Args:
        path: its folder, finished or still `.part`, or the .mcap file in it.

    Raises:
        EpisodeError: there is none, or not even its beginning can be read.
        MissingExtraError: the package mcap is absent.
    """
    file = Path(path)
    file = file if file.suffix == ".mcap" else file / MCAP
    if not file.is_file():
        part = file.parent.with_name(file.parent.name + PART)
        hint = f"; it was not closed: read {part}" if (part / MCAP).is_file() else ""
        raise EpisodeError(f"there is no recording at {file}{hint}")
    metadata, rows, lost = _read(file)
    described = metadata.get(ORIGIN, {})
    try:
        origin = _origin(described)
    except (KeyError, ValueError, TypeError) as error:
        what = "; ".join(lost) or "it does not say of which robot it is"
        raise EpisodeError(f"{file} is no recording of ours, or cut or damaged: {what}") from error
    channels = {kind: _channel(messages) for kind, messages in rows.items()}
    cameras = []
    for kind in sorted(channels):
        if kind.startswith(CAMERA):
            name = kind.removeprefix(CAMERA)
            found, wanted = count_images(file.with_name(f"{name}.mp4")), len(channels[kind])
            if found < wanted:
                lost.append(f"{wanted - found} of {wanted} images of camera '{name}'")
                channels[kind] = _channel(rows[kind][:found])
            if found:
                cameras.append(name)
    dropped = sum(int(message["count"]) for message in rows.get(GAP, ()))
    if dropped:
        lost.append(f"{dropped} records that the disk was too slow for")
    unseen = int(metadata.get(CLOSING, {}).get("dropped_frames", 0))
    if unseen:
        lost.append(f"{unseen} images that the encoder was too slow for")
    return RecordedEpisode(file.parent, origin, described, channels, tuple(cameras), tuple(lost))


def _origin(metadata: Mapping[str, str]) -> RecordingOrigin:
    return RecordingOrigin(
        metadata["robot"],
        metadata["model"],
        tuple(json.loads(metadata["joints"])),
        metadata.get("limits", ""),
        json.loads(metadata.get("notes", "{}")),
    )


def _read(
    file: Path,
) -> tuple[dict[str, Mapping[str, str]], dict[str, list[dict[str, Any]]], list[str]]:
    """Return metadata by name, messages by kind, and what is missing."""
    with require_extra("Reading a recording"):
        from mcap.exceptions import EndOfFile, McapError, RecordLengthLimitExceeded
        from mcap.records import Channel as Topic
        from mcap.records import Chunk, DataEnd, Metadata
        from mcap.stream_reader import StreamReader
    metadata: dict[str, Mapping[str, str]] = {}
    topics: dict[int, str] = {}
    # By number, because the block that names the channels may be damaged; the end repeats them.
    numbered: dict[int, list[dict[str, Any]]] = {}
    lost, damaged = [], 0
    with file.open("rb") as stream:
        size = file.stat().st_size
        reader = StreamReader(stream, emit_chunks=True, record_size_limit=max(size, 1))
        try:
            for record in reader.records:
                if isinstance(record, Metadata):
                    metadata[record.name] = record.metadata
                elif isinstance(record, Topic):
                    topics[record.id] = record.topic.removeprefix("/")
                elif isinstance(record, Chunk):
                    try:
                        _unpack(record, topics, numbered)
                    except ValueError:
                        damaged += 1
                elif isinstance(record, DataEnd):
                    before = file.read_bytes()[: stream.tell() - DATA_END]
                    if record.data_section_crc not in (0, zlib.crc32(before)):
                        lost.append("certainty: the checksum of the file does not fit")
        except (EndOfFile, RecordLengthLimitExceeded):
            lost.append(CUT)
        except (McapError, *GARBAGE) as error:
            place = stream.tell()
            damage = f"what follows byte {place} of {size}, which is damaged: {error}"
            lost.append(damage if place < size else CUT)
    if damaged:
        lost.append(f"{damaged} damaged blocks of records")
    nameless = sum(len(messages) for number, messages in numbered.items() if number not in topics)
    if nameless:
        lost.append(f"{nameless} records of channels whose names are lost")
    rows = {topics[number]: found for number, found in numbered.items() if number in topics}
    return metadata, rows, lost


def _unpack(chunk: Any, topics: dict[int, str], numbered: dict[int, list[dict[str, Any]]]) -> None:
    """Add the channels and messages of a block.

    Raises:
        ValueError: it is damaged.
    """
    import zstandard
    from mcap.exceptions import McapError
    from mcap.records import Channel as Topic
    from mcap.records import Message
    from mcap.stream_reader import breakup_chunk

    if chunk.uncompressed_size > LARGEST_BLOCK:
        raise ValueError(f"a block of {chunk.uncompressed_size} bytes")
    try:
        records = breakup_chunk(chunk, validate_crc=True)
    except (McapError, zstandard.ZstdError, *GARBAGE) as error:
        raise ValueError(str(error)) from error
    for record in records:
        if isinstance(record, Topic):
            topics[record.id] = record.topic.removeprefix("/")
        elif isinstance(record, Message):
            numbered.setdefault(record.channel_id, []).append(json.loads(record.data))


def _channel(messages: list[dict[str, Any]]) -> RecordedChannel:
    names = dict.fromkeys(name for message in messages for name in message)
    columns = {name: _column([message.get(name) for message in messages]) for name in names}
    stamps = np.asarray(columns.pop("stamp", ()), np.float64)
    return RecordedChannel(stamps, columns)


def _column(values: list[Any]) -> NDArray[Any] | tuple[Any, ...]:
    given = [value for value in values if value is not None]
    if all(_number(value) for value in given):
        return np.array([np.nan if v is None else float(v) for v in values])
    if all(isinstance(value, str) for value in given):
        return np.array(["" if v is None else v for v in values])
    lists = all(isinstance(value, list) and all(map(_number, value)) for value in given)
    if not lists or len({len(value) for value in given}) != 1:
        return tuple(values)
    absent = [np.nan] * len(given[0])
    return np.array([absent if v is None else [float(x) for x in v] for v in values])


def _number(value: Any) -> bool:
    return isinstance(value, int | float) or value in NOT_FINITE
