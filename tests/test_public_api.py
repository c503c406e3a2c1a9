"""What the four packages offer at first sight: these names, documented, and loaded when used."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys

import pytest

PUBLIC = {
    "embodied": """
        AgentSpec CameraSpec EmbodiedError Policy Pose Rollout SceneSource Simulator evaluate_policy
        generate_house load_policy load_scene make_policy open_evaluator play_episodes
    """,
    "embodied.policies": """
        ActPolicy ActionSample ActorCriticPolicy BodyConfig ChunkPolicy DiffusionPolicy
        DualScalePolicy ExpertPolicy FrontierPolicy MapPlannerPolicy Mapper MetaExplorePolicy
        ObjectFrontierPolicy Policy PolicyTask RandomPolicy ReachPolicy RecurrentPolicy
        ResidualPolicy ScVlaPolicy make_policy require_observations
    """,
    "maps": """
        EgocentricMaps Frontier FrontierTracker GeodesicGrid OccupancyMap PanoramaObservation
        SemanticMap TopologicalGraph ValueMap ViewGraph WaypointProposalSpec
        compute_any_angle_distances compute_cost_field compute_focal_length draw_map
        extract_frontiers is_line_clear propose_waypoints trace_path unproject_pixels
    """,
    "robots": """
        Arm ArmDriver ArmFeatures ArmLimits ArmModel ArmState Bridge BridgeState BridgeStatus
        Command CommandKind CommandOutcome Joint Kinematics RecordedEpisode Recorder RecorderOptions
        RobotConfig RobotError RolloutConfig SafetyConfig Setpoint Shaper StopCategory Urdf Verdict
        VerdictReason Workspace audit_episode build_arm_limits check_command export_dataset
        list_models load_model load_robot move_to_joints read_episode read_urdf replay_episode
        run_policy
    """,
}

MEASURE = """
import json, sys, time
begin = time.process_time()
import {package}
print(json.dumps([time.process_time() - begin, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("package", PUBLIC)
def test_the_list_is_this_one(package: str) -> None:
    module = importlib.import_module(package)
    names = PUBLIC[package].split()
    assert names == sorted(names)
    assert module.__all__ == names
    assert set(names) <= set(dir(module))


@pytest.mark.parametrize(
    ("package", "name"), [(p, name) for p, names in PUBLIC.items() for name in names.split()]
)
def test_every_name_is_there_and_says_what_it_is(package: str, name: str) -> None:
    value = getattr(importlib.import_module(package), name)
    assert value.__name__ == name
    doc = inspect.getdoc(value) or ""
    assert len(doc.split()) > 3
    assert not doc.startswith(f"{name}(")  # what a dataclass writes when nobody else does


@pytest.mark.parametrize("package", PUBLIC)
def test_importing_is_fast_and_brings_no_heavy_package(package: str) -> None:
    def measure() -> tuple[float, set[str]]:
        command = [sys.executable, "-c", MEASURE.format(package=package)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, modules = json.loads(done.stdout)
        return seconds, set(modules)

    runs = [measure() for _ in range(3)]
    assert min(seconds for seconds, _ in runs) < 0.5  # of the processor: other jobs do not count
    heavy = {"torch", "numba", "cv2", "scipy", "trimesh", "pybullet", "transformers", "ruckig"}
    assert not heavy & runs[0][1]
    if not package.startswith("embodied"):
        assert not any(name.partition(".")[0] == "embodied" for name in runs[0][1])


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Simulater"):
        importlib.import_module("embodied").Simulater  # noqa: B018


def test_a_name_whose_package_is_absent_says_which_extra_brings_it() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import embodied\n"
        "try: embodied.load_policy\n"
        "except embodied.EmbodiedError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtraError")
    assert "embodied-stack[train]" in done.stdout
