"""Record what an agent saw and did as plain arrays and JSON, for `embodied view`."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embodied.errors import EmbodiedError
from embodied.files import atomic_directory, recover_directory

FORMAT = 1
ARRAYS = "frames.npz"
HEADER = "recording.json"
MILLIMETRES = 1000.0
IMAGES = {"rgb": "|u1", "depth": "<u2"}
"""Stored images and the type of their values."""


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
    """Collects steps and writes them as one folder; images wait compressed, about a fifth in size.

    Args:
        hfov: horizontal field of view of the camera [deg].
        info: what JSON can hold: scene, task, policy, seeds.
    """

    def __init__(self, hfov: float, info: Mapping[str, Any] | None = None) -> None:
        self.hfov = hfov
        self.info = dict(info or {})
        self._images: dict[str, list[bytes]] = {"rgb": [], "depth": []}
        self._shape: tuple[int, ...] = ()
        self._rows: dict[str, list[NDArray[Any]]] = {"position": [], "yaw": [], "camera": []}
        self._notes: list[str] = []

    def __len__(self) -> int:
        return len(self._notes)

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
        if np.shape(rgb) != (*shape, 3) or (self._notes and shape != self._shape):
            raise EmbodiedError(
                f"a recording's images must all be of one size: got rgb {np.shape(rgb)} and depth "
                f"{shape}" + (f" after {self._shape}" if self._notes else "")
            )
        self._shape = shape
        millimetres = np.clip(np.nan_to_num(depth) * MILLIMETRES, 0, 65535).round()
        for key, image in (("rgb", rgb), ("depth", millimetres)):
            self._images[key].append(zlib.compress(image.astype(IMAGES[key]).tobytes(), 1))
        for key, value in (("position", position), ("yaw", yaw), ("camera", camera)):
            self._rows[key].append(np.array(value, np.float32))
        self._notes.append(note)

    def save(self, folder: str | Path) -> Path:
        """Write the recording, atomically, and return its folder.

        Raises:
            EmbodiedError: nothing was recorded.
            UnwritableError: the folder cannot be written to.
        """
        if not self._notes:
            raise EmbodiedError("nothing was recorded: add at least one step before saving")
        header = {"format": FORMAT, "hfov": self.hfov, "notes": self._notes, "info": self.info}
        with atomic_directory(folder) as temporary:
            self._write(temporary / ARRAYS)
            (temporary / HEADER).write_text(json.dumps(header, indent=1), encoding="utf-8")
        return Path(folder)

    def _write(self, file: Path) -> None:
        """Write what `np.savez_compressed` would, but image by image."""
        count = len(self._notes)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for key, images in self._images.items():
                shape = (count, *self._shape, 3) if key == "rgb" else (count, *self._shape)
                header = {"descr": IMAGES[key], "fortran_order": False, "shape": shape}
                with archive.open(f"{key}.npy", "w", force_zip64=True) as part:
                    np.lib.format.write_array_header_1_0(part, header)
                    for image in images:
                        part.write(zlib.decompress(image))
            for key, rows in self._rows.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as part:
                    np.lib.format.write_array(part, np.stack(rows), allow_pickle=False)


def find_recording(path: str | Path) -> Path:
    """Return the recording in a folder: itself, or its `recording` sub-folder (a demo's output).

    Raises:
        EmbodiedError: there is none.
    """
    for folder in (Path(path), Path(path) / "recording"):
        recover_directory(folder)
        if (folder / HEADER).is_file():
            return folder
    raise EmbodiedError(
        f"no recording in {path}: expected {HEADER} there or in its folder 'recording'. "
        "Make one with: embodied demo"
    )


def load_recording(path: str | Path) -> Recording:
    """Read a recording.

    Raises:
        EmbodiedError: missing, damaged or of an unknown format.
    """
    folder = find_recording(path)
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        if header["format"] != FORMAT:
            raise EmbodiedError(
                f"recording {folder} has format {header['format']}, this version reads {FORMAT}"
            )
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            recording = Recording(
                rgb=arrays["rgb"],
                depth=(arrays["depth"] / MILLIMETRES).astype(np.float32),
                position=arrays["position"],
                yaw=arrays["yaw"],
                camera=arrays["camera"],
                hfov=float(header["hfov"]),
                notes=tuple(header["notes"]),
                info=header["info"],
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise EmbodiedError(f"recording {folder} is damaged: {error}. Record it again.") from error
    lengths = {len(a) for a in (recording.rgb, recording.depth, recording.yaw, recording.notes)}
    if len(lengths) != 1:
        raise EmbodiedError(f"recording {folder} is damaged: its parts differ in length")
    return recording
