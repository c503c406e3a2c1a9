"""A ROS 2 arm against a small controller over DDS and Zenoh, and the messages against rosbags."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import MissingExtraError
from robots.arm import Arm, ArmState, Setpoint, StopCategory
from robots.errors import DeviceError, ModelError
from robots.model import load_model
from robots.ros2 import Ros2Arm, Ros2Options

pytest.importorskip("cyclonedds", reason="the extra 'ros2' is not installed")
zenoh = pytest.importorskip("zenoh", reason="the extra 'ros2' is not installed")

from robots import ros2_link  # noqa: E402
from robots import ros2_types as ros  # noqa: E402
from robots.emulators.ros2_controller import Ros2Controller, TrajectoryFollower  # noqa: E402

MODEL = load_model("ur5e")
HOME = np.array(MODEL.home)
ROOT = Path(__file__).resolve().parents[2]
TRANSPORTS = ("dds", "zenoh")


# ---------------------------------------------------------------- where and with whom


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_started = itertools.count(os.getpid())


def _free_domain() -> int:
    """A DDS domain of our own: nobody holds the port of its first participant."""
    for domain in (1 + number % 100 for number in itertools.islice(_started, 100)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", 7410 + 250 * domain))
            except OSError:
                continue
            return domain
    pytest.fail("no free DDS domain")


@pytest.fixture(params=TRANSPORTS)
def options(request: pytest.FixtureRequest) -> Ros2Options:
    """Either transport, in a domain or at a port nobody else uses."""
    return _own(request.param)


def _own(transport: str) -> Ros2Options:
    common = Ros2Options(transport=transport, state_timeout=0.6, connect_timeout=10.0)
    if transport == "dds":
        return replace(common, domain=_free_domain())
    return replace(common, endpoints=(f"tcp/127.0.0.1:{_free_port()}",))


def _link(options: Ros2Options) -> ros2_link.Ros2Link:
    """The other end of the driver's line."""
    return ros2_link.open_link(options.transport, options.domain, listen=options.endpoints)


@contextmanager
def _controller(
    options: Ros2Options,
    names: Sequence[str] = MODEL.joint_names,
    positions: Sequence[float] = MODEL.home,
    end_velocities: bool = False,
    **more: Any,
) -> Iterator[Ros2Controller]:
    follows = TrajectoryFollower(names, positions, end_velocities)
    with Ros2Controller(follows, _link(options), **more) as made:
        yield made


def _until(met: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.005)


def _reaches(arm: Ros2Arm, positions: np.ndarray) -> None:
    """Send a setpoint until the arm is there."""

    def there() -> bool:
        arm.command(Setpoint(positions, np.zeros(len(positions))))
        return bool(np.allclose(arm.state().positions, positions, atol=1e-6))

    _until(there)


# ---------------------------------------------------------------- the messages

names_ = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9))
doubles = st.lists(st.floats(width=64), max_size=7)
seconds_ = st.integers(0, 2**31 - 1)
nanos = st.integers(0, 999_999_999)
headers = st.tuples(seconds_, nanos, st.text("abc/_", max_size=5))
points_ = st.lists(st.tuples(doubles, doubles, doubles, doubles, seconds_, nanos), max_size=3)


@pytest.fixture(scope="module")
def bags() -> Any:
    typesys = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")
    return typesys.get_typestore(typesys.Stores.ROS2_JAZZY)


def _theirs(store: Any, header: tuple[int, int, str]) -> Any:
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](header[0], header[1])
    return types["std_msgs/msg/Header"](stamp, header[2])


def _their_point(store: Any, point: tuple[Any, ...]) -> Any:
    span = store.types["builtin_interfaces/msg/Duration"](*point[4:])
    lists = (np.array(values, np.float64) for values in point[:4])
    return store.types["trajectory_msgs/msg/JointTrajectoryPoint"](*lists, span)


