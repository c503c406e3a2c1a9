"""Observations, actions and scores of the batch that plays language-guided episodes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny import boxes, edit, make, walk_to, write

from embodied.categories import SOS_INDEX
from embodied.errors import ConfigError, NavigationError, SceneError
from embodied.tasks.vln.config import VLNConfig
from maps.panorama.observation import VIEW_EXTRAS


def test_the_first_observation(tiny: Path) -> None:
    batch = make(tiny)
    seen = batch.observe()
    world = batch.worlds["tiny"]
    assert seen["instruction"] == ("Sit down on the chair",)
    assert world.places[seen["place"][0]] == "a"
    assert seen["heading"][0] == pytest.approx(0.5)
    assert seen["position"].tolist() == [[0, 0, 0]]
    assert [world.places[c] for c in seen["candidates"][0] if c >= 0] == ["b"]
    assert seen["candidate_positions"][0, 0].tolist() == [3, 0, 0]
    assert not seen["candidate_positions"][0, 1:].any()
    assert (seen["objects"] == -1).all()
    assert seen["object_names"] == ((),)
    assert not seen["views"].any()


def test_walking_turns_and_moves(tiny: Path) -> None:
    """The files' y is north and our -z: from b to d the agent walks 4 m north."""
    batch = make(tiny)
    walk_to(batch, "b")
    assert batch.observe()["heading"][0] == pytest.approx(np.pi / 2)
    walk_to(batch, "d")
    seen = batch.observe()
    assert seen["position"][0].tolist() == [3, 0, -4]
    assert seen["heading"][0] == pytest.approx(0)
    assert batch.compute_metrics(0)["path_length"] == 7
    assert [batch.worlds["tiny"].places[p] for p in batch.walks[0]] == ["a", "b", "d"]


def test_objects_are_seen_where_their_boxes_say(tiny: Path) -> None:
    batch = make(tiny, canvas=True)
    walk_to(batch, "b", "c")
    seen = batch.observe()
    assert seen["objects"][0, :4].tolist() == [1, 2, 3, -1]  # 4 is occluded
    assert seen["object_names"][0] == ("arm chair", "lamp", "wall")
    rows = [SOS_INDEX["chair"], SOS_INDEX["lighting"], -1]
    assert seen["object_categories"][0, :3].tolist() == rows
    heading, elevation, width, height = seen["object_boxes"][0, 0]
    assert (heading, elevation) == pytest.approx((np.pi / 2, 0), abs=1e-3)
    assert (width, height) == pytest.approx((2 * np.arctan(40 / 415.69),) * 2, abs=2e-3)
    chair = seen["canvas"][0, SOS_INDEX["chair"]]
    assert set(np.flatnonzero(chair.any(axis=0))) <= {22, 23, 24, 25}  # columns around 90 deg
    assert chair.any()
    assert seen["canvas"][0].any(axis=(1, 2)).sum() == 2
    assert seen["views"][0, 15, SOS_INDEX["chair"]] > 0
    assert seen["views"][0, 21, SOS_INDEX["chair"]] == 0


def test_stopping_at_the_object_and_naming_it(tiny: Path) -> None:
    batch = make(tiny)
    walk_to(batch, "b", "c")
    reward, ended, cut = batch.step(np.array([[0, 1]]))
    assert (reward[0], ended[0], cut[0]) == (2.5, True, False)
    got = batch.compute_metrics(0)
    assert {got[k] for k in ("success", "spl", "ndtw", "cls", "rgs", "rgspl_strict")} == {1}
    assert batch.answers[0] == 1


@pytest.mark.parametrize(("way", "answer", "rgs", "strict"), [
    (("b", "c"), 2, 0, 0), (("b", "c"), 0, 0, 0), (("b", "d"), 1, 1, 1), (("b",), 0, 0, 0),
])  # fmt: skip
def test_naming_something_else_or_nothing(tiny: Path, way, answer, rgs, strict) -> None:
    batch = make(tiny)
    walk_to(batch, *way)
    batch.step(np.array([[0, answer]]))
    got = batch.compute_metrics(0)
    assert (got["rgs"], got["rgs_strict"]) == (rgs, strict)
    assert got["success"] == float(way != ("b",))


