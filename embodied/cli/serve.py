"""`embodied serve`: answer observations with actions over the network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from embodied.cli.options import command

TEXT = """\
Serve a policy over a websocket that openpi's client understands, too. Listens on this machine only,
unless --host says otherwise, and then wants a key. GET /healthz and /metrics on the same port.

examples:
  embodied serve runs/pointnav_ppo                   a trained policy
  embodied serve reach --robot fr3_twin              the scripted policy of an arm
  embodied serve runs/x --host 0.0.0.0 --key-file key.txt --certificate c.pem --private-key k.pem"""


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "serve", "serve a policy over the network", TEXT, run)
    parser.add_argument("what", metavar="RUN|reach", help="folder of a trained policy, or: reach")
    parser.add_argument("--robot", metavar="NAME", help="whose arm the scripted policy is for")
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
    from embodied.serving.config import ServerConfig
    from embodied.serving.server import PolicyServer

    config = ServerConfig(
        host=args.host,
        port=args.port,
        api_key=read_key(args.key_file),
        certificate=args.certificate,
        private_key=args.private_key,
        deadline=args.deadline,
    )
    with PolicyServer(open_served(args.what, args.robot), config) as server:
        print(f"serving {args.what} at {server.uri}; stop with Ctrl-C", flush=True)
        server.wait()
    return 0


def read_key(file: Path | None) -> str:
    """Return the key in a file, "" without one.

    Raises:
        ConfigError: unreadable or empty.
    """
    from embodied.errors import ConfigError

    if file is None:
        return ""
    try:
        key = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"cannot read the key from {file}: {error}") from error
    if not key:
        raise ConfigError(f"{file} is empty: put a long random word in it (openssl rand -hex 32)")
    return key


def open_served(what: str, robot: str | None) -> Any:
    """Load a policy that can be served.

    Raises:
        ConfigError: "reach" without a robot.
        CheckpointError: no usable checkpoint.
    """
    from embodied.errors import ConfigError

    if what == "reach":
        from embodied.policies.reach import ReachPolicy
        from robots.cell import open_cell

        if not robot:
            raise ConfigError("serve reach: say for which arm, e.g. --robot fr3_twin")
        return ReachPolicy(open_cell(robot).model.home)
    from embodied.serving.checkpoint import ServedCheckpoint
    from embodied.training.checkpoint import load_policy, open_checkpoint

    name = str(open_checkpoint(what).meta.get("policy", ""))
    return ServedCheckpoint(load_policy(what), {"policy": name, "checkpoint": what})
