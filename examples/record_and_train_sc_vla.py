"""Record demonstrations of an arm, train SC-VLA on them, and play what it learned.

Takes two minutes as it stands; needs pip install "embodied-stack[train,bullet,lerobot-export]". The
network is tiny and so is its success: for a policy that works, `embodied train manip/sc_vla_pick`.

    python examples/record_and_train_sc_vla.py
    python examples/record_and_train_sc_vla.py --episodes 150 --steps 3000 --size 96
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import embodied
from embodied.tasks.datasets.lerobot import read_dataset
from embodied.tasks.tabletop import TabletopConfig, TabletopVectorEnv
from embodied.training.manipulation.config import (
    DemonstrationConfig,
    ManipulationLoop,
    ManipulationTraining,
)
from embodied.training.manipulation.recording import record_demonstrations
from embodied.training.manipulation.trainer import train


def main(argv: Sequence[str] | None = None) -> float:
    """Record, train, play; return the success rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=20, help="demonstrations")
    parser.add_argument("--steps", type=int, default=100, help="of the gradient")
    parser.add_argument("--size", type=int, default=48, help="of both images [pixels]")
    parser.add_argument("--run", type=Path, default=Path("runs/sc_vla_reach"))
    args = parser.parse_args(argv)

    task = TabletopConfig(task="reach", observation="rgb", width=args.size, height=args.size)
    demonstrations = DemonstrationConfig(folder="demos", episodes=args.episodes)
    folder = record_demonstrations(task, demonstrations, Path("demos/reach"))
    data = read_dataset(folder)
    print(f"{len(data.episodes)} episodes, {len(data.columns['action'])} steps in {folder}")

    loop = ManipulationLoop(
        steps=args.steps, log_every=10, validate_every=args.steps, validate_episodes=4
    )
    config = ManipulationTraining(
        tasks=("reach",), task=task, demonstrations=demonstrations, train=loop
    )
    train(config, args.run)

    policy = embodied.load_policy(args.run)
    env = TabletopVectorEnv(4, task)
    episodes = embodied.evaluate_policy(policy, env, episodes=8, seed=0)
    env.close()
    success = sum(episode["success"] for episode in episodes) / len(episodes)
    print(f"success {success:.0%}. More episodes: embodied eval {args.run}")
    return success


if __name__ == "__main__":
    main()