@given(header=headers, names=names_, points=points_)
@settings(max_examples=60, deadline=None)
def test_a_trajectory_has_the_bytes_of_another_implementation(
    bags: Any, header: tuple[int, int, str], names: list[str], points: list[tuple[Any, ...]]
) -> None:
    ours = ros.JointTrajectory(
        ros.Header(ros.Time(*header[:2]), header[2]),
        names,
        [ros.JointTrajectoryPoint(*point[:4], ros.Duration(*point[4:])) for point in points],
    )
    kind = "trajectory_msgs/msg/JointTrajectory"
    made = bags.types[kind](
        _theirs(bags, header), names, [_their_point(bags, point) for point in points]
    )
    theirs = bytes(bags.serialize_cdr(made, kind))
    assert ours.serialize(use_version_2=False) == theirs
    # Compared as text, for NaN is not equal to itself.
    assert repr(ros.JointTrajectory.deserialize(theirs)) == repr(ours)
    back = bags.deserialize_cdr(ours.serialize(use_version_2=False), kind)
    assert [p.time_from_start.nanosec for p in back.points] == [p[5] for p in points]


@given(header=headers, names=names_, lists=st.tuples(doubles, doubles, doubles))
@settings(max_examples=60, deadline=None)
def test_a_joint_state_has_the_bytes_of_another_implementation(
    bags: Any, header: tuple[int, int, str], names: list[str], lists: tuple[list[float], ...]
) -> None:
    ours = ros.JointState(ros.Header(ros.Time(*header[:2]), header[2]), names, *lists)
    kind = "sensor_msgs/msg/JointState"
    made = bags.types[kind](
        _theirs(bags, header), names, *(np.array(values, np.float64) for values in lists)
    )
    theirs = bytes(bags.serialize_cdr(made, kind))
    assert ours.serialize(use_version_2=False) == theirs
    assert repr(ros.JointState.deserialize(theirs)) == repr(ours)
    np.testing.assert_array_equal(
        bags.deserialize_cdr(ours.serialize(use_version_2=False), kind).position, lists[0]
    )


HUMBLE = """std_msgs/Header header
string[] joint_names
trajectory_msgs/JointTrajectoryPoint reference
trajectory_msgs/JointTrajectoryPoint feedback
trajectory_msgs/JointTrajectoryPoint error
trajectory_msgs/JointTrajectoryPoint output
trajectory_msgs/JointTrajectoryPoint desired
trajectory_msgs/JointTrajectoryPoint actual
string[] multi_dof_joint_names
"""


def test_a_controllers_state_is_read_from_the_longer_message(bags: Any) -> None:
    typesys = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")
    kind = "control_msgs/msg/JointTrajectoryControllerState"
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    store.register(typesys.get_types_from_msg(HUMBLE, kind))
    points = [_their_point(store, ([float(k)], [0.5], [], [], 0, k)) for k in range(6)]
    made = store.types[kind](_theirs(store, (5, 6, "")), ["a"], *points, ["b"])
    read = ros.JointTrajectoryControllerState.deserialize(bytes(store.serialize_cdr(made, kind)))
    assert read.to_measurement() == ros.JointMeasurement(5_000_000_006, ["a"], [1.0], [0.5], [])
    assert read.reference.positions == [0.0]


def test_what_the_driver_sends_over_zenoh_is_read_by_rosbags(bags: Any) -> None:
    options = replace(_own("zenoh"), velocities=True, periods=1)
    with _controller(options, end_velocities=True) as controller:
        session = controller._link._session  # type: ignore[attr-defined]
        seen: list[bytes] = []
        key = "joint_trajectory_controller/joint_trajectory"
        session.declare_subscriber(key, lambda sample: seen.append(sample.payload.to_bytes()))
        with Ros2Arm(MODEL, options) as arm:
            arm.command(Setpoint(HOME + 0.01, np.full(6, 0.2)))
            _until(lambda: bool(seen))
    read = bags.deserialize_cdr(seen[0], "trajectory_msgs/msg/JointTrajectory")
    assert read.joint_names == list(MODEL.joint_names)
    assert (read.header.stamp.sec, read.header.stamp.nanosec) == (0, 0)
    np.testing.assert_array_equal(read.points[0].positions, HOME + 0.01)
    np.testing.assert_array_equal(read.points[0].velocities, np.full(6, 0.2))
    assert read.points[0].time_from_start.nanosec == 10_000_000


