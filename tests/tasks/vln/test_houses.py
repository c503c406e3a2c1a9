from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "simulators"))
from plain_rooms import flat

from embodied.errors import ConfigError, SceneError
from embodied.simulators.house_graph import HouseWorld
from embodied.tasks.vln.batch import VLNBatch
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.houses import HousesConfig, load_houses, open_scene
from embodied.tasks.vln.source import VLNSource

SPLITS = ("train", "val_seen", "val_unseen", "test")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("houses"))


def config(cache: str, split: str = "train", **houses: object) -> VLNConfig:
    settings = HousesConfig(count=2, rooms=(4, 6), cache=cache, episodes=15)
    return VLNConfig(dataset="houses", split=split, houses=replace(settings, **houses))


@pytest.fixture(scope="module")
def sources(cache: str) -> dict[str, VLNSource]:
    return {s: VLNSource(*load_houses(config(cache, s, style="mixed"))) for s in SPLITS}


def test_splits_share_no_house_and_seen_houses_get_other_episodes(sources) -> None:
    names = {split: set(source.worlds) for split, source in sources.items()}
    assert names["train"] == names["val_seen"]
    assert not names["train"] & names["val_unseen"]
    assert not names["test"] & (names["train"] | names["val_unseen"])
    seen = {(e.world, e.start, e.target, e.instruction) for e in sources["train"].episodes}
    again = {(e.world, e.start, e.target, e.instruction) for e in sources["val_seen"].episodes}
    assert len(seen & again) < len(again) / 10


@pytest.mark.parametrize("split", SPLITS)
def test_episodes_can_be_played(split: str, sources) -> None:
    worlds, episodes = sources[split]
    assert len(episodes) >= 20
    assert len({e.id for e in episodes}) == len(episodes)
    for episode in episodes:
        world = worlds[episode.world]
        assert episode.path[0] == episode.start
        assert episode.path[-1] in episode.goals
        assert episode.start not in episode.goals
        assert 3 <= len(episode.path) - 1 <= 12
        for here, there in zip(episode.path, episode.path[1:], strict=False):
            assert there in world.neighbours[here]
        nearest = world.distances[episode.start, list(episode.goals)].min()
        assert episode.length == pytest.approx(nearest)
        assert 0 <= episode.heading < 2 * np.pi


@pytest.mark.parametrize("split", SPLITS)
def test_goals_are_the_places_that_list_the_target(split: str, sources) -> None:
    for episode in sources[split].episodes:
        world = sources[split].worlds[episode.world]
        listing = [p for p in range(len(world)) if episode.target in world.observe_place(p).objects]
        assert list(episode.goals) == listing
        for place in listing:
            percept = world.observe_place(place)
            assert percept.features[percept.objects == episode.target, 0] <= 3.0


def test_most_episodes_lead_to_another_room_and_targets_differ(sources) -> None:
    episodes = sources["train"].episodes
    assert np.mean([e.rooms[0] != e.rooms[1] for e in episodes]) > 0.6
    assert len({(e.world, e.target) for e in episodes}) > len(episodes) / 2
    assert {e.kind.partition(":")[0] for e in episodes} == {"goal", "route"}


def test_the_annotated_path_scores_one(cache: str, sources) -> None:
    batch = VLNBatch(config(cache, style="mixed"), 1, sources["train"])
    for number, episode in enumerate(batch.episodes):
        batch.begin_episodes([0], [number])
        for place in episode.path[1:]:
            candidates = batch.observe()["candidates"][0].tolist()
            batch.step(np.array([[candidates.index(place) + 1, 0]]))
        objects = batch.observe()["objects"][0].tolist()
        batch.step(np.array([[0, objects.index(episode.target) + 1]]))
        scores = batch.compute_metrics(0)
        for name in ("success", "spl", "rgs_strict", "rgspl_strict", "ndtw"):
            assert scores[name] == pytest.approx(1.0), (episode, name)


def test_the_same_seed_gives_the_same_episodes(cache: str, tmp_path: Path, sources) -> None:
    kept = load_houses(config(cache, style="mixed"))[1]
    assert kept == sources["train"].episodes
    anew = load_houses(config(str(tmp_path), style="mixed", count=1))[1]
    assert anew == [e for e in kept if e.world == anew[0].world]
    nowhere = load_houses(config("", style="mixed", count=1))[1]
    assert nowhere == anew
    other = load_houses(config(cache, style="mixed", seed=1))[1]
    assert {e.instruction for e in other} != {e.instruction for e in kept}


def test_workers_fill_the_cache(tmp_path: Path, sources) -> None:
    settings = config(str(tmp_path), style="mixed", workers=2)
    assert load_houses(settings)[1] == sources["train"].episodes
    assert len(list(tmp_path.glob("house-*.npz"))) == 2


def test_a_damaged_episode_file_is_made_again(tmp_path: Path) -> None:
    settings = config(str(tmp_path), count=1)
    first = load_houses(settings)[1]
    (file,) = tmp_path.glob("episodes-*.json")
    file.write_text(file.read_text()[:50])
    assert load_houses(settings)[1] == first
    file.write_text('[{"id": "x"}]')
    assert load_houses(settings)[1] == first


