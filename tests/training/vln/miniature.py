"""A data folder in REVERIE's released formats: three scans of 3 x 4 viewpoints, an object at some.

Every target is seen from one viewpoint only, beside another object; an instruction names it. Made
to be learnt quickly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

SCANS = ("alpha", "beta", "gamma")
COLUMNS, ROWS, SPACING = 4, 3, 3.0
KINDS = (
    ("arm chair", "chair"), ("lamp", "lighting"), ("plant", "plant"), ("bed", "bed"),
    ("sink", "sink"), ("mirror", "mirror"),
)  # fmt: skip
PLACES = tuple(f"{chr(97 + x)}{y}" for y in range(ROWS) for x in range(COLUMNS))


def joined(a: str, b: str) -> bool:
    return abs(ord(a[0]) - ord(b[0])) + abs(int(a[1]) - int(b[1])) == 1


def objects_of(scan: str) -> dict[str, int]:
    """Viewpoint -> number of the kind that stands there."""
    rng = np.random.default_rng(SCANS.index(scan))
    spots = rng.choice(len(PLACES), len(KINDS), replace=False)
    return {PLACES[spot]: kind for kind, spot in enumerate(spots)}


def way(a: str, b: str) -> list[str]:
    """Along the row first, then along the column: a shortest way on the grid."""
    path = [a]
    while path[-1] != b:
        x, y = ord(path[-1][0]), int(path[-1][1])
        dx, dy = np.sign(ord(b[0]) - x), np.sign(int(b[1]) - y)
        path.append(f"{chr(x + dx)}{y}" if dx else f"{chr(x)}{y + dy}")
    return path


def episodes(scan: str, starts: int) -> list[dict[str, Any]]:
    found = []
    for spot, kind in objects_of(scan).items():
        far = sorted(PLACES, key=lambda p: -len(way(p, spot)))  # noqa: B023 - used at once
        for number, start in enumerate(far[:starts]):
            found.append(
                {
                    "id": f"{SCANS.index(scan)}{kind}{number}_{kind + 1}", "scan": scan,
                    "heading": 0.5 * number, "path": way(start, spot), "objId": kind + 1,
                    "path_id": number,
                    "instructions": [f"Go and clean the {KINDS[kind][0]}"],
                }
            )  # fmt: skip
    return found


def write_miniature(root: Path, starts: int = 4) -> Path:
    """Write the folder and return it."""
    for scan in SCANS:
        entries = []
        for name in PLACES:
            pose = np.eye(4)
            pose[:3, 3] = (ord(name[0]) - 97) * SPACING, int(name[1]) * SPACING, 1.5
            near = [joined(name, other) for other in PLACES]
            entries.append(
                {
                    "image_id": name, "pose": pose.reshape(-1).tolist(), "included": True,
                    "visible": near, "unobstructed": near, "height": 1.5,
                }
            )  # fmt: skip
        _write(root / "connectivity" / f"{scan}_connectivity.json", entries)
        for name in PLACES:
            kind = objects_of(scan).get(name)
            seen = {}
            if kind is not None:
                box = {"name": KINDS[kind][0].replace(" ", "#"), "visible_pos": [12 + 2 * kind]}
                seen[str(kind + 1)] = box | {"bbox2d": [[250, 180, 140, 120]]}
                beside = KINDS[(kind + 1) % len(KINDS)][0].replace(" ", "#")
                other = {"name": beside, "visible_pos": [13 + 2 * kind]}
                seen[str(kind + 11)] = other | {"bbox2d": [[300, 200, 60, 60]]}
            _write(root / "BBox" / f"{scan}_{name}.json", {name: seen})
    lines = ["index\traw_category\tmpcat40"]
    lines += [f"{i}\t{raw}\t{kind}" for i, (raw, kind) in enumerate(KINDS)]
    (root / "category_mapping.tsv").write_text("\n".join(lines) + "\n")
    train = [e for scan in SCANS for e in episodes(scan, starts)]
    _write(root / "reverie" / "v2" / "REVERIE_train.json", train)
    _write(root / "reverie" / "v2" / "REVERIE_val_unseen.json", episodes("gamma", 2))
    return root


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
