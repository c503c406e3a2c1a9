"""`embodied serve`: answer observations with actions over the network."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodied.cli.options import add_command

TEXT = """\
Serve a policy over a websocket that openpi's client understands, too. Listens on this machine only,
unless --host says otherwise, and then wants a key. GET /healthz and /metrics on the same port.

examples:
  embodied serve runs/pointnav_ppo                   a trained policy
  embodied serve reach --robot fr3_twin              the scripted policy of an arm
  embodied serve runs/sc_vla_pick --robot fr3_twin   joint angles for that arm, from its cameras
  embodied serve runs/x --host 0.0.0.0 --key-file key.txt --certificate c.pem --private-key k.pem"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "serve", "serve a policy over the network", TEXT, run)
    parser.add_argument("what", metavar="RUN|reach", help="folder of a trained policy, or: reach")
    parser.add_argument(
        "--robot", metavar="NAME|FILE", help="whose arm it is for; the one it was trained on"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="clients must send the key in this file"
    )
    parser.add_argument("--certificate", type=Path, metavar="PEM", help="speak TLS")
    parser.add_argument("--private-key", type=Path, metavar="PEM", help="of the certificate")
    parser.add_argument("--deadline", type=float, default=10.0, metavar="S", help="of one request")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from embodied.serving.config import ServerConfig, read_key
    from embodied.serving.server import PolicyServer

    config = ServerConfig(
        host=args.host,
        port=args.port,
        api_key=read_key(args.key_file),
        certificate=args.certificate,
        private_key=args.private_key,
        deadline=args.deadline,
    )
    with PolicyServer(open_served_policy(args.what, args.robot), config) as server:
        print(f"serving {args.what} at {server.uri}; stop with Ctrl-C", flush=True)
        server.wait()
    return 0


def open_served_policy(what: str, robot: str | None) -> Any:
    """Load a policy that can be served.

    Args:
        what: "reach" or the folder of a trained policy.
        robot: recipe of the arm it is for; None: the one it was trained on.

    Raises:
        ConfigError: "reach" without a robot, or a robot that the policy's tool cannot be put on.
        CheckpointError: no usable checkpoint.
    """
    from embodied.errors import ConfigError

    if what == "reach":
        from embodied.policies.chunk.reach import ReachPolicy
        from robots.robot_config import load_robot

        if not robot:
            raise ConfigError("serve reach: say for which arm, e.g. --robot fr3_twin")
        return ReachPolicy(load_robot(robot).model.home)
    from embodied.policies.chunk.base import ChunkPolicy
    from embodied.serving.arm_policy import ServedArmPolicy
    from embodied.serving.checkpoint import ServedCheckpoint
    from embodied.training.checkpoint import load_policy, open_checkpoint

    checkpoint, policy = open_checkpoint(what), load_policy(what)
    if isinstance(policy, ChunkPolicy):
        space, arm = None, ""
        if policy.inputs.control == "ee_delta":
            space, arm = _tool_space(checkpoint.load_config(), robot)
        return ServedArmPolicy(policy, space, {"checkpoint": what, "arm": arm})
    name = str(checkpoint.meta.get("policy", ""))
    return ServedCheckpoint(policy, {"policy": name, "checkpoint": what})


def _tool_space(tree: Mapping[str, Any], robot: str | None) -> tuple[Any, str]:
    """Return what turns tool motions into joint angles, and the model of the arm it does it for."""
    from embodied import config
    from embodied.errors import ConfigError, suggest_nearest
    from embodied.simulators.bullet import RIGS, Rig
    from embodied.simulators.bullet.tool_space import ToolSpace
    from embodied.tasks.tabletop import TabletopConfig
    from robots.robot_config import load_robot

    task = config.build(TabletopConfig, tree.get("task", {}), source="config.yaml")
    rigs = {spec.model: name for name, spec in RIGS.items()}
    model = load_robot(robot).model.name if robot else RIGS[task.robot].model
    if model not in rigs:
        raise ConfigError(
            f"the policy moves the tool, and where that is on '{model}' is not known: "
            f"{suggest_nearest(model, rigs)}; add a row to RIGS "
            f"(embodied/simulators/bullet/rigs.py)"
        )
    return ToolSpace(Rig(rigs[model]), task.position_step, task.rotation_step), model
