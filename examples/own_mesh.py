"""Explore a mesh of your own: walkable area, a shortest path, and an agent that maps the place.

Takes half a minute, most of it compiling on the first run.

    python examples/own_mesh.py                 write a small flat and explore it
    python examples/own_mesh.py my_flat.glb     explore yours (in metres, y up)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import gymnasium
import numpy as np
import trimesh

import embodied
from embodied.policies import FrontierPolicy


def write_flat(path: Path) -> None:
    """Write two rooms with a doorway between them."""
    boxes = {  # size and centre [m]; y points up
        "floor": ((8.0, 0.1, 5.0), (0.0, -0.05, 0.0)),
        "north": ((8.0, 2.5, 0.1), (0.0, 1.25, -2.5)),
        "south": ((8.0, 2.5, 0.1), (0.0, 1.25, 2.5)),
        "west": ((0.1, 2.5, 5.0), (-4.0, 1.25, 0.0)),
        "east": ((0.1, 2.5, 5.0), (4.0, 1.25, 0.0)),
        "divider": ((0.1, 2.5, 3.6), (0.5, 1.25, -0.7)),
        "table": ((1.4, 0.8, 0.8), (-2.0, 0.4, 0.5)),
    }
    flat = trimesh.Scene()
    for name, (size, centre) in boxes.items():
        place = trimesh.transformations.translation_matrix(centre)
        flat.add_geometry(trimesh.creation.box(size, place), node_name=name, geom_name=name)
    flat.export(path)


def main(argv: Sequence[str] | None = None) -> float:
    """Explore the mesh and return the share of the floor that was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mesh", type=Path, nargs="?", default=Path("flat.glb"))
    parser.add_argument("--steps", type=int, default=150)
    args = parser.parse_args(argv)
    if not args.mesh.exists() and args.mesh.name == "flat.glb":
        write_flat(args.mesh)

    paths = embodied.Simulator(args.mesh).pathfinder
    start, goal = paths.sample_points(np.random.default_rng(0), 2, island=paths.largest_island)
    print(f"{paths.navigable_area:.1f} m2 can be walked on, {len(paths.floors)} floor(s)")
    length = paths.geodesic_distance(start, [goal])[0]
    print(f"from {start.round(1)} to {goal.round(1)} it is {length:.1f} m")

    env = gymnasium.make(
        "embodied/Explore-v0",
        scene=embodied.SceneSource(files=(str(args.mesh),)),
        camera=embodied.CameraSpec(outputs=("depth",)),
        max_steps=args.steps,
    )
    (episode,) = embodied.evaluate_policy(FrontierPolicy(), env, episodes=1)
    env.close()
    print(f"explored {episode['coverage']:.0%} in {episode['length']:.0f} steps")
    return episode["coverage"]


if __name__ == "__main__":
    main()
