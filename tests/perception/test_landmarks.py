"""Object words of instructions."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from embodied.categories import SOS_CATEGORIES, SOS_INDEX
from embodied.errors import ConfigError
from embodied.perception.landmarks import find_landmarks, find_target_landmark


def names(text: str) -> list[tuple[str, str]]:
    return [(mark.word, SOS_CATEGORIES[mark.row]) for mark in find_landmarks(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Close the kitchen cabinets.", [("kitchen cabinets", "cabinet")]),
        ("Two beds and a chest of drawers", [("beds", "bed"), ("chest of drawers",) * 2]),
        ("empty the toilet paper roll by the TV", [("tv", "tv_monitor")]),
        ("Go to the bedroom and dust off the light blue vase", []),
        ("benches, shelves; LAMPS", [("benches", "seating"), ("shelves", "shelving"),
                                     ("lamps", "lighting")]),
        ("", []),
    ],
)  # fmt: skip
def test_the_longest_name_wins(text: str, expected: list[tuple[str, str]]) -> None:
    wanted = [(w, c.replace(" ", "_")) for w, c in expected]
    assert names(text) == wanted


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Go to the room with the bed and close the window next to the mirror", "window"),
        ("Stop next to the red chair by the window", "chair"),
        ("Walk past the sofa. Bring me the towel that hangs by the sink", "towel"),
        ("the lamp on the table", "lamp"),
        ("Go to the stairs and turn", "stairs"),
    ],
)
def test_the_target_is_what_the_last_action_is_about(text: str, target: str) -> None:
    marks = find_landmarks(text)
    assert marks[find_target_landmark(text)].word == target
    assert find_target_landmark(text, marks) == find_target_landmark(text)


def test_without_objects_there_is_no_target() -> None:
    assert find_target_landmark("go upstairs") == -1


def test_extra_phrases_win_over_the_table() -> None:
    extra = {"light box": SOS_INDEX["board_panel"], "vase": SOS_INDEX["plant"], "door": -1}
    marks = find_landmarks("the light box, the vase and the door", extra)
    assert [(m.word, m.row, m.start) for m in marks] == [
        ("light box", SOS_INDEX["board_panel"], 1),
        ("vase", SOS_INDEX["plant"], 4),
    ]
    with pytest.raises(ConfigError, match="vase"):
        find_landmarks("the vase", {"vase": 99})


def test_reverie_instructions_name_their_target(shared_data: object) -> None:
    folder: Path = shared_data("reverie")  # type: ignore[operator]
    table: Path = shared_data("mp3d_semantics")  # type: ignore[operator]
    with gzip.open(table / "category_mapping.tsv.gz", "rt", encoding="utf-8") as file:
        classes = {r["raw_category"]: r["mpcat40"] for r in csv.DictReader(file, delimiter="\t")}
    with gzip.open(folder / "bboxes_v1.json.gz") as file:
        boxes = json.load(file)
    with gzip.open(folder / "v2" / "REVERIE_val_unseen.json.gz") as file:
        items = json.load(file)
    right = found = named = nothing = total = 0
    for item in items:
        seen = boxes[f"{item['scan']}_{item['path'][-1]}"][str(item["objId"])]
        row = SOS_INDEX.get(classes[seen["name"].replace("#", " ")], -1)
        for text in item["instructions"]:
            marks = find_landmarks(text)
            total += 1
            nothing += not marks
            if row >= 0:
                named += 1
                found += bool(marks)
                right += bool(marks) and marks[find_target_landmark(text, marks)].row == row
    assert total == 3433
    assert nothing / total == pytest.approx(0.093, abs=0.002)
    assert found / named == pytest.approx(0.989, abs=0.002)
    assert right / found == pytest.approx(0.930, abs=0.003)
