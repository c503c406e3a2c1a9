from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embodied.errors import NavigationError
from embodied.tasks.datasets.r2r_ce import (
    SPLITS,
    ContinuousEpisode,
    load_demonstrations,
    load_episodes,
    score_path,
    straight_distances,
)

EPISODE: dict[str, Any] = {
    "episode_id": 1,
    "trajectory_id": 4,
    "scene_id": "mp3d/7y3sRwLe3Va/7y3sRwLe3Va.glb",
    "start_position": [0.0, 0.1, 0.0],
    "start_rotation": [0.0, 0.0, 0.0, 1.0],
    "info": {"geodesic_distance": 4.0},
    "goals": [{"position": [4.0, 0.1, 0.0], "radius": 3.0}],
    "instruction": {"instruction_text": "Walk  to the \n sofa. ", "instruction_tokens": [0]},
    "reference_path": [[0.0, 0.1, 0.0], [2.0, 0.1, 0.0], [4.0, 0.1, 0.0]],
}
GT = {
    "locations": [[0.0, 0.1, 0.0], [0.25, 0.1, 0.0]],
    "actions": [3, 1, 0],
    "forward_steps": 1,
}


def write(path: Path, content: object) -> Path:
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def one(tmp_path: Path, **change: Any) -> ContinuousEpisode:
    (episode,) = load_episodes(write(tmp_path / "val.json.gz", {"episodes": [EPISODE | change]}))
    return episode


# -- files ---


