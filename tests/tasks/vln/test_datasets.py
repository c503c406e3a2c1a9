"""Released formats, and what happens when a file is not as it should be."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import boxes, edit, write

from embodied.categories import SOS_CATEGORIES
from embodied.errors import ConfigError, EmbodiedError, NavigationError, SceneError
from embodied.simulators.annotations import find_data_folder
from embodied.simulators.panoramas import CategoryMap
from embodied.tasks.vln.batch import VLNBatch
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.source import VLNSource, load_source

R2R, REVERIE = "r2r/R2R_val_unseen.json", "reverie/v2/REVERIE_val_unseen.json"
SOON, GRAPH = "SOON/val_unseen_house.json", "connectivity/tiny_connectivity.json"
FILES = {"r2r": R2R, "reverie": REVERIE, "soon": SOON}


def opened(root: Path, dataset: str, **settings: Any) -> VLNSource:
    return load_source(VLNConfig(dataset=dataset, data=str(root), **settings))


def names(source: VLNSource, places: tuple[int, ...]) -> str:
    return "".join(source.worlds["tiny"].places[p] for p in places)


def test_r2r_is_read(tiny: Path) -> None:
    source = opened(tiny, "r2r")
    first, second = source.episodes
    assert (first.id, second.id) == ("7_0", "7_1")
    assert second.instruction == "Go to the middle."
    assert names(source, first.path) == "abd"
    assert names(source, first.goals) == "d"
    assert (first.length, first.radius, first.heading, first.target) == (7.0, 3.0, 1.0, -1)


def test_reverie_is_read(tiny: Path) -> None:
    source = opened(tiny, "reverie")
    (episode,) = source.episodes
    assert (episode.id, episode.target, episode.length, episode.radius) == ("7_1_0", 1, 6.0, 0.0)
    assert names(source, episode.goals) == "cde"  # where the chair is visible


def test_soon_is_read(tiny: Path) -> None:
    source = opened(tiny, "soon")
    short, long = source.episodes
    assert (short.id, long.id) == ("0_0_0", "0_1_0")
    assert short.instruction == "A brown chair beside a lamp in the study"
    assert names(source, long.path) == "edbc"
    assert names(source, short.goals) == "cd"
    outline = short.polygons[source.worlds["tiny"].get_place_index("c")]
    assert outline == pytest.approx(
        np.array([[1.3708, 0.2], [1.7708, 0.2], [1.7708, -0.2], [1.3708, -0.2]]), abs=1e-4
    )


def test_soon_is_read_as_duet_repackages_it(tiny: Path) -> None:
    (item,) = json.loads((tiny / SOON).read_text())
    flat = item | {
        "path": item["path"][0], "path_id": "3-0", "instructions": [{"full": "Find the chair"}]
    }  # fmt: skip
    (tiny / SOON).unlink()
    (tiny / "SOON/val_unseen_house.jsonl").write_text(json.dumps(flat) + "\n")
    (episode,) = opened(tiny, "soon").episodes
    assert (episode.id, episode.instruction) == ("3-0_0_0", "Find the chair")


def test_soon_answers_to_its_own_split_names(tiny: Path) -> None:
    assert len(opened(tiny, "soon", split="val_unseen_house").episodes) == 2
    with pytest.raises(ConfigError, match="unknown split 'val' of SOON"):
        opened(tiny, "soon", split="val")


@pytest.mark.parametrize("dataset", ["r2r", "reverie"])
def test_a_split_without_goals_loads_and_says_what_is_missing(tiny: Path, dataset: str) -> None:
    with pytest.warns(UserWarning, match="come without a goal"):
        source = opened(tiny, dataset, split="test")
    assert not source.episodes[0].has_truth
    batch = VLNBatch(VLNConfig(dataset=dataset), 1, source)
    batch.begin_episodes([0], [0])
    batch.step(np.array([[1, 0]]))
    assert batch.compute_metrics(0) == {"steps": 1.0, "path_length": 3.0, "refused": 0.0}
    assert batch.get_trajectory(0) == ["a", "b"]
    with pytest.raises(ConfigError, match="holds back"):
        opened(tiny, dataset, split="test", privileged=True)


def test_published_counts(shared_data: Callable[[str], Path]) -> None:
    root = str(shared_data("r2r").parent)
    shared_data("reverie")
    sizes = {"r2r": (14039, 1021, 2349, 4173), "reverie": (10290, 1384, 3433, 6144)}
    for dataset, counts in sizes.items():
        for split, count in zip(("train", "val_seen", "val_unseen", "test"), counts, strict=True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                source = load_source(VLNConfig(dataset=dataset, split=split, data=root))
            assert len(source.episodes) == count
            assert len({e.id for e in source.episodes}) == count


def test_a_subset_by_scan_and_by_number(tiny: Path) -> None:
    assert [e.id for e in opened(tiny, "r2r", episodes=1).episodes] == ["7_0"]
    assert len(opened(tiny, "r2r", scans=("tiny",)).episodes) == 2
    with pytest.raises(ConfigError, match="'tinny' has no episode.*did you mean 'tiny'"):
        opened(tiny, "r2r", scans=("tinny",))


def put(key: str, value: Any) -> Callable[[Any], None]:
    def change(items: Any) -> None:
        items[0][key] = value

    return change


def drop(key: str) -> Callable[[Any], None]:
    return lambda items: items[0].pop(key)


BAD_ITEMS = [
    ("r2r", put("scan", "tinny"), r"R2R_val_unseen.json: item 0 .*'scan'.*'tinny'.*mean 'tiny'"),
    ("r2r", drop("scan"), r"R2R_val_unseen.json: item 0 \(id 7\): 'scan' must be a str"),
    ("r2r", put("path", ["a", "zz"]), r"R2R_val_unseen.json.*'path'.*unknown viewpoint 'zz'"),
    ("r2r", put("path", ["a", "f"]), r"R2R_val_unseen.json.*unknown viewpoint 'f'.*excluded"),
    ("r2r", put("path", []), r"R2R_val_unseen.json.*'path' holds no viewpoint"),
    ("r2r", put("heading", float("nan")), r"R2R_val_unseen.json.*'heading' must be a float"),
    ("r2r", put("instructions", ["Go", " "]), r"val_unseen.json.*'instructions\[1\]' = ' ' is emp"),
    ("reverie", put("objId", 9), r"REVERIE_val_unseen.json.*'objId'.*BBox has no object 9 in scan"),
    ("reverie", put("objId", "x"), r"REVERIE_val_unseen.json.*'objId' = 'x' must be a number"),
    ("reverie", put("instructions", [""]), r"REVERIE_val_unseen.json.*'instructions\[0\]'.*empty"),
    ("soon", put("instructions", []), r"val_unseen_house.json.*'instructions' is empty"),
    ("soon", put("instructions", [["a", "b"]]), r"val_unseen_house.json.*2 texts, SOON gives five"),
    ("soon", put("path", []), r"val_unseen_house.json.*'path' holds no path"),
    ("soon", put("path", [["a", "zz"]]), r"val_unseen_house.json.*'path\[0\]'.*viewpoint 'zz'"),
]  # fmt: skip


@pytest.mark.parametrize(("dataset", "change", "match"), BAD_ITEMS)
def test_a_bad_item_is_named_with_file_and_key(tiny, dataset, change, match) -> None:
    edit(tiny / FILES[dataset], change)
    with pytest.raises(NavigationError, match=f"(?s){match}"):
        opened(tiny, dataset)


def test_a_bad_soon_outline_is_named(tiny: Path) -> None:
    edit(tiny / SOON, lambda items: items[0]["bboxes"][1]["target"].pop("left_top"))
    with pytest.raises(NavigationError, match=r"house.json.*bboxes\[1\].*lacks 'left_top'"):
        opened(tiny, "soon")
    edit(tiny / SOON, lambda items: items[0]["bboxes"].pop(1))
    edit(
        tiny / SOON,
        lambda items: items[0]["bboxes"][0]["target"]["left_top"].update(heading=float("inf")),
    )
    with pytest.raises(NavigationError, match=r"bboxes\[0\].*finite angles"):
        opened(tiny, "soon")


def set_box(value: Any) -> Callable[[Any], None]:
    return lambda content: content["c"]["1"].update(value)


BAD_BOXES = [
    (set_box({"bbox2d": [[1, 2, float("nan"), 4]]}), r"tiny_c.json: 'tiny_c', object 1: box .*nan"),
    (set_box({"bbox2d": [[1, 2, 0, 4]]}), r"tiny_c.json: 'tiny_c', object 1: box .*positive width"),
    (set_box({"visible_pos": [36]}), r"tiny_c.json: 'tiny_c', object 1: visible_pos \[36\]"),
    (set_box({"visible_pos": [1, 2]}), r"tiny_c.json: 'tiny_c', object 1: visible_pos \[1, 2\]"),
    (lambda content: content["c"]["1"].pop("name"), r"tiny_c.json: 'tiny_c', object 1.*'name'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "match"), BAD_BOXES)
def test_a_bad_box_is_named_with_file_and_key(tiny: Path, change, match: str) -> None:
    edit(tiny / "BBox" / "tiny_c.json", change)
    with pytest.raises(SceneError, match=match):
        opened(tiny, "reverie")


def test_a_bad_graph_is_named(tiny: Path) -> None:
    edit(tiny / GRAPH, lambda items: items[0].pop("pose"))
    with pytest.raises(EmbodiedError, match=r"tiny_connectivity.json: a field.*'pose'"):
        opened(tiny, "r2r")


@pytest.mark.parametrize(
    ("gone", "match"),
    [
        ("connectivity", r"no navigation graphs .*connectivity.* task.data"),
        ("BBox", r"no object boxes .*Get the BBoxes .* task.data"),
        ("category_mapping.tsv", r"no category map .*niessner/Matterport.* task.data"),
        ("reverie", r"no REVERIE v2 split 'val_unseen' .*Get tasks/REVERIE.* task.data"),
    ],
)
def test_missing_data_says_where_to_get_it(tiny: Path, gone: str, match: str) -> None:
    (tiny / gone).rename(tiny / "elsewhere")
    with pytest.raises(SceneError, match=f"(?s){match}"):
        opened(tiny, "reverie")


def test_only_the_default_data_folder_has_a_fallback(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "main").mkdir()
    monkeypatch.chdir(tmp_path / "main")
    assert find_data_folder("data") == Path("../shared/data")
    with pytest.raises(SceneError, match="no data folder .*other"):
        find_data_folder("other")


def test_a_missing_data_folder_names_the_key(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SceneError, match="no data folder .*nowhere.*task.data"):
        opened(Path("nowhere"), "reverie")


@pytest.mark.parametrize("damage", [lambda d: d[: len(d) // 2], lambda d: b"\x1f\x8b" + d[9:]])
def test_a_damaged_gzip_file_is_named(tiny: Path, damage) -> None:
    data = gzip.compress((tiny / R2R).read_bytes())
    (tiny / R2R).unlink()
    (tiny / f"{R2R}.gz").write_bytes(damage(data))
    with pytest.raises(SceneError, match=r"R2R_val_unseen.json.gz is damaged"):
        opened(tiny, "r2r")


def many_names(tiny: Path, unknown: int, total: int) -> None:
    """`total` different names at viewpoint c, `unknown` of which the map does not hold."""
    content = boxes()["c"]
    lines = []
    for i in range(total):
        content[str(100 + i)] = {"name": f"thing#{i}", "visible_pos": [0], "bbox2d": [[1, 1, 9, 9]]}
        if i >= unknown:
            lines.append(f"{i}\tthing {i}\tobjects")
    write(tiny / "BBox" / "tiny_c.json", {"c": content})
    with (tiny / "category_mapping.tsv").open("a") as file:
        file.write("\n".join(lines) + "\n")


def test_a_map_that_does_not_fit_warns_loudly(tiny: Path) -> None:
    many_names(tiny, unknown=10, total=97)
    with pytest.warns(UserWarning, match="DOES NOT FIT: 10 of 100 .*10.0%.*'thing 0'.*release"):
        opened(tiny, "reverie")


def test_a_few_missing_names_are_told_quietly(tiny: Path) -> None:
    many_names(tiny, unknown=2, total=97)
    with pytest.warns(UserWarning, match="^2 of 100 object names"):
        opened(tiny, "reverie")


def test_on_request_a_missing_category_is_an_error(tiny: Path) -> None:
    many_names(tiny, unknown=1, total=97)
    with pytest.raises(SceneError, match="category_mapping.tsv: no raw_category 'thing 0'"):
        opened(tiny, "reverie", strict_categories=True)


def test_a_map_to_classes_that_do_not_exist_is_an_error(tiny: Path) -> None:
    file = tiny / "category_mapping.tsv"
    file.write_text(file.read_text().replace("\tlighting", "\tlightning"))
    with pytest.raises(SceneError, match=r"category_mapping.tsv: raw_category 'lamp'.*'lightning'"):
        CategoryMap(file)
    file.write_text("name\tclass\nlamp\tlighting\n")
    with pytest.raises(SceneError, match="lacks the columns"):
        CategoryMap(file)


def test_every_released_name_has_a_category(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("reverie").parent
    mapping = CategoryMap.from_data_folder(root)
    content = json.loads(gzip.decompress((root / "reverie/bboxes_v1.json.gz").read_bytes()))
    raw = {e["name"] for entries in content.values() for e in entries.values()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = mapping.get_rows(raw, "REVERIE")
    assert len(raw) == 1325
    assert set(rows.values()) <= set(range(-1, len(SOS_CATEGORIES)))
    assert mapping.get_row("dining#table") == mapping.get_row("dining table") >= 0
    assert mapping.get_row("wall") == -1
