"""Record what an agent saw and did as MCAP, for `embodied view` and any other reader of it.

One file `recording.mcap` (https://mcap.dev): the channels "/camera/rgb" and "/camera/depth" hold
Foxglove's CompressedImage as PNG, depth in millimetres of 16 bits; "/step" holds where the agent
was. Foxglove and `mcap` on the command line open it as it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from numpy.typing import ArrayLike, NDArray
from zstandard import ZstdError

from embodied.errors import EmbodiedError
from embodied.files import atomic_directory, recover_directory

FORMAT = "2"
FILE = "recording.mcap"
HEADER = "embodied.recording"
MILLIMETRES = 1000.0
STEP_SECONDS = 0.1
"""Steps have no clock: players show one every so many seconds."""

_TEXT, _NUMBERS = {"type": "string"}, {"type": "array", "items": {"type": "number"}}
_TIME = {"type": "object", "properties": {n: {"type": "integer"} for n in ("sec", "nsec")}}
_IMAGE = {
    "timestamp": _TIME,
    "frame_id": _TEXT,
    "data": {"type": "string", "contentEncoding": "base64"},
    "format": _TEXT,
}
_STEP = {"position": _NUMBERS, "yaw": {"type": "number"}, "camera": _NUMBERS, "note": _TEXT}
_CHANNELS = {
    "/camera/rgb": ("foxglove.CompressedImage", _IMAGE),
    "/camera/depth": ("foxglove.CompressedImage", _IMAGE),
    "/step": ("embodied.Step", _STEP),
}


@dataclass(frozen=True)
class Recording:
    """One or several episodes in a row.

    Attributes:
        rgb: (T, H, W, 3) uint8.
        depth: (T, H, W) float32 [m].
        position: (T, 3) feet [m], world frame.
        yaw: (T,) heading [rad].
        camera: (T, 4, 4) camera-to-world.
        hfov: horizontal field of view [deg].
        notes: (T,) what happened, "" for nothing.
        info: where and how it was recorded.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    position: NDArray[np.float32]
    yaw: NDArray[np.float32]
    camera: NDArray[np.float32]
    hfov: float
    notes: tuple[str, ...]
    info: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.yaw)


class RecordingWriter:
    """Collects steps and writes them as one folder; images wait compressed, as they are stored.

    Args:
        hfov: horizontal field of view of the camera [deg].
        info: what JSON can hold: scene, task, policy, seeds.
    """

    def __init__(self, hfov: float, info: Mapping[str, Any] | None = None) -> None:
        self.hfov = hfov
        self.info = dict(info or {})
        self._shape: tuple[int, ...] = ()
        self._images: dict[str, list[bytes]] = {"/camera/rgb": [], "/camera/depth": []}
        self._steps: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add_step(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.floating],
        position: ArrayLike,
        yaw: float,
        camera: ArrayLike,
        note: str = "",
    ) -> None:
        """Append one step; see `Recording` for shapes and frames. Depth is kept in millimetres.

        Raises:
            EmbodiedError: images of another size than those before.
        """
        shape = np.shape(depth)
        if np.shape(rgb) != (*shape, 3) or (self._steps and shape != self._shape):
            raise EmbodiedError(
                f"a recording's images must all be of one size: got rgb {np.shape(rgb)} and depth "
                f"{shape}" + (f" after {self._shape}" if self._steps else "")
            )
        self._shape = shape
        millimetres = np.clip(np.nan_to_num(depth) * MILLIMETRES, 0, 65535).round()
        self._images["/camera/rgb"].append(_to_png(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)))
        self._images["/camera/depth"].append(_to_png(millimetres.astype(np.uint16)))
        step = {
            "position": np.ravel(position),
            "yaw": np.float32(yaw),
            "camera": np.ravel(camera),
        }
        values = {name: np.asarray(value, np.float32).tolist() for name, value in step.items()}
        self._steps.append({**values, "note": note})

    def save(self, folder: str | Path) -> Path:
        """Write the recording, atomically, and return its folder.

        Raises:
            EmbodiedError: nothing was recorded.
            UnwritableError: the folder cannot be written to.
        """
        if not self._steps:
            raise EmbodiedError("nothing was recorded: add at least one step before saving")
        with atomic_directory(folder) as temporary, (temporary / FILE).open("wb") as stream:
            writer = Writer(stream, compression=CompressionType.ZSTD)
            writer.start(library="embodied")
            header = {"format": FORMAT, "hfov": str(self.hfov), "info": json.dumps(self.info)}
            writer.add_metadata(HEADER, header)
            channels = {name: _add_channel(writer, name) for name in _CHANNELS}
            for index, step in enumerate(self._steps):
                stamp = round(index * STEP_SECONDS * 1e9)
                seconds, nanoseconds = divmod(stamp, 10**9)
                for name, images in self._images.items():
                    message = {
                        "timestamp": {"sec": seconds, "nsec": nanoseconds},
                        "frame_id": "camera",
                        "data": base64.b64encode(images[index]).decode(),
                        "format": "png",
                    }
                    data = json.dumps(message).encode()
                    writer.add_message(channels[name], stamp, data, stamp, index)
                data = json.dumps(step).encode()
                writer.add_message(channels["/step"], stamp, data, stamp, index)
            writer.finish()
        return Path(folder)


