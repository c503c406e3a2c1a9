"""`embodied deploy` as people run it, the same on franky-sim and on the twin, and its audit."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embodied.extras import OPTIONAL
from robots.audit import audit_episode
from robots.episode import RecordedChannel, read_episode
from robots.robot_config import load_robot

pytest.importorskip("mcap", reason="recording: pip install 'embodied-stack[record]'")

RATE = 100.0  # of both drivers [Hz]
# A busy test machine must not decide the outcome.
CALM = ("safety.state_age=3.0", "safety.command_age=3.0", "safety.observation_age=3.0")


def have(*modules: str) -> None:
    """Skip where a module is absent; in CI, where all that have a wheel are installed, fail."""
    for module in modules:
        if os.environ.get("CI") == "true" and OPTIONAL[module].has_wheel:
            importlib.import_module(module)
        else:
            pytest.importorskip(module, reason=f"{module} is absent; see the extras of setup.py")


def deploy(repo: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "embodied", "deploy", *words]
    return subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("robot", "needs", "calm"),
    [
        ("fr3_twin", ("pybullet",), CALM),
        ("fr3_sim", ("franky", "franky_sim"), (*CALM, "options.silence=5.0")),
    ],
)
def test_the_scripted_reach_is_recorded_and_audited_and_done_again(
    robot: str, needs: tuple[str, ...], calm: tuple[str, ...], repo: Path, tmp_path: Path
) -> None:
    have(*needs)
    first = tmp_path / "first"
    done = deploy(repo, "--robot", robot, "--seconds", "5", "--record", str(first), *calm)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended after 5" in done.stdout
    assert "within every limit" in done.stdout

    cell = load_robot(robot, calm)
    episode = read_episode(first)
    found = audit_episode(episode, cell.model, cell.safety, RATE)
    assert found.findings == ()
    assert found.setpoints > 100
    assert found.states > 30
    assert np.ptp(episode["state"].get_array("positions"), axis=0).max() > 0.02
    assert found.limit_usage["tool speed"] > 0.3

    # The same recording with one setpoint a little off, and one measurement, is found out.
    setpoints = episode["setpoint"]
    for kind in ("setpoint", "state"):
        positions = episode[kind].get_array("positions").copy()
        positions[len(positions) // 2, 5] += 0.5
        off = RecordedChannel(
            episode[kind].stamps, {**episode[kind].columns, "positions": positions}
        )
        planted = replace(episode, channels={**episode.channels, kind: off})
        assert audit_episode(planted, cell.model, cell.safety, RATE).findings, kind

    second = tmp_path / "second"
    again = deploy(repo, "--robot", robot, "--replay", str(first), "--record", str(second), *calm)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "setpoints of" in again.stdout
    assert "within every limit" in again.stdout
    made, journey = read_episode(second), episode.find_journeys()[-1]
    path = setpoints.get_array("positions")[journey]
    copy = made["setpoint"].get_array("positions")[made.find_journeys()[-1]]
    far = [np.abs(copy - row).max(axis=1).min() for row in path]
    assert max(far) < 1e-3


def test_a_replay_of_nothing_says_so(repo: Path, tmp_path: Path) -> None:
    have("pybullet")
    done = deploy(repo, "--robot", "fr3_twin", "--replay", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "there is no recording at" in done.stderr


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that learned on a Panda at a simulated table, in seconds: it moves, no more."""
    have("pybullet", "pyarrow")
    from embodied.training.manipulation.trainer import train
    from tests.training.manipulation.miniature import miniature

    run = tmp_path_factory.mktemp("runs") / "reach"
    train(miniature(), run, quiet=True)
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("robot", "needs", "extra"),
    [
        ("fr3_twin", (), ()),
        # On a busy machine the simulator falls behind the clock: wait for it.
        ("fr3_sim", ("franky", "franky_sim"), ("options.silence=5.0", "safety.tracking=1.0")),
    ],
)
def test_a_trained_policy_is_recorded_and_audited(
    robot: str, needs: tuple[str, ...], extra: tuple[str, ...], learned: Path, repo: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    have(*needs)
    overrides = ("safety.start_distance=0.4", *CALM, *extra)
    table = ("--sensors", "tabletop", "--go-to-start", "sensors.width=32", "sensors.height=32")
    record = ("--seconds", "5", "--record", str(tmp_path / "record"))
    words = ("--robot", robot, "--policy", str(learned), *table, *record, *overrides)
    done = deploy(repo, *words, "--prompt", "move the gripper to the green ball")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended after 5" in done.stdout
    assert "move the gripper to the green ball: " in done.stdout

    cell = load_robot(robot, overrides)
    episode = read_episode(tmp_path / "record")
    found = audit_episode(episode, cell.model, cell.safety, RATE)
    assert found.findings == ()
    assert len(episode.find_journeys()) == 2  # to the start, and the policy's own
    own = episode["setpoint"].get_array("positions")[episode.find_journeys()[1]]
    assert np.ptp(own, axis=0).max() > 0.01
