"""Trajectories in the form the test servers of R2R and REVERIE take.

Both want a JSON list with one entry per instruction: "instr_id" and "trajectory", a list of
[viewpoint, heading, elevation]; REVERIE also "predObjId", the object named. R2R: the evaluation
script of the Matterport3D simulator; REVERIE: that of github.com/YuankaiQi/REVERIE.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import NavigationError
from embodied.files import write_text
from embodied.simulators.graph import GraphWorld
from embodied.tasks.vln.episodes import VLNEpisode
from embodied.tasks.vln.observations import compute_headings


def build_entry(
    episode: VLNEpisode, world: GraphWorld, walk: Sequence[int], answer: int | None = None
) -> dict[str, Any]:
    """Return the entry of one episode.

    Args:
        episode: what was asked.
        world: where.
        walk: the places visited, the start first.
        answer: id of the object named, -1 for none; None for data sets without objects (R2R).

    Raises:
        NavigationError: a walk that does not begin at the start, or jumps.
    """
    if not walk or walk[0] != episode.start:
        raise NavigationError(f"the walk of episode '{episode.id}' must begin at its start")
    for here, after in pairwise(walk):
        if after not in world.neighbours[here]:
            raise NavigationError(
                f"the walk of episode '{episode.id}' jumps from '{world.places[here]}' to "
                f"'{world.places[after]}': a server counts every viewpoint on the way, so list them"
            )
    facing = [episode.heading, *compute_headings(np.diff(world.positions[list(walk)], axis=0))]
    rows = [[world.places[p], round(h, 4), 0.0] for p, h in zip(walk, facing, strict=True)]
    found: dict[str, Any] = {"instr_id": episode.id, "trajectory": rows}
    if answer is not None:
        found["predObjId"] = answer if answer >= 0 else None
    return found


def write_submission(path: str | Path, entries: Iterable[dict[str, Any]]) -> None:
    """Write entries as the servers' JSON list, each instruction once.

    Raises:
        NavigationError: an instruction with two entries.
    """
    listed = list(entries)
    seen = set()
    for one in listed:
        if one["instr_id"] in seen:
            raise NavigationError(f"two entries for instruction '{one['instr_id']}'")
        seen.add(one["instr_id"])
    write_text(path, json.dumps(listed))