def test_what_rosbags_writes_is_a_state_of_the_driver(bags: Any) -> None:
    options = _own("zenoh")
    kind = "sensor_msgs/msg/JointState"
    lists = (HOME[::-1].copy(), np.arange(6.0), np.zeros(0))
    made = bags.types[kind](_theirs(bags, (7, 8, "base")), list(MODEL.joint_names[::-1]), *lists)
    payload = bytes(bags.serialize_cdr(made, kind))
    link = _link(options)
    session = link._session  # type: ignore[attr-defined]
    link.subscribe("/joint_trajectory_controller/joint_trajectory", ros.JointTrajectory, print)
    arm = Ros2Arm(MODEL, options)
    with _repeating(lambda: session.put("joint_states", payload)):
        arm.connect()
    np.testing.assert_array_equal(arm.state().positions, HOME)
    np.testing.assert_array_equal(arm.state().velocities, np.arange(6.0)[::-1])
    arm.disconnect()
    link.close()


@contextmanager
def _repeating(send: Callable[[], object]) -> Iterator[None]:
    """Send every 10 ms meanwhile."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.01):
            send()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_the_reader(data: st.DataObject) -> None:
    whole = ros.JointState(name=["a", "b"], position=[1.0, 2.0]).serialize(use_version_2=False)
    broken = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3)) if broken else 0):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (read,) = ros2_link._read(
        ros.JointState, "/joint_states", lambda: [ros.JointState.deserialize(bytes(broken))]
    )
    assert isinstance(read, ros.JointState | DeviceError)


# ---------------------------------------------------------------- driver and controller


def test_it_is_an_arm_that_follows_setpoints(options: Ros2Options) -> None:
    with _controller(options) as controller, Ros2Arm(MODEL, options) as arm:
        assert isinstance(arm, Arm)
        assert arm.features.joints == MODEL.joint_names
        start = arm.state()
        np.testing.assert_allclose(start.positions, HOME)
        assert not controller.accepted, "connecting must not move it"
        worst, before = 0.0, start.stamp
        for step in range(1, 41):
            goal = HOME + 0.2 * np.sin(step / 40) * np.array([1, -1, 1, -1, 1, -1])
            arm.command(Setpoint(goal, np.zeros(6)))
            _until(lambda: arm.state().stamp > before)  # noqa: B023
            state = arm.state()
            before = state.stamp
            worst = max(worst, float(np.abs(state.positions - goal).max()))
        assert worst < 0.05
        _reaches(arm, goal)
        assert not controller.refused


def test_joints_are_matched_by_name(options: Ros2Options) -> None:
    order = [3, 0, 5, 1, 4, 2]
    names = [MODEL.joint_names[i] for i in order]
    with _controller(options, names, HOME[order]) as controller, Ros2Arm(MODEL, options) as arm:
        np.testing.assert_allclose(arm.state().positions, HOME)
        goal = HOME + np.linspace(0.01, 0.06, 6)
        _reaches(arm, goal)
        assert controller.accepted[-1].joint_names == list(MODEL.joint_names)


@pytest.mark.parametrize("category", StopCategory)
def test_stop_holds_where_it_was(category: StopCategory) -> None:
    options = replace(_own("dds"), periods=200)  # 2 s on the way
    with _controller(options) as controller, Ros2Arm(MODEL, options) as arm:
        arm.command(Setpoint(HOME + 0.5, np.zeros(6)))
        _until(lambda: bool(arm.state().positions[0] > 0.02))
        arm.stop(category)
        told = np.array(_stop_of(controller).points[0].positions)
        assert 0.0 < told[0] < 0.45
        _until(lambda: bool(np.all(arm.state().velocities == 0)))
        np.testing.assert_allclose(arm.state().positions, told, atol=1e-9)


def _stop_of(controller: Ros2Controller) -> ros.JointTrajectory:
    """The stop's trajectory, once it is there: the only one with velocities."""
    _until(lambda: bool(controller.accepted and controller.accepted[-1].points[0].velocities))
    return controller.accepted[-1]


def test_the_controllers_own_state_and_a_namespace(options: Ros2Options) -> None:
    own = replace(options, state_source="controller_state", namespace="left", prefix="l_")
    names = ["l_" + name for name in MODEL.joint_names]
    with _controller(options, names, namespace="left"), Ros2Arm(MODEL, own) as arm:
        _reaches(arm, HOME + 0.03)