def test_phrasing_follows_the_split(cache: str, sources) -> None:
    held_out = re.compile(r"(?i)\bplease (go into|find)|^stop next to|until you see .*, then go to")
    seen = [bool(held_out.search(e.instruction)) for e in sources["train"].episodes]
    assert not any(seen)
    other = config(cache, "train", phrasing="held_out", style="goal")
    assert any(held_out.search(e.instruction) for e in load_houses(other)[1])


def write_flat(folder: Path) -> Path:
    """A scene file with names as a scanner would give them."""
    import trimesh
    from plain_rooms import FLAT

    scene = trimesh.Scene()
    for name, (_, center, size, color) in FLAT.items():
        box = trimesh.creation.box(size)
        box.apply_translation(center)
        paint = trimesh.visual.material.PBRMaterial(baseColorFactor=[*color, 1.0])
        box.visual = trimesh.visual.TextureVisuals(material=paint)
        scene.add_geometry(box, node_name=name, geom_name=name)
    file = folder / "flat.glb"
    scene.export(file)
    return file


def test_any_scene_file_works(tmp_path: Path) -> None:
    file = str(write_flat(tmp_path))
    settings = config(
        str(tmp_path / "cache"), "val_unseen", files=(file,), min_hops=1, spacing=1.2, reach=2.0
    )
    worlds, episodes = load_houses(settings)
    (name,) = worlds
    assert {i.name for i in worlds[name].items} >= {"dining chair", "office chair", "bed"}
    assert episodes
    said = " ".join(e.instruction for e in episodes)
    assert "chair" in said
    assert "kitchen" not in said
    assert len(open_scene(settings.houses, name).objects) == len(flat().objects)


def test_the_scene_behind_a_world_can_be_opened(cache: str, sources) -> None:
    name = next(iter(sources["train"].worlds))
    scene = open_scene(config(cache).houses, name)
    world = sources["train"].worlds[name]
    assert isinstance(world, HouseWorld)
    assert scene.name == name
    assert world.rooms == tuple(r.category for r in scene.rooms)
    with pytest.raises(SceneError, match="no house 'flat'"):
        open_scene(config(cache).houses, "flat")


def test_predicted_semantics_leave_the_episodes_as_they_are(tmp_path: Path, sources) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    settings = config(str(tmp_path), style="mixed", semantics=str(weights))
    worlds, episodes = load_houses(settings, segment=lambda rgb, depth: np.full(depth.shape, 1))
    assert episodes == sources["train"].episodes
    first = worlds[episodes[0].world]
    assert not len(first.observe_place(0).objects)
    with pytest.raises(ConfigError, match="names a segmenter"):
        load_houses(settings)
    with pytest.raises(ConfigError, match="a segmenter is given"):
        load_houses(config(str(tmp_path)), segment=lambda rgb, depth: depth)
    with pytest.raises(ConfigError, match="no weights there"):
        load_houses(config("", semantics="/nowhere"), segment=lambda rgb, depth: depth)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spacing": 0.0}, "spacing = 0.0 m must be positive"),
        ({"spacing": -1.0}, "spacing"),
        ({"spacing": 4.0}, "max_edge = 3.5"),
        ({"style": "rout"}, "route"),
        ({"phrasing": "held-out"}, "held_out"),
        ({"rooms": (5, 3)}, "fewest"),
        ({"min_hops": 0}, "min_hops = 0"),
        ({"min_hops": 5, "max_hops": 4}, "max_hops = 4"),
        ({"count": -1}, "count = -1"),
        ({"reach": 0.0}, "reach"),
        ({"workers": 0}, "workers"),
        ({"up": "x"}, "up"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HousesConfig(**settings)


def test_bad_scenes_and_empty_results_say_why(tmp_path: Path, cache: str) -> None:
    with pytest.raises(SceneError, match="nowhere.glb: no such file"):
        load_houses(config(cache, files=("nowhere.glb",)))
    file = str(write_flat(tmp_path))
    with pytest.raises(ConfigError, match="no episode fits"):
        load_houses(config("", files=(file,), min_hops=11))


def test_a_procthor_house_works(cache: str, shared_data) -> None:
    file = f"{shared_data('procthor') / 'multiroom_samples.jsonl.gz'}#1"
    settings = config(cache, "val_seen", files=(file,), style="mixed")
    worlds, episodes = load_houses(settings)
    (world,) = worlds.values()
    assert isinstance(world, HouseWorld)
    assert set(world.rooms) == {"bedroom", "bathroom", "kitchen", "living room"}
    assert np.isfinite(world.distances).all()
    assert len(episodes) == 15
    assert {e.rooms[1] for e in episodes} <= set(world.rooms)


def test_the_guide_works_as_printed(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = (repo / "docs" / "houses.md").read_text(encoding="utf-8")
    session: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "houses.md", "exec"), session)  # noqa: S102
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == session["episode"].instruction  # type: ignore[attr-defined]
    assert len(printed) == 2
    assert list((tmp_path / ".cache" / "embodied" / "houses").glob("house-*.npz"))
