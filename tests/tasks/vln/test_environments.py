"""Observations, actions and endings of the language-guided environments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from safetensors.numpy import save_file
from tiny import boxes, edit, write

import embodied  # noqa: F401  (registers the environments)
from embodied.categories import SOS_INDEX
from embodied.errors import ConfigError, NavigationError, SceneError
from embodied.tasks.registration import VLN_ENVIRONMENTS
from embodied.tasks.vln.batch import VLNBatch
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.env import ReverieEnv
from embodied.tasks.vln.source import load
from embodied.tasks.vln.submission import entry, write_submission
from embodied.tasks.vln.vector import VLNVectorEnv
from embodied.training.evaluation import evaluate
from maps.percept import VIEW_EXTRAS


def make(root: Path, dataset: str = "reverie", num: int = 1, **settings: Any) -> VLNBatch:
    batch = VLNBatch(VLNConfig(dataset=dataset, data=str(root), **settings), num)
    batch.begin(range(num), [0] * num)
    return batch


def walk_to(batch: VLNBatch, *names: str, row: int = 0) -> None:
    """Walk one agent over named places; the others stay where they can: forth and back."""
    for name in names:
        world = batch.worlds["tiny"]
        near = batch.observe([row])["candidates"][0]
        move = int(np.flatnonzero(near == world.number(name))[0]) + 1
        batch.step(np.array([[move, 0]]))


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
    assert batch.metrics(0)["path_length"] == 7
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
    got = batch.metrics(0)
    assert {got[k] for k in ("success", "spl", "ndtw", "cls", "rgs", "rgspl_strict")} == {1}
    assert batch.answers[0] == 1


@pytest.mark.parametrize(("way", "answer", "rgs", "strict"), [
    (("b", "c"), 2, 0, 0), (("b", "c"), 0, 0, 0), (("b", "d"), 1, 1, 1), (("b",), 0, 0, 0),
])  # fmt: skip
def test_naming_something_else_or_nothing(tiny: Path, way, answer, rgs, strict) -> None:
    batch = make(tiny)
    walk_to(batch, *way)
    batch.step(np.array([[0, answer]]))
    got = batch.metrics(0)
    assert (got["rgs"], got["rgs_strict"]) == (rgs, strict)
    assert got["success"] == float(way != ("b",))


def test_soon_asks_whether_the_objects_centre_is_in_the_outline(tiny: Path) -> None:
    """At c the chair's centre (90 deg, level) is inside; the lamp's (0 deg) is not."""
    for answer, right in ((1, 1.0), (2, 0.0), (0, 0.0)):
        batch = make(tiny, "soon")
        walk_to(batch, "b", "c")
        batch.step(np.array([[0, answer]]))
        assert batch.metrics(0)["rgs"] == right
        assert batch.metrics(0)["success"] == 1.0


def test_moves_run_out(tiny: Path) -> None:
    batch = make(tiny, max_steps=2)
    _, ended, cut = batch.step(np.array([[1, 0]]))
    assert not ended[0]
    assert not cut[0]
    _, ended, cut = batch.step(np.array([[2, 0]]))  # to c
    assert not ended[0]
    assert cut[0]
    assert batch.metrics(0)["success"] == 1  # the last place counts, stopped or not


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
    got = batch.metrics(0)
    assert (got["refused"], got["steps"], got["path_length"]) == (3, 0, 0)
    batch.begin([0], [0])
    batch.step(np.array([[0, 5]]))  # nothing to name either
    assert batch.answers[0] == -1
    assert batch.metrics(0)["refused"] == 0


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


def test_of_too_many_objects_the_largest_are_kept(tiny: Path) -> None:
    batch = make(tiny, max_objects=2)
    with pytest.warns(UserWarning, match="3 objects are visible from 'c'.*max_objects = 2"):
        walk_to(batch, "b", "c")
    assert batch.observe()["objects"].tolist() == [[1, 3]]


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


DATA = [name for name, (_, dataset) in VLN_ENVIRONMENTS.items() if dataset != "houses"]


@pytest.mark.parametrize("name", DATA)
def test_the_environment_checker_is_content(tiny: Path, name: str) -> None:
    settings = {"canvas": True, "privileged": True, "oracle_canvas": True}
    env = gymnasium.make(name, data=str(tiny), **settings).unwrapped
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains(seen)
    check_env(env, skip_render_check=True)


def test_on_released_data_the_observation_is_in_its_space(
    shared_data: Callable[[str], Path],
) -> None:
    env = ReverieEnv(data=str(shared_data("reverie").parent), privileged=True)
    rng = np.random.default_rng(0)
    for seed in range(20):
        seen, _ = env.reset(seed=seed)
        for _ in range(10):
            assert env.observation_space.contains(seen)
            move = rng.integers(1, (seen["candidates"] >= 0).sum() + 1)
            seen, _, _, _, info = env.step(np.array([move, 0]))
        assert info["steps"] == 10


def test_a_chosen_episode_can_be_played(tiny: Path) -> None:
    env = gymnasium.make("embodied/VLN-R2R-v0", data=str(tiny))
    for number in (1, 0):
        seen, info = env.reset(options={"episode": number})
        assert info["episode"] == number
        assert seen["instruction"] == env.unwrapped.batch.episodes[number].instruction


def test_an_unknown_setting_names_the_nearest(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="unknown setting 'spilt'.*'split'"):
        gymnasium.make("embodied/VLN-R2R-v0", data=str(tiny), spilt="train")


class FollowRandomly:
    """Acts by what it sees, the same in any batch; goes on for some steps, then stops."""

    def __init__(self) -> None:
        self.steps: dict[int, int] = {}

    def act(self, seen: dict[str, Any], first: np.ndarray) -> np.ndarray:
        actions = np.zeros((len(first), 2), np.int64)
        for i, new in enumerate(first):
            self.steps[i] = 0 if new else self.steps[i] + 1
            if self.steps[i] < 2 + len(seen["instruction"][i]) % 4:
                near = int((seen["candidates"][i] >= 0).sum())
                actions[i, 0] = 1 + (int(seen["place"][i]) + self.steps[i]) % near
        return actions


def test_evaluation_plays_every_episode_once_and_in_order(
    shared_data: Callable[[str], Path],
) -> None:
    config = VLNConfig(data=str(shared_data("reverie").parent), split="val_seen", episodes=50)
    one, many = (
        evaluate(FollowRandomly(), VLNVectorEnv(n, config), 50, progress=False) for n in (1, 8)
    )
    assert [e["episode"] for e in one] == list(range(50))
    assert [{k: v for k, v in e.items()} for e in one] == [dict(e) for e in many]
    assert {"success", "spl", "rgs", "rgspl_strict", "ndtw", "cls"} <= set(one[0])


def test_an_ended_episode_hands_over_its_last_observation(tiny: Path) -> None:
    env = gymnasium.make_vec("embodied/VLN-R2R-v0", num_envs=2, data=str(tiny))
    first, _ = env.reset(seed=0)
    assert first["instruction"] == ("Walk on, then turn left.", "Go to the middle.")
    env.step(np.array([[1, 0], [1, 0]]))
    seen, _, ended, _, infos = env.step(np.array([[0, 0], [1, 0]]))
    assert ended.tolist() == [True, False]
    last = infos["final_obs"][0]
    assert last["position"].tolist() == [3, 0, 0]
    assert last["instruction"] == first["instruction"][0]
    assert infos["final_info"]["distance_to_goal"][0] == 4
    assert infos["final_info"]["_success"].tolist() == [True, False]
    assert infos["final_info"]["episode"][0] == 0
    assert seen["position"][0].tolist() == [0, 0, 0]
    assert infos["episode"].tolist() == [0, 1]  # 2 mod 2: the list begins again
    assert env.observation_space.contains(seen)
    assert seen["position"] is not last["position"]


def test_trajectories_are_handed_in_as_the_servers_take_them(tiny: Path) -> None:
    env = gymnasium.make_vec("embodied/VLN-REVERIE-v0", num_envs=1, data=str(tiny), split="test")
    env.reset(seed=0)
    env.step(np.array([[1, 0]]))
    env.step(np.array([[2, 0]]))
    *_, infos = env.step(np.array([[0, 2]]))
    final, batch = infos["final_info"], env.unwrapped.batch
    one = entry(env.episodes[0], batch.worlds["tiny"], final["walk"][0], final["answer"][0])
    assert one == {
        "instr_id": "7_0", "predObjId": 2,
        "trajectory": [["a", 0.5, 0.0], ["b", 1.5708, 0.0], ["c", 1.5708, 0.0]],
    }  # fmt: skip
    write_submission(tiny / "out.json", [one])
    assert json.loads((tiny / "out.json").read_text()) == [one]
    with pytest.raises(NavigationError, match="two entries for instruction '7_0'"):
        write_submission(tiny / "out.json", [one, one])
    batch = make(tiny, "r2r")
    assert set(batch.submission(0)) == {"instr_id", "trajectory"}
    batch = make(tiny)
    walk_to(batch, "b")
    assert batch.submission(0)["predObjId"] is None
    with pytest.raises(NavigationError, match="jumps from 'a' to 'c'"):
        entry(batch.episodes[0], batch.worlds["tiny"], [0, 2])


def test_random_order_depends_on_the_seed_and_not_on_the_batch(
    shared_data: Callable[[str], Path],
) -> None:
    config = VLNConfig(data=str(shared_data("reverie").parent))
    source = load(config)
    orders = []
    for num, seed in ((2, 5), (3, 5), (2, 6)):
        env = VLNVectorEnv(num, config, sequential=False, source=source)
        env.reset(seed=seed)
        order = [env.batch.current[:2].tolist()]
        for _ in range(5):
            env.step(np.zeros((num, 2), np.int64))
            order.append(env.batch.current[:2].tolist())
        orders.append(order)
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


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
    world.identities = lambda place: (  # type: ignore[method-assign]
        np.array([5, 1, -1]) if place == world.number("c") else world.percept(place).objects
    )
    walk_to(batch, "b", "c")
    assert batch.observe()["target"].tolist() == [2]  # the observed id of what truly is object 1
    batch.step(np.array([[0, 2]]))
    assert batch.metrics(0)["rgs"] == 1


def test_a_graph_may_come_as_json_or_gzip(tiny: Path) -> None:
    item = json.loads((tiny / "r2r/R2R_val_unseen.json").read_text())
    write(tiny / "R2R" / "R2R_val_seen.json", item)
    edit(tiny / "R2R" / "R2R_val_seen.json", lambda items: items[0].update(path_id=8))
    assert make(tiny, "r2r", split="val_seen").episodes[0].id == "8_0"
