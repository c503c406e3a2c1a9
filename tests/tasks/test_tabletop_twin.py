"""The table as an arm behind the drivers' protocol, and a policy of a tool on an arm's joints."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

from embodied.cli.serve import open_served_policy  # noqa: E402
from embodied.errors import ConfigError  # noqa: E402
from embodied.serving.client import PolicyClient  # noqa: E402
from embodied.serving.config import ServerConfig  # noqa: E402
from embodied.serving.server import PolicyServer  # noqa: E402
from embodied.simulators.bullet import RIGS, Rig  # noqa: E402
from embodied.simulators.bullet.tool_space import ToolSpace  # noqa: E402
from embodied.tasks.tabletop import (  # noqa: E402
    RATE,
    TabletopConfig,
    TabletopEnv,
    TabletopVectorEnv,
    make_expert,
)
from embodied.tasks.tabletop.twin import TabletopTwin, TwinOptions  # noqa: E402
from embodied.training.manipulation.trainer import train  # noqa: E402
from robots.arm import Setpoint, StopCategory  # noqa: E402
from robots.bridge import Bridge  # noqa: E402
from robots.errors import DeviceError  # noqa: E402
from robots.model import load_model  # noqa: E402
from robots.robot_config import load_robot  # noqa: E402
from robots.rollout import RolloutConfig, require_arm, run_policy  # noqa: E402
from tests.training.manipulation.miniature import miniature  # noqa: E402

# A busy test machine must not decide the outcome.
CALM = ("safety.state_age=3.0", "safety.command_age=3.0", "safety.observation_age=3.0")


class Clock:
    """Time that only moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("name", RIGS)
def test_a_tool_space_says_what_the_environment_does(name: str) -> None:
    env = TabletopEnv(task="reach", robot=name)
    observation, _ = env.reset(seed=0)
    space = ToolSpace(Rig(name), env.config.position_step, env.config.rotation_step)
    joints = env.batch.cells[0].positions
    np.testing.assert_allclose(
        space.compute_state(joints, env.batch.cells[0].hand.opening),
        observation["state"],
        atol=1e-6,
    )
    actions = np.zeros((6, 7))
    actions[:, 0], actions[:, 2], actions[:, 5], actions[:, 6] = 0.3, -0.2, 0.2, -1.0
    rows = space.compute_joint_targets(actions, joints)
    assert rows.shape == (6, space.joint_count + 1)
    assert (rows[:, -1] == 0).all()
    for action in (*actions, *[np.array([0, 0, 0, 0, 0, 0, -1.0])] * 6):
        observation, *_ = env.step(action)
    reached = space.compute_state(rows[-1, :-1], 0.0)
    np.testing.assert_allclose(reached[:3], observation["state"][:3], atol=4e-3)
    turned = abs(float(reached[3:7] @ observation["state"][3:7]))
    assert np.arccos(min(1.0, turned)) * 2 < 0.05
    env.close()


def test_the_twin_does_the_task_when_it_is_told_an_experts_joints() -> None:
    clock = Clock()
    twin = TabletopTwin(load_model("panda"), TwinOptions("pick", seed=3), clock)
    env, expert = TabletopVectorEnv(1, task="pick"), make_expert("pick")
    env.reset(seed=3)
    with twin:
        assert twin.instruction == env.batch.cells[0].layout.instruction
        np.testing.assert_allclose(twin.state().positions, env.batch.cells[0].positions, atol=1e-6)
        assert not twin.verdict.success
        for _ in range(100):
            _, _, ended, _, _ = env.step(expert.act(env))
            if ended[0]:
                break
            cell = env.batch.cells[0]
            twin.command(Setpoint(cell.command, np.zeros(7), gripper=cell.opening))
            clock.now += 1 / RATE
        for _ in range(10):
            clock.now += 0.05
            twin.state()
        assert twin.verdict.success
        images = twin.render_images()
        assert images["front"].shape == (96, 96, 3)
        assert images["wrist"].std() > 10
        twin.stop(StopCategory.STOP_AND_HOLD)
        held = twin.state().positions
        clock.now += 0.2
        np.testing.assert_allclose(twin.state().positions, held, atol=0.02)
    env.close()