def test_velocities_need_a_controller_that_allows_them(options: Ros2Options) -> None:
    moving = replace(options, velocities=True)
    setpoint = Setpoint(HOME + 0.01, np.full(6, 0.1))
    with _controller(options) as strict:
        with Ros2Arm(MODEL, moving) as arm:
            arm.command(setpoint)
            _until(lambda: bool(strict.refused))
        assert "not zero" in strict.refused[0]
    with _controller(options, end_velocities=True) as lenient:
        with Ros2Arm(MODEL, moving) as arm:
            arm.command(setpoint)
            _until(lambda: bool(np.allclose(arm.state().positions, HOME + 0.01)))
        assert not lenient.refused
        assert lenient.accepted[0].points[0].velocities == [0.1] * 6


def test_speeds_are_differenced_where_none_are_measured(options: Ros2Options) -> None:
    with (
        _controller(options, velocities=False),
        Ros2Arm(MODEL, replace(options, periods=100)) as arm,
    ):
        np.testing.assert_array_equal(arm.state().velocities, np.zeros(6))
        arm.command(Setpoint(HOME + 0.2, np.zeros(6)))  # within 1 s
        seen: list[ArmState] = []

        def on_the_way() -> bool:
            seen.append(arm.state())
            return bool(HOME[0] + 0.1 < seen[-1].positions[0])

        _until(on_the_way)
        np.testing.assert_allclose(seen[-1].velocities, 0.2, rtol=0.3)


def test_a_missing_joint_is_an_error(options: Ros2Options) -> None:
    with (
        _controller(options, MODEL.joint_names[:-1], HOME[:-1]),
        pytest.raises(DeviceError, match=f"lacks {MODEL.joint_names[-1]}"),
    ):
        Ros2Arm(MODEL, options).connect()


def test_foreign_joints_are_named_in_the_error(options: Ros2Options) -> None:
    short = replace(options, connect_timeout=1.0)
    with (
        _controller(options, ["gripper"], [0.0]),
        pytest.raises(DeviceError, match="it names gripper only"),
    ):
        Ros2Arm(MODEL, short).connect()


def test_nan_in_the_state_is_an_error(options: Ros2Options) -> None:
    broken = [*MODEL.home[:-1], float("nan")]
    with (
        _controller(options, positions=broken),
        pytest.raises(DeviceError, match=r"positions are .*nan.*not measured yet"),
    ):
        Ros2Arm(MODEL, options).connect()


def test_torques_are_read_when_asked_for(options: Ros2Options) -> None:
    with (
        _controller(options),
        pytest.raises(DeviceError, match="0 efforts for 6 joints"),
    ):
        Ros2Arm(MODEL, replace(options, efforts=True)).connect()
    link = _link(options)
    states = link.create_publisher("/joint_states", ros.JointState)
    link.subscribe("/joint_trajectory_controller/joint_trajectory", ros.JointTrajectory, print)
    names, counts = list(MODEL.joint_names), itertools.count(1)

    def send() -> None:
        stamp = ros.Header(ros.Time(next(counts)))
        states.publish(ros.JointState(stamp, names, list(HOME), [0.0] * 6, [1.0, 2, 3, 4, 5, 6]))

    arm = Ros2Arm(MODEL, replace(options, efforts=True))
    with _repeating(send):
        arm.connect()
        assert arm.features.efforts
        np.testing.assert_array_equal(arm.state().efforts, np.arange(1.0, 7.0))
    arm.disconnect()
    link.close()


def test_a_message_repeated_makes_the_state_no_newer(options: Ros2Options) -> None:
    link = _link(options)
    states = link.create_publisher("/joint_states", ros.JointState)
    link.subscribe("/joint_trajectory_controller/joint_trajectory", ros.JointTrajectory, print)
    message = ros.JointState(
        ros.Header(ros.Time(5)), list(MODEL.joint_names), list(HOME), [0.0] * len(HOME)
    )
    arm = Ros2Arm(MODEL, options)
    with _repeating(lambda: states.publish(message)):
        arm.connect()
        first = arm.state().stamp
        with pytest.raises(DeviceError, match="has been silent for"):
            _until(lambda: arm.state().stamp != first)
    arm.disconnect()
    link.close()


def test_what_is_no_state_is_reported_and_forgotten() -> None:
    options = _own("zenoh")
    with _controller(options) as controller, Ros2Arm(MODEL, options) as arm:
        session = controller._link._session  # type: ignore[attr-defined]

        def complaint() -> str:
            session.put("joint_states", b"\0\1\0\0garbage")
            try:
                arm.state()
            except DeviceError as error:
                return str(error)
            return ""

        _until(lambda: "carries what is no JointState" in complaint())

        def well() -> bool:
            try:
                return bool(np.allclose(arm.state().positions, HOME))
            except DeviceError:
                return False

        _until(well)


