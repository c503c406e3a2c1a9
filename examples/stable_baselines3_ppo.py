"""Train PPO of Stable-Baselines3 on an arm: our environments are plain Gymnasium ones.

Takes two minutes; needs pip install "embodied-stack[train,bullet,examples]". The policy sees the
tool and the goal, no images. In the navigation tasks, `info["episode"]` is the episode's number, a
name that Stable-Baselines3 keeps for itself: drop it in a wrapper there.

    python examples/stable_baselines3_ppo.py
    python examples/stable_baselines3_ppo.py --steps 300000
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import gymnasium
import numpy as np
from gymnasium.wrappers import FilterObservation
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import embodied  # noqa: F401  (registers the environments)


def make_env() -> gymnasium.Env:
    """Return the task of bringing the tool to a ball, without its instruction in words."""
    env = gymnasium.make("embodied/PandaReach-v0", privileged=True)
    return FilterObservation(env, ("state", "objects"))


def main(argv: Sequence[str] | None = None) -> float:
    """Train and return the mean return of some episodes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--envs", type=int, default=4)
    parser.add_argument("--episodes", type=int, default=10)
    args = parser.parse_args(argv)

    envs = make_vec_env(make_env, n_envs=args.envs, seed=0)
    model = PPO("MultiInputPolicy", envs, n_steps=128, batch_size=128, seed=0, verbose=1)
    model.learn(args.steps)
    model.save("ppo_reach")
    returns, _ = evaluate_policy(
        model, envs, n_eval_episodes=args.episodes, return_episode_rewards=True
    )
    envs.close()
    print(f"return {np.mean(returns):.2f} +- {np.std(returns):.2f}; saved in ppo_reach.zip")
    return float(np.mean(returns))


if __name__ == "__main__":
    main()