def test_soon_asks_whether_the_objects_centre_is_in_the_outline(tiny: Path) -> None:
    """At c the chair's centre (90 deg, level) is inside; the lamp's (0 deg) is not."""
    for answer, right in ((1, 1.0), (2, 0.0), (0, 0.0)):
        batch = make(tiny, "soon")
        walk_to(batch, "b", "c")
        batch.step(np.array([[0, answer]]))
        assert batch.compute_metrics(0)["rgs"] == right
        assert batch.compute_metrics(0)["success"] == 1.0


def test_moves_run_out(tiny: Path) -> None:
    batch = make(tiny, max_steps=2)
    _, ended, cut = batch.step(np.array([[1, 0]]))
    assert not ended[0]
    assert not cut[0]
    _, ended, cut = batch.step(np.array([[2, 0]]))  # to c
    assert not ended[0]
    assert cut[0]
    assert batch.compute_metrics(0)["success"] == 1  # the last place counts, stopped or not


def test_progress_is_rewarded(tiny: Path) -> None:
    batch = make(tiny)  # goals c, d, e; the nearest from a is c, 6 m away
    assert batch.step(np.array([[1, 0]]))[0][0] == pytest.approx(3)
    assert batch.step(np.array([[1, 0]]))[0][0] == pytest.approx(-3)


@pytest.mark.parametrize(("action", "match"), [
    ([[-1, 0]], r"action \[-1, 0\] must lie in"), ([[17, 0]], r"\[17, 0\] .* \[16, 60\]"),
    ([0, 0], r"must be \(1, 2\) integers"), ([[0.0, 0.0]], r"must be \(1, 2\) integers"),
])  # fmt: skip
def test_an_action_that_cannot_be(tiny: Path, action, match: str) -> None:
    batch = make(tiny)
    with pytest.raises(NavigationError, match=match):
        batch.step(np.array(action))


def test_a_move_to_nowhere_is_refused_and_counted(tiny: Path) -> None:
    batch = make(tiny, max_steps=3)
    for _ in range(3):
        reward, _, cut = batch.step(np.array([[2, 0]]))  # a has one neighbour
    assert cut[0]
    assert reward[0] == 0
    got = batch.compute_metrics(0)
    assert (got["refused"], got["steps"], got["path_length"]) == (3, 0, 0)
    batch.begin_episodes([0], [0])
    batch.step(np.array([[0, 5]]))  # nothing to name either
    assert batch.answers[0] == -1
    assert batch.compute_metrics(0)["refused"] == 0


def test_the_truth_is_observed_only_on_request(tiny: Path) -> None:
    plain, told = make(tiny).observe(), make(tiny, privileged=True)
    extra = {"goal_distance", "candidate_goal_distances", "target"}
    assert not extra & set(plain)
    seen = told.observe()
    assert seen["goal_distance"].tolist() == [6]
    assert seen["candidate_goal_distances"][0, :2].tolist() == [3, np.inf]
    assert seen["target"].tolist() == [1]
    assert make(tiny, "r2r", privileged=True).observe()["target"].tolist() == [-1]


def test_the_oracle_canvas_shows_what_is_seen_from_the_neighbours(tiny: Path) -> None:
    batch = make(tiny, oracle_canvas=True, canvas=True)
    walk_to(batch, "b")
    beyond = batch.observe()["candidate_canvas"][0]
    near = [batch.worlds["tiny"].places[c] for c in batch.observe()["candidates"][0] if c >= 0]
    walk_to(batch, "c")
    assert near == ["a", "c", "d"]
    assert (beyond[1] == batch.observe()["canvas"][0]).all()
    assert beyond[1].any()
    assert not beyond[3:].any()


@pytest.mark.filterwarnings("error")  # a number that was chosen is meant so
def test_of_too_many_objects_the_largest_are_kept(tiny: Path) -> None:
    batch = make(tiny, max_objects=2)
    walk_to(batch, "b", "c")
    assert batch.observe()["objects"].tolist() == [[1, 3]]


def test_objects_cut_off_by_the_default_are_reported(tiny: Path, monkeypatch) -> None:
    monkeypatch.setattr(VLNConfig, "max_objects", 2)  # the default, as far as warnings know
    batch = make(tiny, max_objects=2)
    with pytest.warns(UserWarning, match="3 objects are visible from 'c'.*max_objects = 2"):
        walk_to(batch, "b", "c")


