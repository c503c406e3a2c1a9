"""`embodied deploy`: let a policy drive an arm, through the guard."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from embodied.cli.options import add_command, print_table

TEXT = """\
Run a policy on an arm. Every command passes the guard: limits, workspace, speed of the tool, age.
What happens is recorded, refused commands and their reasons included. Ctrl-C, SIGTERM, an exception
or the death of any process involved stop the arm.

This is NOT a safety function: keep the emergency stop in reach and the maker's limits on.

examples:
  embodied deploy --robot fr3_twin --policy reach                 an FR3 in PyBullet
  embodied deploy --robot fr3_sim --policy reach --seconds 20     behind Franka's own protocol
  embodied deploy --robot my_so101.yaml --policy ws://10.0.0.5:8000 --key-file key.txt
  embodied deploy --robot so101 --policy reach --record runs/first
  embodied deploy --robot so101 --replay runs/first               the same motion once more
  embodied deploy --robot fr3_twin --policy reach --view 8080     watch and hold it in a browser
  embodied deploy --robot panda_table --policy runs/sc_vla_pick --sensors tabletop \\
      --prompt 'pick up the red cube and hold it at the green ball'
  embodied deploy --robot fr3_sim --policy runs/reach --sensors tabletop --go-to-start \\
      --prompt 'move the gripper to the green ball' sensors.task=reach sensors.seed=3"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "deploy", "let a policy drive an arm", TEXT, run)
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="laid over the robot's recipe"
    )
    parser.add_argument("--robot", required=True, metavar="NAME|FILE", help="recipe of the arm")
    driver = parser.add_mutually_exclusive_group()
    driver.add_argument(
        "--policy", default="reach", metavar="WHAT", help="ws://HOST:PORT, a run folder, or: reach"
    )
    driver.add_argument("--replay", type=Path, metavar="DIR", help="do what was recorded here")
    parser.add_argument("--prompt", default="", help="the instruction")
    parser.add_argument(
        "--sensors",
        metavar="MODULE:FUNCTION",
        help="makes what gives {'observation/NAME': image} of a state, from the arm's driver, its "
        "model and the recipe's sensors; tabletop: pictures of a simulated table with the arm",
    )
    parser.add_argument(
        "--go-to-start", action="store_true", help="first go to where the policy learned to begin"
    )
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="how long")
    parser.add_argument("--record", type=Path, metavar="DIR", help="record here; must not exist")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="key for the policy server")
    parser.add_argument(
        "--view", nargs="?", type=int, const=0, metavar="PORT", help="live view in a browser"
    )


def run(args: argparse.Namespace) -> int:
    """Open everything, run in a supervised child, say how it went."""
    from embodied.files import require_writable
    from robots.robot_config import load_robot
    from robots.supervisor import supervise_process

    cell = load_robot(args.robot, args.overrides)  # errors in the recipe before anything is started
    if args.record:
        require_writable(args.record.parent)

    def rescue() -> None:
        _rescue(cell)

    return supervise_process(lambda pulse: _guarded(lambda: _deploy(args, cell, pulse)), rescue)


def _guarded(work: Callable[[], int]) -> int:
    """Turn an error of ours into one line, as the command line does; the child has no other."""
    import sys

    from embodied.errors import EmbodiedError

    try:
        return work()
    except EmbodiedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _deploy(args: argparse.Namespace, cell: Any, pulse: Callable[[bool], None]) -> int:
    from robots.bridge import Bridge
    from robots.state_machine import BridgeState

    with ExitStack() as stack:
        drive = stack.enter_context(_driver(args))
        arm = stack.enter_context(cell.open_arm())
        sensors = _sensors(args.sensors, arm, cell)
        log = stack.enter_context(_recorder(args, cell)) if args.record else None
        bridge = stack.enter_context(Bridge(arm, cell.model, cell.safety, log, pulse=pulse))
        if args.view is not None:
            from embodied.viz.robot_twin import serve_view

            page = stack.enter_context(serve_view(bridge, cell, args.view))
            print(f"live view: {page.url}", flush=True)
        print(f"{args.robot} connected", flush=True)
        ended = drive(bridge, sensors)
        status = bridge.get_status()
    rows = sorted((name, str(count)) for name, count in status.verdict_counts.items())
    print_table(("commands", "count"), rows)
    print(ended)
    well = status.state is not BridgeState.FAULT
    return 0 if (_recorded(log, cell, arm.features.rate) if log else True) and well else 1