def test_nobody_there(options: Ros2Options) -> None:
    short = replace(options, connect_timeout=0.3)
    with pytest.raises(DeviceError, match="no state of shoulder_pan_joint.*within 0.3 s"):
        Ros2Arm(MODEL, short).connect()
    arm = Ros2Arm(MODEL, short)
    for call in (arm.state, lambda: arm.command(Setpoint(HOME, HOME)), lambda: arm.stop(2)):
        with pytest.raises(DeviceError, match="not connected"):
            call()
    arm.disconnect()


def test_no_controller_behind_the_states(options: Ros2Options) -> None:
    other = replace(options, controller="arm_controller", connect_timeout=0.7)
    with (
        _controller(options),
        pytest.raises(DeviceError, match="nobody subscribes to /arm_controller/joint_trajectory"),
    ):
        Ros2Arm(MODEL, other).connect()


@contextmanager
def _program(options: Ros2Options) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "robots.emulators.ros2_controller"]
    command += ["--transport", options.transport, "--domain", str(options.domain)]
    command += ["--listen", options.endpoints[0]]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert "Ctrl-C ends" in program.stdout.readline()
            yield program
        finally:
            program.kill()


def test_a_controller_killed_and_started_again(options: Ros2Options) -> None:
    arm = Ros2Arm(MODEL, options)
    with _program(options) as program:
        arm.connect()
        _reaches(arm, HOME + 0.01)
        program.kill()
        program.wait()
        gone = time.monotonic()
        last = arm.state()  # still served, with its old stamp: the bridge judges its age
        assert last.stamp < gone
        with pytest.raises(DeviceError, match="silent for"):
            _until(lambda: arm.state().stamp > gone)
        assert time.monotonic() - last.stamp > options.state_timeout
        with pytest.raises(DeviceError, match="silent for"):
            arm.stop(StopCategory.STOP_AND_HOLD)

    def back() -> bool:
        try:
            return arm.state().stamp > gone
        except DeviceError:
            return False

    with _program(options) as program:
        _until(back)

        def commanded() -> bool:
            try:
                _reaches(arm, HOME + 0.02)
            except DeviceError:
                return False
            return True

        _until(commanded)
        program.terminate()
        assert program.wait(10) == 0
    arm.disconnect()


# ---------------------------------------------------------------- the controller by itself

GOOD = ros.JointTrajectory(
    joint_names=["a", "b"],
    points=[ros.JointTrajectoryPoint([1.0, 2.0], time_from_start=ros.Duration(1))],
)


def _point(**fields: Any) -> ros.JointTrajectory:
    return replace(GOOD, points=[replace(GOOD.points[0], **fields)])


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (GOOD, ""),
        (replace(GOOD, joint_names=["b", "a"]), ""),
        (replace(GOOD, joint_names=["a", "c"]), "not those of the controller"),
        (replace(GOOD, joint_names=["a"]), "not those of the controller"),
        (replace(GOOD, points=[]), "empty"),
        (_point(positions=[1.0]), "2 joints but 1 positions"),
        (_point(positions=[]), "2 joints but 0 positions"),
        (_point(accelerations=[1.0]), "2 joints but 1 accelerations"),
        (_point(velocities=[0.0, 0.1]), "not zero"),
        (_point(velocities=[0.0, 0.0]), ""),
        (replace(GOOD, points=GOOD.points * 2), "do not grow"),
        (replace(GOOD, header=ros.Header(ros.Time(1000))), "in the past"),
        (_point(positions=[float("nan"), 0.0]), ""),
    ],
)
def test_the_controller_refuses_what_ros2_control_refuses(
    message: ros.JointTrajectory, reason: str
) -> None:
    refusal = TrajectoryFollower(["a", "b"], [0.0, 0.0]).find_refusal(message, 0.0)
    assert (reason in refusal) if reason else not refusal


def test_a_refused_message_leaves_the_old_trajectory_running(options: Ros2Options) -> None:
    with _controller(options) as controller, Ros2Arm(MODEL, options) as arm:
        _reaches(arm, HOME + 0.01)
        wrong = Ros2Arm(replace(MODEL, joints=MODEL.joints[:-1], home=MODEL.home[:-1]), options)
        with wrong:
            wrong.command(Setpoint(HOME[:-1] + 1.0, np.zeros(5)))
            _until(lambda: bool(controller.refused))
        np.testing.assert_allclose(arm.state().positions, HOME + 0.01, atol=1e-6)


