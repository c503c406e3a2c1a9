"""Write recordings as a LeRobot data set, format v3.0, for training with LeRobot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.files import atomic_directory
from robots.episode import CAMERA, EpisodeError, RecordedChannel, RecordedEpisode
from robots.lerobot_layout import LayoutError, LeRobotDatasetWriter, import_parquet

Array = NDArray[Any]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ResampledFrames:
    """An episode on its grid.

    Attributes:
        times: (T,) of the grid, monotonic clock of the recording [s].
        state: (T, D) float32 measured joint angles [rad], then the gripper's opening.
        action: (T, D) float32 setpoints, likewise.
    """

    times: NDArray[np.float64]
    state: NDArray[np.float32]
    action: NDArray[np.float32]


def export_dataset(
    episodes: Sequence[RecordedEpisode],
    folder: str | Path,
    fps: int,
    task: str,
    max_gap: float = 0.25,
) -> Path:
    """Write a data set; it appears as a whole or not at all.

    Joint angles are in radians and named `<joint>.pos`, the gripper's opening, 0 to 1, comes last
    as `gripper.pos`. Measured angles are interpolated, the action is the setpoint in force, an
    image the newest there was.

    Args:
        episodes: recordings of one kind of arm with the same cameras.
        folder: must not exist, or be empty.
        fps: frames per second.
        task: what was done, in words: the instruction that a policy is trained with.
        max_gap: longest time without measurement, or image, that is bridged [s].

    Raises:
        EpisodeError: the recordings lack something, have gaps or do not fit together.
        UnwritableError: the folder cannot be written to.
        MissingExtraError: the package pyarrow is absent.
    """
    import_parquet("writing a LeRobot data set")
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise EpisodeError(f"{target} exists and is not empty; give another folder")
    if not episodes or fps != int(fps) or fps < 1 or not task:
        raise EpisodeError(
            f"{len(episodes)} recordings, fps {fps}, task '{task}': at least one recording, whole "
            "frames per second of 1 or more, and a task in words are needed"
        )
    cameras, gripper = _common(episodes), all(_has_gripper(episode) for episode in episodes)
    names = [f"{joint}.pos" for joint in episodes[0].origin.joints]
    names += ["gripper.pos"] if gripper else []
    vectors = {"observation.state": names, "action": names}
    with atomic_directory(target) as root:
        model = episodes[0].origin.model
        writer = LeRobotDatasetWriter(
            root, fps, model, vectors, [_key(camera) for camera in cameras]
        )
        for episode in episodes:
            frames = resample_episode(episode, fps, gripper, max_gap)
            columns = {"observation.state": frames.state, "action": frames.action}
            films = {
                _key(camera): _film(episode, camera, frames.times, max_gap) for camera in cameras
            }
            try:
                writer.add_episode(columns, task, films)
            except LayoutError as error:
                raise EpisodeError(f"{episode.folder}: {error}") from error
        writer.finalize()
    return target


def resample_episode(
    episode: RecordedEpisode, fps: int, gripper: bool, max_gap: float
) -> ResampledFrames:
    """Put a recording on a grid that begins when everything has been seen once.

    Raises:
        EpisodeError: no states or setpoints, too short, or a gap in the states.
    """
    states, setpoints = episode["state"], episode["setpoint"]
    if not len(states) or not len(setpoints):
        raise EpisodeError(
            f"{episode.folder}: {len(states)} states and {len(setpoints)} setpoints; both are "
            "needed. Was the arm moved by the bridge while it was recorded?"
        )
    cameras = [episode[CAMERA + camera].stamps[0] for camera in episode.cameras]
    begin = max(states.stamps[0], setpoints.stamps[0], *cameras)
    count = int(np.floor((states.stamps[-1] - begin) * fps)) + 1
    if count < 2:
        raise EpisodeError(f"{episode.folder}: shorter than two frames at {fps} frames per second")
    times = begin + np.arange(count) / fps
    joints = len(episode.origin.joints)
    stamps, order = np.unique(states.stamps, return_index=True)
    angles = _joints(episode, states)[order]
    gaps = np.diff(stamps)
    wide = np.flatnonzero((gaps > max_gap) & (stamps[1:] > begin))
    if len(wide):
        raise EpisodeError(
            f"{episode.folder}: no measurement for {gaps[wide[0]]:.2f} s, "
            f"{stamps[wide[0]] - begin:.2f} s after its beginning; {max_gap} s are bridged. Leave "
            "this recording out, or raise max_gap"
        )
    state = np.stack([np.interp(times, stamps, angles[:, j]) for j in range(joints)], axis=1)
    action = _held(setpoints.stamps, _joints(episode, setpoints), times)
    if gripper:
        opening = np.interp(times, stamps, states.get_array("gripper")[order])
        told = np.isfinite(setpoints.get_array("gripper"))
        goals = setpoints.get_array("gripper")[told, None]
        goal = _held(setpoints.stamps[told], goals, times)[:, 0] if told.any() else opening
        # Until the gripper is told something for the first time it stays as it is.
        before = times < (setpoints.stamps[told][0] if told.any() else np.inf)
        state = np.column_stack([state, opening])
        action = np.column_stack([action, np.where(before, opening, goal)])
    if not (np.isfinite(state).all() and np.isfinite(action).all()):
        raise EpisodeError(f"{episode.folder}: states or setpoints that are not numbers")
    return ResampledFrames(times, state.astype(np.float32), action.astype(np.float32))


def _film(episode: RecordedEpisode, camera: str, times: Array, max_gap: float) -> Iterator[Image]:
    """Yield the newest image at every time."""
    images = episode.decode_frames(camera)
    first = next(images, None)
    if first is None:
        raise EpisodeError(f"{episode.folder}: no image of camera '{camera}' can be decoded")
    (stamp, image), ahead = first, next(images, None)
    for now in times:
        while ahead is not None and ahead[0] <= now + 1e-4:
            (stamp, image), ahead = ahead, next(images, None)
        if now - stamp > max_gap:
            raise EpisodeError(
                f"{episode.folder}: no image of camera '{camera}' for {now - stamp:.2f} s, "
                f"{now - times[0]:.2f} s after its beginning; {max_gap} s are bridged"
            )
        yield image


def _joints(episode: RecordedEpisode, channel: RecordedChannel) -> Array:
    positions, joints = channel.get_array("positions"), len(episode.origin.joints)
    if positions.shape[1:] != (joints,):
        raise EpisodeError(f"{episode.folder}: {positions.shape[1:]} angles for {joints} joints")
    return positions


def _held(stamps: Array, values: Array, times: Array) -> Array:
    """Return the newest value at every time (zero-order hold); the first one before it."""
    return np.asarray(values[np.maximum(np.searchsorted(stamps, times, side="right") - 1, 0)])


def _has_gripper(episode: RecordedEpisode) -> bool:
    columns = (episode[kind].columns.get("gripper") for kind in ("state", "setpoint"))
    measured, told = (isinstance(c, np.ndarray) and c.dtype.kind == "f" for c in columns)
    return measured and told and bool(np.isfinite(episode["state"].get_array("gripper")).all())


def _common(episodes: Sequence[RecordedEpisode]) -> tuple[str, ...]:
    """Return the cameras; raises EpisodeError if the recordings do not fit together."""
    first = episodes[0]
    for other in episodes:
        mine, theirs = (first.origin.joints, first.cameras), (other.origin.joints, other.cameras)
        if mine != theirs:
            raise EpisodeError(
                f"{first.folder} and {other.folder} do not fit together: joints and cameras are "
                f"{mine} and {theirs}. Export them apart"
            )
    return first.cameras


def _key(camera: str) -> str:
    return f"observation.images.{camera}"
