"""A whole data folder in miniature, in the released formats: one scan, five viewpoints.

Seen from above (the files' y is north, metres):        e (3, 8)
                                                        d (3, 4)
                                        a (0, 0)        b (3, 0)        c (6, 0)
with ways a-b, b-c, b-d, d-e; f is there but not included in the graph.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embodied.tasks.vln.batch import VLNBatch
from embodied.tasks.vln.config import VLNConfig

SCAN = "tiny"
POINTS = {"a": (0, 0), "b": (3, 0), "c": (6, 0), "d": (3, 4), "e": (3, 8), "f": (9, 0)}
WAYS = ("ab", "bc", "bd", "de")


def connectivity() -> list[dict[str, Any]]:
    names = list(POINTS)
    entries = []
    for name, (x, y) in POINTS.items():
        pose = np.eye(4)
        pose[:3, 3] = x, y, 1.5
        open_to = [name + other in WAYS or other + name in WAYS for other in names]
        entries.append(
            {
                "image_id": name, "pose": pose.reshape(-1).tolist(), "included": name != "f",
                "visible": open_to, "unobstructed": open_to, "height": 1.5,
            }
        )  # fmt: skip
    return entries


def boxes() -> dict[str, dict[str, Any]]:
    """Chair 1 is seen from c, d and e; lamp 2 from c; wall 3 from c; plant 4 is occluded at c.

    At c the chair is straight ahead in view 15 (heading 90 deg, level).
    """
    chair = {"name": "arm#chair", "visible_pos": [15], "bbox2d": [[280, 200, 80, 80]]}
    return {
        "a": {},
        "b": {},
        "c": {
            "1": chair,
            "2": {"name": "lamp", "visible_pos": [12], "bbox2d": [[300, 100, 20, 40]]},
            "3": {"name": "wall", "visible_pos": [18], "bbox2d": [[0, 0, 640, 480]]},
            "4": {"name": "plant", "visible_pos": [], "bbox2d": []},
        },
        "d": {"1": {**chair, "visible_pos": [20]}},
        "e": {"1": {**chair, "visible_pos": [18]}},
    }


CATEGORIES = (
    ("arm chair", "chair"), ("lamp", "lighting"), ("wall", "wall"), ("plant", "plant"),
)  # fmt: skip


def corner(heading: float, elevation: float) -> dict[str, float]:
    return {"heading": heading, "elevation": elevation}


def outline(heading: float, elevation: float, half: float) -> dict[str, dict[str, float]]:
    """SOON's target: four corners and the centre, headings in [0, 2 pi)."""
    left, right = (heading - half) % (2 * np.pi), (heading + half) % (2 * np.pi)
    up, down = elevation + half, elevation - half
    return {
        "center": corner(heading % (2 * np.pi), elevation),
        "left_top": corner(left, up), "right_top": corner(right, up),
        "right_bottom": corner(right, down), "left_bottom": corner(left, down),
    }  # fmt: skip


def soon_box(viewpoint: str, heading: float, elevation: float = 0.0, half: float = 0.2) -> dict:
    return {
        "scan": SCAN, "image_id": viewpoint, "obj_name": "arm chair", "heading": heading,
        "elevation": elevation, "target": outline(heading, elevation, half),
    }  # fmt: skip


def five(text: str) -> list[str]:
    return ["a brown chair", "beside a lamp", "in the study", "next to the hall", text]


def write_tiny(root: Path) -> Path:
    write(root / "connectivity" / f"{SCAN}_connectivity.json", connectivity())
    for viewpoint, listed in boxes().items():
        write(root / "BBox" / f"{SCAN}_{viewpoint}.json", {viewpoint: listed})
    lines = ["index\traw_category\tmpcat40"]
    lines += [f"{i}\t{raw}\t{kind}" for i, (raw, kind) in enumerate(CATEGORIES)]
    (root / "category_mapping.tsv").write_text("\n".join(lines) + "\n")
    route = {
        "path_id": 7, "scan": SCAN, "heading": 1.0, "path": ["a", "b", "d"], "distance": 7.0,
        "instructions": ["Walk on, then turn left. ", "Go  to the middle."],
    }  # fmt: skip
    start = {k: v for k, v in route.items() if k != "distance"} | {"path": ["a"]}
    write(root / "r2r" / "R2R_val_unseen.json", [route])
    write(root / "r2r" / "R2R_test.json", [start])
    remote = {
        "id": "7_1", "scan": SCAN, "heading": 0.5, "path": ["a", "b", "c"], "objId": 1,
        "path_id": 7, "instructions": ["Sit down on the chair"],
    }  # fmt: skip
    write(root / "reverie" / "v2" / "REVERIE_val_unseen.json", [remote])
    hidden = {k: v for k, v in remote.items() if k not in ("objId", "path_id")}
    write(root / "reverie" / "v2" / "REVERIE_test.json", [hidden | {"id": "7", "path": ["a"]}])
    described = {
        "path": [["a", "b", "c"], ["e", "d", "b", "c"]], "scan": SCAN,
        "bboxes": [soon_box("c", np.pi / 2), soon_box("d", 0.05)],
        "instructions": [five("A brown chair beside a lamp in the study")],
    }  # fmt: skip
    write(root / "SOON" / "val_unseen_house.json", [described])
    return root


def write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    """Change a file's content in place."""
    content = json.loads(file.read_text())
    change(content)
    write(file, content)


def make(root: Path, dataset: str = "reverie", num: int = 1, **settings: Any) -> VLNBatch:
    batch = VLNBatch(VLNConfig(dataset=dataset, data=str(root), **settings), num)
    batch.begin_episodes(range(num), [0] * num)
    return batch


def walk_to(batch: VLNBatch, *names: str, row: int = 0) -> None:
    """Walk one agent over named places; the others stay where they can: forth and back."""
    for name in names:
        world = batch.worlds["tiny"]
        near = batch.observe([row])["candidates"][0]
        move = int(np.flatnonzero(near == world.get_place_index(name))[0]) + 1
        batch.step(np.array([[move, 0]]))
