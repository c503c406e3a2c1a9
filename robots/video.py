"""Camera images as MP4: the one place of this package that knows PyAV."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from robots.errors import RobotError

Image = NDArray[np.uint8]

# Ticks a second of a film with a clock of its own: that of RTP and MPEG, finer than any camera's.
TICKS = 90_000
# Every image in a fragment of its own, none that refers to a later one: a cut costs no other image.
FRAGMENTS = {"movflags": "frag_every_frame+empty_moov+default_base_moof", "flush_packets": "1"}


class CameraVideoWriter:
    """Writes H.264 in MP4, image by image.

    Args:
        file: to write.
        height: of the images, even.
        width: likewise.
        time_base: length of a tick [s].
        rate: images per second that a player is told of.
        codec: options of the encoder.
        container: options of the file format.

    Raises:
        OSError: it cannot be written; from every method.
    """

    def __init__(
        self,
        file: Path,
        height: int,
        width: int,
        time_base: Fraction,
        rate: int,
        codec: Mapping[str, str],
        container: Mapping[str, str],
    ) -> None:
        import av

        # Given a path, PyAV would hold the interpreter's lock while a stuck disk lets it wait, and
        # with it every thread of the process. Python's own files do not.
        self._file = file.open("wb", buffering=0)
        self._container = av.open(self._file, "w", format="mp4", options=dict(container))
        stream: Any = self._container.add_stream("libx264", rate=rate, options=dict(codec))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = time_base
        self._stream, self._time_base, self._last = stream, time_base, -1

    def add_image(self, image: Image, tick: int) -> int:
        """Append an image (H, W, 3) shown from a tick on; return that tick.

        An image that is not later than the one before is moved up.
        """
        import av

        self._last = max(tick, self._last + 1)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = self._last, self._time_base
        self._container.mux(self._stream.encode(frame))
        return self._last

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        self._container.mux(self._stream.encode())
        self._container.close()
        self._file.close()


def count_images(file: Path) -> int:
    """Return how many whole images a video holds; 0 if it is missing or cut in its beginning."""
    try:
        return sum(1 for packet in _packets(file) if packet.size)
    except RobotError:
        return 0


def read_images(file: Path) -> Iterator[tuple[float, Image]]:
    """Decode a video: seconds since its start and (H, W, 3) RGB, leaving out what is damaged.

    Raises:
        RobotError: it is no video that can be decoded.
    """
    import av

    for packet in _packets(file):
        frames: list[Any] = []
        with contextlib.suppress(av.InvalidDataError):
            frames = packet.decode()
        for frame in frames:
            yield float(frame.time), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _packets(file: Path) -> Iterator[Any]:
    """Read the packets of a video, up to where it is cut; an empty one, if any, ends them.

    The empty packet makes the decoder give out the images it held back for their order.
    """
    import av

    try:
        container = av.open(_whole_part(file), "r")
        stream = container.streams.video[0]
    except (OSError, IndexError, av.FFmpegError) as error:
        raise RobotError(f"cannot decode the video {file}: {error}") from error
    with container, contextlib.suppress(av.FFmpegError):
        yield from container.demux(stream)


def _whole_part(file: Path) -> BinaryIO:
    """Open a video without the fragment in which it was cut: FFmpeg would refuse the whole file.

    An MP4 file is a row of boxes, each with its size and type before it (ISO/IEC 14496-12, 4.2); a
    fragment is a box "moof" followed by its images, "mdat".
    """
    size, place, end = file.stat().st_size, 0, 0
    with file.open("rb") as stream:
        while len(head := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if length == 1:  # the true length follows
                length = int.from_bytes(stream.read(8), "big")
            place += length
            if length < 8 or place > size:
                break
            if kind != b"moof":
                end = place
            stream.seek(place)
    return file.open("rb") if end == size else io.BytesIO(file.read_bytes()[:end])