def test_too_many_neighbours_are_an_error(tiny: Path) -> None:
    batch = make(tiny, max_candidates=2)
    with pytest.raises(ConfigError, match="'b' of 'tiny' has 3 neighbours"):
        walk_to(batch, "b")


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_image_features_replace_the_views(tiny: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"tiny_{p}": rng.random((36, 7), np.float32) for p in boxes()}
    file = tiny / f"clip.{kind}"
    save_file(arrays, file) if kind == "safetensors" else np.savez(file, **arrays)
    batch = make(tiny, features=str(file))
    walk_to(batch, "b", "c")
    assert (batch.observe()["views"][0] == arrays["tiny_c"]).all()
    assert batch.observation_space["views"].shape == (36, 7)


def test_with_image_features_r2r_needs_no_boxes(tiny: Path) -> None:
    file = tiny / "clip.npz"
    np.savez(file, **{f"tiny_{p}": np.zeros((36, 7), np.float32) for p in boxes()})
    (tiny / "BBox").rename(tiny / "elsewhere")
    assert make(tiny, "r2r", features=str(file)).observe()["object_names"] == ((),)
    with pytest.raises(SceneError, match="no object boxes"):
        make(tiny, "r2r")


def test_bad_feature_files_are_named(tiny: Path) -> None:
    with pytest.raises(SceneError, match="no features file .*clip.npz"):
        make(tiny, features=str(tiny / "clip.npz"))
    (tiny / "clip.npz").write_bytes(b"nonsense")
    with pytest.raises(SceneError, match="clip.npz is damaged"):
        make(tiny, features=str(tiny / "clip.npz"))
    with pytest.raises(SceneError, match="must be .safetensors or .npz"):
        make(tiny, features=str(tiny / "clip.h5"))
    np.savez(tiny / "clip.npz", tiny_b=np.zeros((36, 7)))
    with pytest.raises(SceneError, match="no features 'tiny_a'"):
        make(tiny, features=str(tiny / "clip.npz"))
    np.savez(tiny / "clip.npz", tiny_a=np.zeros((12, 7)))
    with pytest.raises(SceneError, match=r"'tiny_a' has shape \(12, 7\)"):
        make(tiny, features=str(tiny / "clip.npz"))


def test_observations_handed_out_do_not_change(tiny: Path) -> None:
    batch = make(tiny, privileged=True, canvas=True)
    before = batch.observe()
    kept = {k: v.copy() for k, v in before.items() if isinstance(v, np.ndarray)}
    walk_to(batch, "b", "c")
    batch.observe()["views"][:] = 7
    assert all((before[k] == v).all() for k, v in kept.items())
    assert not (batch.observe()["views"] == 7).any()


def test_views_hold_shares_and_sizes(tiny: Path) -> None:
    batch = make(tiny)
    assert batch.observation_space["views"].shape == (36, 2 * len(SOS_INDEX) + len(VIEW_EXTRAS))


def test_predicted_objects_are_scored_by_what_they_are(tiny: Path) -> None:
    """A world whose percepts carry ids of their own, as with a trained segmenter."""
    batch = make(tiny, privileged=True)
    world = batch.worlds["tiny"]
    world.get_true_object_ids = lambda place: (  # type: ignore[method-assign]
        np.array([5, 1, -1])
        if place == world.get_place_index("c")
        else world.observe_place(place).objects
    )
    walk_to(batch, "b", "c")
    assert batch.observe()["target"].tolist() == [2]  # the observed id of what truly is object 1
    batch.step(np.array([[0, 2]]))
    assert batch.compute_metrics(0)["rgs"] == 1


def test_a_graph_may_come_as_json_or_gzip(tiny: Path) -> None:
    item = json.loads((tiny / "r2r/R2R_val_unseen.json").read_text())
    write(tiny / "R2R" / "R2R_val_seen.json", item)
    edit(tiny / "R2R" / "R2R_val_seen.json", lambda items: items[0].update(path_id=8))
    assert make(tiny, "r2r", split="val_seen").episodes[0].id == "8_0"