def find_recording(path: str | Path) -> Path:
    """Return the recording in a folder: itself, or its `recording` sub-folder (a demo's output).

    Raises:
        EmbodiedError: there is none, or one that version 0.1 wrote.
    """
    for folder in (Path(path), Path(path) / "recording"):
        recover_directory(folder)
        if (folder / FILE).is_file():
            return folder
        if (folder / "frames.npz").is_file():
            raise EmbodiedError(
                f"the recording {folder} is of version 0.1, before recordings were MCAP. Record it "
                "again with: embodied demo"
            )
    raise EmbodiedError(
        f"no recording in {path}: expected {FILE} there or in its folder 'recording'. "
        "Make one with: embodied demo"
    )


def load_recording(path: str | Path) -> Recording:
    """Read a recording.

    Raises:
        EmbodiedError: missing, damaged or of an unknown format.
    """
    folder = find_recording(path)
    messages: dict[str, list[dict[str, Any]]] = {name: [] for name in _CHANNELS}
    header: Mapping[str, str] = {}
    try:
        with (folder / FILE).open("rb") as stream:
            reader = make_reader(stream, validate_crcs=True)
            for metadata in reader.iter_metadata():
                if metadata.name == HEADER:
                    header = metadata.metadata
            if header["format"] != FORMAT:
                raise EmbodiedError(
                    f"recording {folder} has format {header['format']}, this version reads {FORMAT}"
                )
            for _, channel, message in reader.iter_messages(list(_CHANNELS)):
                messages[channel.topic].append(json.loads(message.data))
        rgb, depth, steps = messages.values()
        recording = Recording(
            rgb=np.stack([_from_png(message)[..., ::-1] for message in rgb]),
            depth=np.stack([_from_png(m) / np.float32(MILLIMETRES) for m in depth]),
            position=np.array([step["position"] for step in steps], np.float32),
            yaw=np.array([step["yaw"] for step in steps], np.float32),
            camera=np.array([step["camera"] for step in steps], np.float32).reshape(-1, 4, 4),
            hfov=float(header["hfov"]),
            notes=tuple(step["note"] for step in steps),
            info=json.loads(header["info"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, McapError, ZstdError) as error:
        raise EmbodiedError(f"recording {folder} is damaged: {error}. Record it again.") from error
    lengths = {len(a) for a in (recording.rgb, recording.depth, recording.yaw, recording.notes)}
    if len(lengths) != 1:
        raise EmbodiedError(f"recording {folder} is damaged: its parts differ in length")
    return recording


def _add_channel(writer: Writer, topic: str) -> int:
    name, properties = _CHANNELS[topic]
    schema = json.dumps({"type": "object", "properties": properties}).encode()
    return writer.register_channel(
        topic, "json", writer.register_schema(name, "jsonschema", schema)
    )


def _to_png(image: NDArray[Any]) -> bytes:
    done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise EmbodiedError(f"cannot store an image of shape {image.shape}")
    return data.tobytes()


def _from_png(message: Mapping[str, Any]) -> NDArray[Any]:
    data = np.frombuffer(base64.b64decode(message["data"]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("an image cannot be decoded")
    return np.asarray(image)
