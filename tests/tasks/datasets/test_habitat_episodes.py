from __future__ import annotations

import gzip
import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import embodied  # noqa: F401
from embodied.categories import MPCAT40
from embodied.errors import NavigationError, SceneError
from embodied.simulators.base import CameraSpec
from embodied.tasks.datasets.habitat_episodes import load_episodes
from embodied.tasks.navigation.config import SceneSource

CAMERA = CameraSpec(outputs=("rgb", "depth"), width=32, height=32)
POINT = {
    "episode_id": "0",
    "scene_id": "data/scene_datasets/flat.ply",
    "start_position": [-3.0, 0.0, 0.0],
    "start_rotation": [0.0, -0.70710678, 0.0, 0.70710678],
    "goals": [{"position": [3.0, 0.0, 0.0], "radius": 0.2}],
    "info": {"geodesic_distance": 6.5},
}
OBJECT = {
    **{k: v for k, v in POINT.items() if k != "goals"},
    "object_category": "couch",
    "goals": [],
}
VIEWS = [{"agent_state": {"position": [x, 0.0, 0.5], "rotation": [0, 0, 0, 1]}} for x in (2, 3)]


def write(path: Path, content: object) -> str:
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return str(path)


def test_pointnav_file_plays(tmp_path: Path, flat_file: str) -> None:
    path = write(tmp_path / "val.json.gz", {"episodes": [POINT]})
    source = SceneSource(episodes=path, scenes_dir=str(Path(flat_file).parent))
    env = gymnasium.make("embodied/PointNav-v0", scene=source, camera=CAMERA, expert=True)
    observation, info = env.reset(seed=0)
    # Turned 90 degrees to the right at the start: +x is straight ahead.
    assert observation["goal"] == pytest.approx([6.0, 0.0], abs=1e-4)
    assert 6.0 < info["geodesic"] < 7.5
    done = False
    while not done:
        observation, _, done, truncated, info = env.step(observation["expert_action"])
        done = done or truncated
    assert info["success"] == 1
    assert info["spl"] > 0.9
    env.close()


def test_objectnav_file_shares_goals_by_category(tmp_path: Path, flat_file: str) -> None:
    goals = {"flat.ply_couch": [{"position": [2.5, 0.3, 0.5], "view_points": VIEWS}]}
    path = write(
        tmp_path / "val.json.gz", {"episodes": [OBJECT, OBJECT], "goals_by_category": goals}
    )
    episodes = load_episodes(path, Path(flat_file).parent)
    assert len(episodes) == 2
    assert episodes[0].category == MPCAT40.index("sofa")
    assert episodes[0].goals.tolist() == [[2, 0, 0.5], [3, 0, 0.5]]
    assert episodes[0].start.yaw == pytest.approx(-np.pi / 2)
    source = SceneSource(episodes=path, scenes_dir=str(Path(flat_file).parent), sequential=True)
    env = gymnasium.make("embodied/ObjectNav-v0", scene=source, camera=CAMERA)
    observation, info = env.reset(seed=0)
    assert observation["goal"] == MPCAT40.index("sofa")
    assert 5.0 < info["distance_to_goal"] < 6.5  # to the nearer view point at x = 2
    env.close()


def test_missing_scene_names_the_folder_to_set(tmp_path: Path) -> None:
    path = write(tmp_path / "val.json.gz", {"episodes": [POINT]})
    with pytest.raises(SceneError, match="scenes_dir"):
        load_episodes(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"start_rotation": [0, 0, 0, 3]}, "unit quaternion"),
        ({"start_position": [1, 2]}, "episode 0"),
        ({"goals": []}, "no goal"),
        ({"goals": [{"radius": 1}]}, "position"),
        ({"object_category": "dragon"}, "dragon"),
    ],
)
def test_garbled_episodes_are_refused(
    tmp_path: Path, flat_file: str, change: dict, complaint: str
) -> None:
    path = write(tmp_path / "val.json.gz", {"episodes": [{**POINT, **change}]})
    with pytest.raises(NavigationError, match=complaint):
        load_episodes(path, Path(flat_file).parent)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NavigationError, match="no episode file"):
        load_episodes(tmp_path / "absent.json.gz")
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b'{"episodes": []}')[:-9])
    with pytest.raises(NavigationError, match="not a readable"):
        load_episodes(tmp_path / "cut.json.gz")
    empty = write(tmp_path / "empty.json.gz", {"episodes": []})
    with pytest.raises(NavigationError, match="content/"):
        load_episodes(empty)