def test_what_the_twin_cannot_do_is_named() -> None:
    with pytest.raises(ConfigError, match="no table for 'ur5e'"):
        TabletopTwin(load_model("ur5e"))
    with pytest.raises(ConfigError, match="did you mean 'pick'"):
        TabletopTwin(load_model("panda"), TwinOptions("pik"))
    with pytest.raises(DeviceError, match="not connected"):
        TabletopTwin(load_model("panda")).state()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow", reason="data sets need pyarrow")
    run = tmp_path_factory.mktemp("runs") / "reach"
    train(miniature(), run, quiet=True)
    return run


def test_a_trained_policy_is_put_on_the_arms_it_can_be(trained: Path) -> None:
    sizes = {}
    for robot in (None, "panda_table", "fr3_twin", "kuka_twin", "so101"):
        served = open_served_policy(str(trained), robot)
        sizes[served.metadata["arm"]] = served.metadata["action_size"]
        state = np.append(load_model(served.metadata["arm"]).home, 0.5)
        image = np.zeros((240, 320, 3), np.uint8)
        answer = served.infer(
            {"observation/state": state, "prompt": "reach the green ball",
             "observation/front": image, "observation/wrist": image}
        )  # fmt: skip
        assert answer["actions"].shape == (8, len(state))
        assert np.isfinite(answer["actions"]).all()
    assert sizes == {"panda": 8, "fr3": 8, "kuka_iiwa": 8, "so101": 6}
    with PolicyServer(served, ServerConfig(port=0)) as server, PolicyClient(server.uri) as client:
        over = client.infer(
            {"observation/state": state, "prompt": "reach the green ball",
             "observation/front": image, "observation/wrist": image}
        )  # fmt: skip
        assert client.metadata["cameras"] == ["front", "wrist"]
    assert np.asarray(over["actions"]).shape == answer["actions"].shape
    with pytest.raises(ConfigError, match=r"moves the tool, and where that is on 'ur5e'"):
        open_served_policy(str(trained), "ur5e_sim")


def deploy(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "embodied", "deploy", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_an_expert_that_moves_the_tool_picks_the_cube_up_through_the_guard() -> None:
    cell = load_robot("panda_table", ["options.seed=3", *CALM])
    expert, space = make_expert("pick"), ToolSpace(Rig("panda"), 0.02, 0.1)
    config = TabletopConfig(task="pick")
    with cell.open_arm() as arm, Bridge(arm, cell.model, cell.safety) as bridge:

        def infer(seen: Mapping[str, Any], *, observed_at: float) -> Mapping[str, Any]:
            there = arm._sensed()
            batch = SimpleNamespace(config=config, cells=[there])
            action = expert.act(SimpleNamespace(unwrapped=SimpleNamespace(batch=batch)))[0]
            chunk = np.repeat(action[None].astype(float), 4, axis=0)
            chunk[1:, :6] *= 0.5
            return {"actions": space.compute_joint_targets(chunk, there.positions)}

        settings = RolloutConfig(prompt=arm.instruction, action_size=8, blend="newest")
        done: list[bool] = []

        def succeeded() -> bool:
            done.append(arm.verdict.success)
            return done[-1]

        run_policy(bridge, infer, settings, seconds=30.0, stopping=succeeded)
        counts = bridge.get_status().verdict_counts
    assert done[-1]
    assert sum(n for name, n in counts.items() if name.startswith("refused")) < 5, counts


@pytest.mark.slow
def test_a_trained_policy_is_deployed_at_the_table(trained: Path) -> None:
    table = ("--robot", "panda_table", "options.task=reach", *CALM, "--policy", str(trained))
    sees = ("--sensors", "tabletop", "--prompt", "reach the green ball")
    done = deploy(*table, *sees, "--seconds", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended after 4" in done.stdout
    assert re.search(r"(allowed|clipped) +[1-9]", done.stdout), done.stdout
    blind = deploy(*table, "--seconds", "20")
    assert "there is no 'observation/front'" in blind.stdout + blind.stderr


def test_what_cannot_be_deployed_is_named(trained: Path) -> None:
    words = ("--robot", "fr3_twin", "--policy", str(trained), "--seconds", "9")
    done = deploy(*words, "--sensors", "tabletop", "sensors.task=reech")
    assert done.returncode == 2
    assert "unknown task 'reech': did you mean 'reach'" in done.stderr
    done = deploy(*words, "--sensors", "gone:images")
    assert done.returncode == 2
    assert "sensors 'gone:images' cannot be imported" in done.stderr
    with pytest.raises(ConfigError, match=r"joint angles of 'panda', and this arm is 'kuka_iiwa'"):
        require_arm({"arm": "panda"}, "kuka_iiwa")
    require_arm({"arm": ""}, "kuka_iiwa")
