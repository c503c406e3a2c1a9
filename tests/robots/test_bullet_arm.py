"""The digital twin on a clock of the test's own: the same physics every time."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embodied.errors import ConfigError
from robots.arm import Arm, ArmState, Setpoint, StopCategory
from robots.bullet import BulletArm, BulletOptions
from robots.errors import DeviceError, ModelError
from robots.model import load_model

pytest.importorskip("pybullet", reason="pybullet is not installed (extra 'bullet')")

PERIOD = 0.01


class BulletClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> BulletClock:
    return BulletClock()


def bullet_run(arm: BulletArm, clock: BulletClock, seconds: float) -> list[ArmState]:
    """Let time pass without commands; return the states, one a period."""
    states = []
    for _ in range(round(seconds / PERIOD)):
        clock.now += PERIOD
        states.append(arm.state())
    return states


def bullet_move(arm: BulletArm, clock: BulletClock, speed: float = 0.8) -> None:
    """Bring joint 1 to a steady speed within 0.5 s."""
    start, wanted, velocity = arm.state().positions, 0.0, 0.0
    direction = np.eye(len(start))[0]
    for _ in range(50):
        velocity = min(speed, velocity + 5.0 * PERIOD)
        wanted += velocity * PERIOD
        arm.command(Setpoint(start + wanted * direction, velocity * direction))
        clock.now += PERIOD


@pytest.mark.parametrize("name", ["fr3", "panda", "kuka_iiwa"])
def test_a_streamed_trajectory_is_followed(name: str, clock: BulletClock) -> None:
    model = load_model(name)
    with BulletArm(model, clock=clock) as arm:
        assert isinstance(arm, Arm)
        assert arm.features.joints == model.joint_names
        start = arm.state().positions
        np.testing.assert_allclose(start, model.home, atol=1e-6)
        size = 0.2 * np.resize([1.0, 0.5, -1.0, 0.5], len(start))

        def path(t: float) -> tuple[np.ndarray, np.ndarray]:
            angle = np.pi / 2 * min(t, 2.0)
            return start + size * np.sin(angle) ** 2, size * np.pi / 2 * np.sin(2 * angle)

        begun, errors = clock.now, []
        for tick in range(200):
            state = arm.state()
            errors.append(state.positions - path(state.stamp - begun)[0])
            arm.command(Setpoint(*path((tick + 1) * PERIOD)))
            clock.now += PERIOD
        rms = float(np.sqrt(np.mean(np.square(errors))))
        print(f"{name}: RMS {rms * 1e3:.2f} mrad, largest {np.abs(errors).max() * 1e3:.2f}")
        assert rms < 2e-3
        assert np.abs(errors).max() < 5e-3


def test_stamps_are_those_of_the_clock(clock: BulletClock) -> None:
    with BulletArm(load_model("fr3"), clock=clock) as arm:
        states = bullet_run(arm, clock, 1.0)
    stamps = np.array([state.stamp for state in states])
    times = 1000.0 + PERIOD * np.arange(1, 101)
    assert (stamps <= times + 1e-6).all()
    assert (times - stamps < 1 / 240 + 1e-6).all()


def test_the_same_commands_give_the_same_motion(clock: BulletClock) -> None:
    ends = []
    for _ in range(2):
        clock.now = 1000.0
        with BulletArm(load_model("fr3"), clock=clock) as arm:
            bullet_move(arm, clock)
            ends.append(arm.state())
    np.testing.assert_array_equal(ends[0].positions, ends[1].positions)
    np.testing.assert_array_equal(ends[0].velocities, ends[1].velocities)


def test_efforts_bear_the_arm_and_keep_their_limits(clock: BulletClock) -> None:
    model = load_model("fr3")
    with BulletArm(model, clock=clock) as arm:
        held = bullet_run(arm, clock, 0.5)[-1].efforts
        assert held is not None
        assert 5 < abs(held[3]) < 60  # the elbow carries forearm and hand
        arm.command(Setpoint(np.array(model.home) + 1.0, np.zeros(7)))  # far more than it can
        efforts = np.abs([state.efforts for state in bullet_run(arm, clock, 0.5)])
    assert (efforts <= np.array([joint.effort for joint in model.joints]) + 1e-3).all()


def test_setpoints_that_cease_leave_it_at_the_last_one(clock: BulletClock) -> None:
    with BulletArm(load_model("fr3"), clock=clock) as arm:
        bullet_move(arm, clock)
        last = arm.state().positions
        end = bullet_run(arm, clock, 0.5)[-1]
    assert np.abs(end.velocities).max() < 1e-3
    assert np.abs(end.positions - last).max() < 0.02


def test_stop_and_hold_holds_where_it_is(clock: BulletClock) -> None:
    with BulletArm(load_model("fr3"), clock=clock) as arm:
        bullet_move(arm, clock)
        at = arm.state().positions
        arm.stop(StopCategory.STOP_AND_HOLD)
        end = bullet_run(arm, clock, 0.5)[-1]
        assert np.abs(end.velocities).max() < 1e-3
        assert np.abs(end.positions - at).max() < 0.02
        bullet_move(arm, clock)
        assert arm.state().velocities[0] > 0.5


def test_a_controlled_stop_slows_down_with_the_joints_acceleration(clock: BulletClock) -> None:
    model = load_model("fr3")
    with BulletArm(model, clock=clock) as arm:
        bullet_move(arm, clock)
        before = arm.state()
        arm.stop(StopCategory.STOP_THEN_POWER_OFF)
        states = bullet_run(arm, clock, 0.5)
    speed, most = before.velocities[0], model.joints[0].acceleration
    way = states[-1].positions[0] - before.positions[0]
    assert way == pytest.approx(speed**2 / (2 * most), abs=0.01)
    assert way > 0.02
    assert np.abs(states[-1].velocities).max() < 1e-3


def test_without_power_it_falls_unless_it_has_brakes(clock: BulletClock) -> None:
    fallen = {}
    for brakes in (True, False):
        arm = BulletArm(load_model("fr3"), BulletOptions(brakes=brakes), clock)
        assert arm.features.falls_without_power is not brakes
        with arm:
            before = bullet_run(arm, clock, 0.2)[-1].positions
            arm.stop(StopCategory.CUT_POWER)
            state = bullet_run(arm, clock, 1.0)[-1]
            fallen[brakes] = np.abs(state.positions - before).max()
            assert "power" in state.fault
            with pytest.raises(DeviceError, match="power"):
                arm.command(Setpoint(before, np.zeros(7)))
            arm.stop(StopCategory.STOP_AND_HOLD)  # gives no power back
            assert "power" in arm.state().fault
            arm.connect()
            assert arm.state().fault == ""
    assert fallen[True] < 0.01
    assert fallen[False] > 0.3


def test_the_gripper_opens_and_closes(clock: BulletClock) -> None:
    with BulletArm(load_model("fr3"), clock=clock) as arm:
        assert arm.features.gripper
        home = np.array(load_model("fr3").home)
        for opening in (0.0, 0.5, 1.0):
            arm.command(Setpoint(home, np.zeros(7), gripper=opening))
            assert bullet_run(arm, clock, 1.0)[-1].gripper == pytest.approx(opening, abs=0.02)
        arm.command(Setpoint(home, np.zeros(7)))
        assert bullet_run(arm, clock, 0.2)[-1].gripper == pytest.approx(1.0, abs=0.02)
    assert not BulletArm(load_model("kuka_iiwa")).features.gripper


def test_a_long_pause_is_not_made_up_for(clock: BulletClock) -> None:
    with BulletArm(load_model("fr3"), clock=clock) as arm:
        bullet_move(arm, clock)
        clock.now += 3600.0
        state = arm.state()
        assert state.stamp == pytest.approx(clock.now, abs=0.01)
        clock.now -= 5.0  # nor does a clock that goes back do harm
        assert arm.state().stamp == state.stamp


def test_it_comes_back_where_it_was(clock: BulletClock) -> None:
    arm = BulletArm(load_model("fr3"), clock=clock)
    with arm:
        bullet_move(arm, clock)
        before = bullet_run(arm, clock, 0.5)[-1].positions
    arm.disconnect()
    for call in (arm.state, lambda: arm.stop(StopCategory.STOP_AND_HOLD), arm.render_image):
        with pytest.raises(DeviceError, match="connect"):
            call()
    with arm:
        np.testing.assert_allclose(arm.state().positions, before, atol=1e-3)


def test_two_twins_do_not_touch_each_other(clock: BulletClock) -> None:
    with (
        BulletArm(load_model("fr3"), clock=clock) as one,
        BulletArm(load_model("panda"), clock=clock) as other,
    ):
        bullet_move(one, clock)
        assert one.state().velocities[0] > 0.5
        np.testing.assert_allclose(other.state().positions, load_model("panda").home, atol=1e-3)


def test_the_picture_shows_the_arm_move(clock: BulletClock) -> None:
    with BulletArm(load_model("fr3"), clock=clock) as arm:
        before = arm.render_image(160, 120)
        assert before.shape == (120, 160, 3)
        assert before.dtype == np.uint8
        assert before.std() > 5
        bullet_move(arm, clock)
        assert (arm.render_image(160, 120) != before).any()


def test_an_arm_without_urdf_says_so() -> None:
    with pytest.raises(ModelError, match=r"so101.*option urdf"):
        BulletArm(load_model("so101"))
    with pytest.raises(ModelError, match=re.escape("/no/such.urdf")):
        BulletArm(load_model("fr3"), BulletOptions(urdf="/no/such.urdf"))


def test_the_urdf_of_another_arm_is_refused_with_both_joint_lists() -> None:
    other = BulletOptions(urdf="pybullet_data:franka_panda/panda.urdf")
    model = replace(load_model("ur5e"), tool_link="panda_link8")
    with pytest.raises(ModelError, match=r"shoulder_pan_joint.*panda_link8.*panda_joint7"):
        BulletArm(model, other)


def test_a_missing_mesh_is_named(tmp_path: Path) -> None:
    import pybullet_data

    folder = Path(pybullet_data.getDataPath()) / "kuka_iiwa"
    text = (folder / "model.urdf").read_text()
    copy = tmp_path / "without_meshes.urdf"
    copy.write_text(text)
    with pytest.raises(DeviceError, match=r"meshes/link_0\.(obj|stl)"):
        BulletArm(load_model("kuka_iiwa"), BulletOptions(urdf=str(copy))).connect()


def test_a_mesh_without_shape_leaves_no_world_behind(tmp_path: Path) -> None:
    import pybullet_data

    whole = Path(pybullet_data.getDataPath()) / "kuka_iiwa"
    folder = Path(shutil.copytree(whole, tmp_path / "kuka_iiwa"))
    for mesh in (folder / "meshes").glob("link_3.*"):
        mesh.write_bytes(b"")
    arm = BulletArm(load_model("kuka_iiwa"), BulletOptions(urdf=str(folder / "model.urdf")))
    with pytest.raises(ModelError, match="link_3.* holds no shape"):
        arm.connect()
    with pytest.raises(DeviceError, match="[Cc]onnect"):
        arm.state()


def test_a_window_without_display_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(DeviceError, match="gui"):
        BulletArm(load_model("fr3"), BulletOptions(gui=True)).connect()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"timestep": 0.1}, "timestep"), ({"camera_eye": (0.2, 0.0, 0.35)}, "camera_eye")],
)
def test_wrong_options_are_refused_by_name(wrong: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        BulletOptions(**wrong)