def test_trajectories_of_several_points_are_interpolated() -> None:
    runs = TrajectoryFollower(["a", "b"], [0.0, 1.0])
    points = [
        ros.JointTrajectoryPoint([1.0, 0.0], time_from_start=ros.Duration(10)),
        ros.JointTrajectoryPoint([1.0, 2.0], time_from_start=ros.Duration(20)),
    ]
    runs.follow_trajectory(
        ros.JointTrajectory(joint_names=["b", "a"], points=points), now := time.monotonic()
    )
    for after, positions, velocities in (
        (0.0, [0.0, 1.0], [0.0, 0.0]),
        (5.0, [0.0, 1.0], [0.0, 0.0]),
        (15.0, [1.0, 1.0], [0.2, 0.0]),
        (25.0, [2.0, 1.0], [0.0, 0.0]),
    ):
        where, moving = runs.sample(now + after)
        np.testing.assert_allclose(where, positions, atol=1e-6)
        np.testing.assert_allclose(moving, velocities, atol=1e-6)


def test_velocities_make_the_path_a_cubic() -> None:
    runs = TrajectoryFollower(["a"], [0.0])
    rest = ros.JointTrajectoryPoint([1.0], [0.0], time_from_start=ros.Duration(2))
    runs.follow_trajectory(
        ros.JointTrajectory(joint_names=["a"], points=[rest]), now := time.monotonic()
    )
    for part in (0.1, 0.5, 0.9):
        where, moving = runs.sample(now + 2 * part)
        assert where[0] == pytest.approx(3 * part**2 - 2 * part**3, abs=1e-6)
        assert moving[0] == pytest.approx((6 * part - 6 * part**2) / 2, abs=1e-6)


# ---------------------------------------------------------------- options and packages


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"transport": "ros1"}, "allowed are"),
        ({"state_source": "tf"}, "allowed are"),
        ({"domain": 233}, "within 0 and 232"),
        ({"transport": "zenoh", "endpoints": ()}, "endpoints is empty"),
        ({"rate": 0.0}, "above 0"),
        ({"state_timeout": float("nan")}, "above 0"),
    ],
)
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Ros2Options(**wrong)


def test_topics_follow_from_the_options() -> None:
    assert Ros2Options().resolve_topics() == (
        "/joint_trajectory_controller/joint_trajectory",
        "/joint_states",
    )
    named = Ros2Options(namespace="/left/", controller="arm", state_source="controller_state")
    assert named.resolve_topics() == ("/left/arm/joint_trajectory", "/left/arm/controller_state")
    assert replace(named, command_topic="/c", state_topic="/s").resolve_topics() == ("/c", "/s")


def test_an_interface_that_is_not_there_is_explained() -> None:
    options = replace(_own("dds"), interface="192.0.2.1")
    with pytest.raises(DeviceError, match=r"joining DDS domain .* on 192\.0\.2\.1 failed"):
        Ros2Arm(MODEL, options).connect()


def test_a_port_in_use_is_explained() -> None:
    options = _own("zenoh")
    link = _link(options)
    with pytest.raises(DeviceError, match="listening at"):
        _link(options)
    link.close()


def test_a_program_that_fails_while_connected_ends() -> None:
    options = _own("zenoh")
    program = f"""
from robots.model import load_model
from robots.ros2 import Ros2Arm, Ros2Options
Ros2Arm(load_model("ur5e"), {options!r}).connect()
raise RuntimeError("the policy failed")
"""
    with _controller(options):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
        )
    assert "the policy failed" in done.stderr


def test_without_zenoh_the_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zenoh", None)
    with pytest.raises(MissingExtraError, match=r"eclipse-zenoh.*embodied-stack\[ros2\]"):
        Ros2Arm(MODEL, _own("zenoh")).connect()


def test_without_dds_the_driver_says_what_to_install() -> None:
    program = """
import sys
sys.modules["cyclonedds"] = None
from embodied.errors import MissingExtraError
from robots.model import load_model
from robots.ros2 import Ros2Arm
try:
    Ros2Arm(load_model("ur5e")).connect()
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "embodied-stack[ros2]" in done.stdout
