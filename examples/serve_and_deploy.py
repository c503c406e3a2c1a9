"""Serve a policy over a websocket and let it drive an arm through the guard.

Takes 15 seconds; needs pip install "embodied-stack[bullet]". The arm is a Franka FR3 in PyBullet:
with `--robot my_cell.yaml` the same lines drive a real one (read docs/safety.md first). Server and
arm run in one program here; on two computers they are `embodied serve` and `embodied deploy`.

    python examples/serve_and_deploy.py
    python examples/serve_and_deploy.py --seconds 30
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embodied.serving.client import PolicyClient
from embodied.serving.config import ServerConfig
from embodied.serving.server import PolicyServer
from robots import Bridge, RolloutConfig, load_robot, run_policy


class SwayPolicy:
    """Moves every joint to and fro about where it starts: chunks of joint angles, 20 a second."""

    metadata: Mapping[str, Any] = {"policy": "sway", "period": 0.05, "action_size": 7}  # noqa: RUF012

    def __init__(self, home: Sequence[float]) -> None:
        self.home, self.step = np.asarray(home), 0

    def infer(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Return "actions" (20, 7) [rad], from the joints in "observation/state" on."""
        now = np.asarray(observation["observation/state"])[:7]
        self.step += 1
        aim = self.home + 0.1 * np.sin(0.5 * self.step + np.arange(7))
        return {"actions": np.linspace(now, aim, 21)[1:]}


def main(argv: Sequence[str] | None = None) -> dict[str, int]:
    """Drive the arm and return how many commands were allowed, clipped and refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robot", default="fr3_twin", help="a recipe of 7 joints")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="over the recipe")
    args = parser.parse_args(argv)

    cell = load_robot(args.robot, args.overrides)
    with (
        PolicyServer(SwayPolicy(cell.model.home), ServerConfig(port=0)) as server,
        PolicyClient(server.uri) as client,
        cell.open_arm() as arm,
        Bridge(arm, cell.model, cell.safety) as bridge,
    ):
        config = RolloutConfig.from_metadata(client.connect(timeout=10.0))
        result = run_policy(bridge, client.infer, config, args.seconds)
        counts = dict(bridge.get_status().verdict_counts)
    print(
        f"{server.uri}: {result.commands} commands in {result.seconds:.1f} s, {result.end_reason}"
    )
    print(counts)
    return counts


if __name__ == "__main__":
    main()