def test_fields_are_read(tmp_path: Path) -> None:
    episode = one(tmp_path)
    assert episode.instruction == "Walk to the sofa."
    assert (episode.name, episode.trajectory, episode.scan) == ("1", "4", "7y3sRwLe3Va")
    assert episode.goals.tolist() == [[4.0, 0.1, 0.0]]
    assert episode.reference.shape == (3, 3)
    assert episode.geodesic_distance == 4.0
    hidden = {k: v for k, v in EPISODE.items() if k not in ("goals", "reference_path", "info")}
    (secret,) = load_episodes(write(tmp_path / "test.json.gz", {"episodes": [hidden]}))
    assert secret.goals.shape == (0, 3)
    assert set(score_path(secret, [[0.0, 0.1, 0.0]])) == {"steps", "path_length"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"start_rotation": [0, 0, 0, 2]}, "unit quaternion"),
        ({"start_position": [0.0, float("nan"), 0.0]}, "NaN"),
        ({"instruction": {"instruction_text": "  "}}, "instruction_text is empty"),
        ({"instruction": {}}, "instruction_text"),
        ({"goals": []}, "goals.position"),
        ({"goals": [{"position": [1, 2]}]}, "goals.position"),
        ({"reference_path": [[1, 2, "x"]]}, "garbled"),
        ({"info": {}}, "geodesic_distance"),
        ({"info": {"geodesic_distance": -1}}, "out of range"),
    ],
)
def test_garbled_episodes_name_file_and_field(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(NavigationError, match=complaint) as caught:
        one(tmp_path, **change)
    assert "val.json.gz: episode 0" in str(caught.value)


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NavigationError, match="VLN-CE project"):
        load_episodes(tmp_path / "none.json.gz")
    with pytest.raises(NavigationError, match="no 'episodes'"):
        load_episodes(write(tmp_path / "a.json.gz", {"scenes": []}))
    with pytest.raises(NavigationError, match="more than once"):
        load_episodes(write(tmp_path / "b.json.gz", {"episodes": [EPISODE, EPISODE]}))
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(gzip.compress(b'{"episodes": []}')[:-9])
    with pytest.raises(NavigationError, match="not a readable"):
        load_episodes(cut)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"actions": [3, 1]}, "end with stop"),
        ({"actions": [3, 7, 0]}, "0..3"),
        ({"actions": [1, 1, 0]}, "do not fit"),
        ({"locations": [[0, 0]]}, "locations"),
    ],
)
def test_contradicting_demonstrations_are_refused(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(NavigationError, match=complaint) as caught:
        load_demonstrations(write(tmp_path / "gt.json.gz", {"1": GT | change}))
    assert "episode '1'" in str(caught.value)


def test_demonstrations_must_belong_to_their_episodes(tmp_path: Path) -> None:
    episode = one(tmp_path)
    path = write(tmp_path / "gt.json.gz", {"1": GT})
    assert load_demonstrations(path, [episode])["1"].actions.tolist() == [3, 1, 0]
    with pytest.raises(NavigationError, match="no path for episode '1'"):
        load_demonstrations(write(tmp_path / "gt2.json.gz", {"2": GT}), [episode])
    far = one(tmp_path, start_position=[9.0, 0.1, 0.0])
    with pytest.raises(NavigationError, match="9.00 m from"):
        load_demonstrations(path, [far])


# -- metrics ---


def test_small_case_by_hand(tmp_path: Path) -> None:
    episode = one(tmp_path)
    walk = [[0.0, 0.1, 0.0], [0.0, 0.1, 0.0], [2.0, 0.1, 0.0]]
    found = score_path(episode, walk)
    assert found["steps"] == 1  # standing still is no step
    assert found["path_length"] == 2.0
    assert found["success"] == 1.0  # 2 m from the goal
    assert found["spl"] == 1.0
    # the reference's points at 0 and 2 m are met, the one at 4 m is 2 m away
    assert found["ndtw"] == pytest.approx(np.exp(-2.0 / (3 * 3.0)))
    assert score_path(episode, walk, stopped=False)["success"] == 0.0
    assert score_path(episode, walk, stopped=False)["oracle_success"] == 1.0
    away = score_path(episode, [*walk, [-6.0, 0.1, 0.0]])
    assert (away["success"], away["oracle_success"]) == (0.0, 1.0)
    assert away["distance_to_goal"] == 10.0


def test_the_distance_is_the_callers(tmp_path: Path) -> None:
    """A wall between everything at x < 3 and x > 3 makes ways 10 m longer."""

    def around(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return straight_distances(a, b) + 10.0 * ((a[:, None, 0] < 3) != (b[None, :, 0] < 3))

    episode = one(tmp_path)
    walk = [[0.0, 0.1, 0.0], [2.0, 0.1, 0.0]]
    assert score_path(episode, walk)["success"] == 1.0
    blocked = score_path(episode, walk, distance=around)
    assert blocked["success"] == 0.0
    assert blocked["distance_to_goal"] == 12.0
    assert blocked["ndtw"] == pytest.approx(np.exp(-12.0 / 9.0))


def test_positions_must_be_points(tmp_path: Path) -> None:
    with pytest.raises(NavigationError, match="positions"):
        score_path(one(tmp_path), [[0.0, 1.0]])


# -- the released files ---


def independent(
    walk: np.ndarray, reference: np.ndarray, goal: np.ndarray, shortest: float
) -> dict[str, float]:
    """The same metrics another way: DTW by memoised recursion over pairs, plain loops."""
    best: dict[tuple[int, int], float] = {}
    for i in range(len(walk)):
        for j in range(len(reference)):
            step = float(np.sqrt(((walk[i] - reference[j]) ** 2).sum()))
            before = [best.get(k, np.inf) for k in ((i - 1, j), (i, j - 1), (i - 1, j - 1))]
            best[i, j] = step + (0.0 if i == j == 0 else min(before))
    warping = np.exp(-best[len(walk) - 1, len(reference) - 1] / (3.0 * len(reference)))
    length = sum(float(np.sqrt(((b - a) ** 2).sum())) for a, b in zip(walk, walk[1:], strict=False))
    gaps = [float(np.sqrt(((p - goal) ** 2).sum())) for p in walk]
    success = float(gaps[-1] < 3.0)
    cover = np.mean(
        [np.exp(-min(np.sqrt(((r - p) ** 2).sum()) for p in walk) / 3) for r in reference]
    )
    wanted = cover * sum(
        float(np.sqrt(((b - a) ** 2).sum())) for a, b in zip(reference, reference[1:], strict=False)
    )
    return {
        "path_length": length,
        "success": success,
        "oracle_success": float(min(gaps) < 3.0),
        "distance_to_goal": gaps[-1],
        "spl": success * shortest / max(length, shortest),
        "ndtw": warping,
        "sdtw": success * warping,
        "cls": cover * wanted / (wanted + abs(wanted - length)),
    }


def test_every_split_loads(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("r2r_vlnce")
    expected = {
        "train": (10819, 61),
        "val_seen": (778, 53),
        "val_unseen": (1839, 11),
        "test": (3408, 18),
    }
    for split in SPLITS:
        episodes = load_episodes(folder / f"{split}.json.gz")
        assert (len(episodes), len({e.scan for e in episodes})) == expected[split]


def test_demonstrations_score_as_they_should(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("r2r_vlnce")
    episodes = load_episodes(folder / "val_seen.json.gz")
    shown = load_demonstrations(folder / "val_seen_gt.json.gz", episodes)
    assert len(shown) == len(episodes) == 778
    for episode in episodes[::4]:
        path = shown[episode.name].positions
        found = score_path(episode, path, reference=path, shortest=0.0)
        assert found["ndtw"] == found["success"] == found["sdtw"] == 1.0
        assert found["distance_to_goal"] < 0.5
        own = score_path(episode, path, shortest=found["path_length"])
        assert own["spl"] == 1.0
        assert score_path(episode, episode.reference)["ndtw"] == 1.0


def test_metrics_agree_with_an_independent_computation(
    shared_data: Callable[[str], Path],
) -> None:
    """240 episodes: the expert's path cut short, bent and reversed, against both references."""
    folder = shared_data("r2r_vlnce")
    episodes = load_episodes(folder / "val_seen.json.gz")
    shown = load_demonstrations(folder / "val_seen_gt.json.gz", episodes)
    rng = np.random.default_rng(0)
    outcomes = set()
    for number, episode in enumerate(episodes[:720:3]):
        path = shown[episode.name].positions
        walk = path[: int(rng.integers(2, len(path) + 1))]
        if number % 3 == 1:
            walk = walk + np.cumsum(rng.normal(0, 0.08, walk.shape), axis=0)
        if number % 3 == 2:
            walk = np.concatenate([walk, walk[::-1][1 : int(rng.integers(2, 9))]])
        reference = path if number % 2 else episode.reference
        found = score_path(episode, walk, reference=reference)
        truth = independent(walk, reference, episode.goals[0], episode.geodesic_distance)
        assert {k: found[k] for k in truth} == pytest.approx(truth, abs=1e-9)
        outcomes.add((found["success"], found["oracle_success"]))
    assert outcomes >= {(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)}
