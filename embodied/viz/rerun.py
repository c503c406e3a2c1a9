"""Open a recording in Rerun: images, depth, path, map. The only file that imports rerun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from embodied.extras import require_extra
from embodied.files import atomic_write
from embodied.viz.recorder import Recording
from maps.drawing import draw_map
from maps.grid.occupancy import OccupancyMap
from maps.pinhole import compute_focal_length

MAP_EVERY = 5


def show_recording(recording: Recording, save: str | Path | None = None) -> None:
    """Open the viewer, or write a .rrd file that `rerun FILE` opens.

    Raises:
        MissingExtraError: rerun is not installed.
        UnwritableError: the file's folder cannot be written to.
    """
    with require_extra("The viewer"):
        import rerun as rr
    stream = rr.RecordingStream("embodied")
    if save is None:
        stream.spawn()
        _log(rr, stream, recording)
        stream.flush()
        return
    with atomic_write(save) as temporary:
        stream.save(str(temporary))
        _log(rr, stream, recording)
        stream.flush()
        stream.disconnect()


def _log(rr: Any, stream: Any, recording: Recording) -> None:
    height, width = recording.depth.shape[1:]
    stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Y_UP, static=True)
    pinhole = rr.Pinhole(
        focal_length=compute_focal_length(width, recording.hfov),
        width=width,
        height=height,
        camera_xyz=rr.ViewCoordinates.RUB,  # x right, y up, looking along -z
    )
    stream.log("world/camera", pinhole, static=True)
    grid = OccupancyMap(floor=float(recording.position[0, 1]))
    for step in range(len(recording)):
        stream.set_time("step", sequence=step)
        pose = recording.camera[step].astype(np.float64)
        stream.log("world/camera", rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        stream.log("world/camera/rgb", rr.Image(recording.rgb[step]).compress(jpeg_quality=85))
        stream.log("world/camera/depth", rr.DepthImage(recording.depth[step], meter=1.0))
        stream.log("world/path", rr.LineStrips3D([recording.position[: step + 1]], radii=0.02))
        if recording.notes[step]:
            stream.log("notes", rr.TextLog(recording.notes[step]))
        grid.integrate_depth(recording.depth[step], pose, recording.hfov)
        if step % MAP_EVERY == 0 or step == len(recording) - 1:
            picture = draw_map(
                grid,
                path=recording.position[: step + 1],
                agent=(recording.position[step], float(recording.yaw[step])),
            )
            stream.log("map", rr.Image(picture).compress(jpeg_quality=90))
