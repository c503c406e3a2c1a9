"""Change a task's reward with a Gymnasium wrapper: keep away from walls on the way to the goal.

Takes half a minute. The rollout shows what the wrapper changes: the same planner, with and without.

    python examples/own_reward.py
    python examples/own_reward.py --distance 0.8 --episodes 10
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import gymnasium

import embodied
from embodied.policies import MapPlannerPolicy


class KeepClear(gymnasium.Wrapper):
    """Takes off a penalty wherever the camera sees something nearer than a distance.

    Args:
        env: a task whose observation has "depth".
        distance: below which something is too near [m].
        penalty: per step that is.
    """

    def __init__(self, env: gymnasium.Env, distance: float = 0.5, penalty: float = 0.1) -> None:
        super().__init__(env)
        self.distance, self.penalty = distance, penalty

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step and lay the penalty over the task's own reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        depth = observation["depth"]
        near = bool(((depth > 0) & (depth < self.distance)).any())  # 0: nothing was hit
        reward = float(reward) - self.penalty * near
        return observation, reward, terminated, truncated, {**info, "too_near": near}


def main(argv: Sequence[str] | None = None) -> tuple[float, float]:
    """Return the mean return without and with the penalty."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--distance", type=float, default=0.5)
    parser.add_argument("--episodes", type=int, default=3)
    args = parser.parse_args(argv)

    returns = []
    for distance in (0.0, args.distance):
        task = gymnasium.make(
            "embodied/PointNav-v0",
            scene=embodied.SceneSource(split="val", rooms=(1, 2), textures=False),
            camera=embodied.CameraSpec(outputs=("depth",), width=64, height=64),
        )
        env = KeepClear(task, distance)
        episodes = embodied.evaluate_policy(MapPlannerPolicy(), env, args.episodes, seed=0)
        env.close()
        returns.append(sum(episode["return"] for episode in episodes) / len(episodes))
        print(f"penalty below {distance} m: return {returns[-1]:.2f}")
    return returns[0], returns[1]


if __name__ == "__main__":
    main()
