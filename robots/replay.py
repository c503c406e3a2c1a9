"""Let an arm do once more what was recorded of it: the same setpoints, through the guard."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from robots.bridge import Bridge
from robots.episode import EpisodeError, RecordedEpisode
from robots.errors import BridgeError
from robots.guard import CommandOutcome
from robots.intent import Command, CommandKind
from robots.rollout import move_to_joints
from robots.shaper import ON_PATH
from robots.state_machine import BridgeState

AHEAD = 200  # setpoints that are given at once, two seconds' worth
RATE = 20.0  # of commands [Hz]
PATIENCE = 3.0  # with an arm that does not come on [s]


def replay_episode(bridge: Bridge, episode: RecordedEpisode) -> int:
    """Make the recorded setpoints once more, one a period; rests are not kept.

    For each time the arm was armed it goes to where the motion began, and along it. Every step
    passes the guard again, so another table or tighter limits end it. So does whatever makes the
    arm brake on its way, a hold or a late command: it then leaves the path.

    Args:
        bridge: of the same kind of arm, running, nobody in command.
        episode: recorded at this rate; without losses.

    Returns:
        How many setpoints were made again.

    Raises:
        EpisodeError: the recording is incomplete, or not of this arm and rate.
        BridgeError: the bridge cannot be armed, faulted, or does not let the arm go on.
    """
    paths = extract_paths(episode, bridge)
    for path, openings in paths:
        move_to_joints(bridge, path[0, 0])
        _follow(bridge, path, openings)
    return sum(len(path) for path, _ in paths)


def extract_paths(
    episode: RecordedEpisode, bridge: Bridge
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return each path (K, 3, J) and its gripper openings (K,), NaN where they were left alone.

    Raises:
        EpisodeError: see `replay_episode`.
    """
    setpoints, joints = episode["setpoint"], bridge.model.joint_names
    found = episode.find_journeys()
    if episode.lost or not found:
        lost = "; ".join(episode.lost) or "there is no motion in it"
        raise EpisodeError(f"{episode.folder} cannot be replayed: {lost}")
    took = float(np.median(np.diff(setpoints.stamps)))
    if episode.origin.joints != joints or not 0.8 < took / bridge.period < 1.25:
        raise EpisodeError(
            f"{episode.folder} is of the joints {', '.join(episode.origin.joints)} at "
            f"{1 / took:.0f} Hz; this arm has {', '.join(joints)} at {1 / bridge.period:.0f} Hz"
        )
    names = "positions", "velocities", "accelerations"
    rows = np.stack([setpoints.get_array(name) for name in names], axis=1)
    return [(rows[part], setpoints.get_array("gripper")[part]) for part in found]


def _follow(bridge: Bridge, path: NDArray[np.float64], openings: NDArray[np.float64]) -> None:
    token = bridge.arm("replay")
    here, joined, since, blocked = 0, False, time.monotonic(), ""
    while here < len(path) - 1:
        now, status = time.monotonic(), bridge.get_status()
        blocked = status.blocked_reason or blocked
        if joined and status.setpoint is not None:
            far = np.abs(path[here : here + AHEAD, 0] - status.setpoint.positions).max(axis=1)
            if far.min() <= ON_PATH and (ahead := int(far.argmin())):
                here, since, blocked = here + ahead, now, ""
        kind, values = (
            (CommandKind.PATH, path[here : here + AHEAD])
            if joined
            else (CommandKind.POSITION, path[0, 0])
        )
        opening = None if np.isnan(openings[here]) else float(openings[here])
        verdict = bridge.submit_command(token, Command(kind, values, now, now, opening))
        if status.state is BridgeState.FAULT or verdict.outcome is CommandOutcome.REFUSED:
            bridge.stop()
            raise BridgeError(f"the replay ended: {status.fault or verdict.detail}")
        if now - since > PATIENCE:
            bridge.stop()
            why = blocked or f"it does not get on from setpoint {here}"
            raise BridgeError(f"the replay ended: {why}")
        time.sleep(1 / RATE)
        sent = bridge.get_status().setpoint
        joined = joined or (sent is not None and _near(sent.positions, path[0, 0]))
    bridge.disarm(token)


def _near(positions: NDArray[np.float64], place: NDArray[np.float64]) -> bool:
    return bool(np.abs(positions - place).max() <= ON_PATH)
