"""Run stock habitat-lab, its PointNav and its oracle, on our simulator: habitat-sim is not needed.

Takes a minute; needs habitat-lab, which pins old packages and wants an environment of its own:

    python3.11 -m venv habitat-env && habitat-env/bin/pip install "embodied-stack[habitat]"
    habitat-env/bin/python examples/stock_habitat_lab.py
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trimesh

import embodied
from embodied.simulators.habitat import register_with_habitat

register_with_habitat()  # before the first `import habitat`

import habitat  # noqa: E402
from habitat.config.default import get_config  # noqa: E402
from habitat.datasets.pointnav.pointnav_dataset import PointNavDatasetV1  # noqa: E402
from habitat.datasets.pointnav.pointnav_generator import generate_pointnav_episode  # noqa: E402
from habitat.tasks.nav.shortest_path_follower import ShortestPathFollower  # noqa: E402


def write_scene(path: Path) -> None:
    """Write a generated house; Habitat takes a bare glb stage as z up."""
    house = embodied.generate_house(seed=3, rooms=4)
    x, y, z = house.vertices.T
    trimesh.Trimesh(np.stack([x, -z, y], axis=1), house.faces, process=False).export(path)


def main(argv: Sequence[str] | None = None) -> float:
    """Let Habitat's oracle play; return its success rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=3)
    args = parser.parse_args(argv)

    write_scene(Path("house.glb"))
    config = get_config(
        "benchmark/nav/pointnav/pointnav_habitat_test.yaml",
        overrides=[
            "habitat.simulator.type=Embodied-v0",
            "habitat.simulator.scene=house.glb",
            "habitat.dataset.data_path=episodes.json.gz",
            "habitat.dataset.scenes_dir=.",
        ],
    )
    simulator = habitat.sims.make_sim("Embodied-v0", config=config.habitat.simulator)
    dataset = PointNavDatasetV1()
    dataset.episodes = list(
        generate_pointnav_episode(simulator, args.episodes, is_gen_shortest_path=False)
    )
    with gzip.open("episodes.json.gz", "wt") as file:
        file.write(dataset.to_json())

    won = []
    with habitat.Env(config=config) as env:
        oracle = ShortestPathFollower(env.sim, goal_radius=0.2, return_one_hot=False)
        for _ in env.episodes:
            env.reset()
            goal = env.current_episode.goals[0].position
            while not env.episode_over:
                env.step(oracle.get_next_action(goal))
            won.append(env.get_metrics()["success"])
            print(env.get_metrics())
    return float(np.mean(won))


if __name__ == "__main__":
    main()