@contextmanager
def _driver(args: argparse.Namespace) -> Iterator[Callable[[Any, Any], str]]:
    """Give what drives a bridge, with what sees beside the arm, and then says how it went."""
    if args.replay:
        from robots.episode import read_episode
        from robots.replay import replay_episode

        episode = read_episode(args.replay)
        yield (
            lambda bridge, _: (
                f"{replay_episode(bridge, episode)} setpoints of {args.replay} made again"
            )
        )
        return
    from robots.rollout import (
        RolloutConfig,
        move_to_joints,
        read_start,
        require_arm,
        run_policy,
    )

    def drive(bridge: Any, sensors: Any) -> str:
        require_arm(metadata, bridge.device.features.model)
        if args.go_to_start:
            move_to_joints(bridge, read_start(metadata))
        config = RolloutConfig.from_metadata(metadata, args.prompt)
        print(f"{args.policy} drives it for {args.seconds} s", flush=True)
        outcome = run_policy(bridge, infer, config, args.seconds, sensors)
        verdict = getattr(sensors, "verdict", "")
        ended = f"ended after {outcome.seconds:.1f} s: {outcome.end_reason}"
        return f"{ended}\n{verdict}" if verdict else ended

    with _policy(args) as (infer, metadata):
        yield drive


@contextmanager
def _policy(args: argparse.Namespace) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Give what answers observations, and what it says of itself."""
    from embodied.cli.serve import open_served_policy
    from embodied.serving.client import PolicyClient
    from embodied.serving.config import read_key

    if args.policy.startswith(("ws://", "wss://")):
        with PolicyClient(args.policy, read_key(args.key_file)) as client:
            client.connect(10.0)
            yield client.infer, client.metadata
        return
    served = open_served_policy(args.policy, args.robot)

    def infer(observation: Any, *, observed_at: float) -> Any:
        return served.infer(dict(observation))

    yield infer, served.metadata


def _sensors(name: str | None, arm: Any, cell: Any) -> Any:
    """Make what sees beside the arm; what takes long to open is open before the bridge runs.

    Raises:
        ConfigError: nothing of that name, or wrong settings.
    """
    from embodied import registry

    if name is None:
        return None
    return registry.resolve("sensors", name)(arm, cell.model, cell.config.sensors)


def _recorder(args: argparse.Namespace, cell: Any) -> Any:
    from robots.episode import RecordingOrigin
    from robots.recorder import Recorder

    return Recorder(args.record, RecordingOrigin.describe_arm(args.robot, cell.model, cell.safety))


def _recorded(recorder: Any, cell: Any, rate: float) -> bool:
    """Say where the recording is and whether it kept every limit, by a second opinion."""
    from robots.audit import audit_episode
    from robots.episode import read_episode

    print(f"recorded in {recorder.path}" + (f": {recorder.problem}" if recorder.problem else ""))
    found = audit_episode(read_episode(recorder.path), cell.model, cell.safety, rate)
    print(found)
    return not found.findings


def _rescue(cell: Any) -> None:
    """Stop the arm through a new connection: the process that moved it was killed."""
    import sys

    from robots.arm import StopCategory
    from robots.errors import DeviceError

    print("error: the process that moved the arm was killed; stopping the arm", file=sys.stderr)
    if cell.config.emulator:
        return  # it died with that process
    try:
        with cell.open_arm() as arm, arm:
            arm.stop(StopCategory.STOP_THEN_POWER_OFF)
    except DeviceError as error:
        print(f"error: {error}. USE THE EMERGENCY STOP", file=sys.stderr)
