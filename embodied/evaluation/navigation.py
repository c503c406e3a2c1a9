"""What `embodied eval` and the demo measure: one policy on one task, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium.vector import VectorEnv

from embodied import config as configuration
from embodied import registry
from embodied.errors import CheckpointError, ConfigError
from embodied.policies.base import Policy
from embodied.policies.mapping.frontier import FrontierConfig
from embodied.policies.mapping.map_planner import MapPlannerConfig
from embodied.policies.mapping.mapper import BodyConfig
from embodied.policies.mapping.object_frontier import ObjectFrontierConfig
from embodied.results import Metric, build_metric, paired_metric
from embodied.rollout import evaluate_policy
from embodied.tasks.navigation.config import NavigationConfig
from embodied.training.navigation.evaluation_config import EvaluationConfig

Episodes = Sequence[Mapping[str, float]]


class NavigationEvaluator:
    """Point, object and image navigation, and exploration."""

    shown_metrics = (
        "success",
        "spl",
        "soft_spl",
        "coverage",
        "distance_to_goal",
        "path_length",
        "collisions",
        "steps",
    )
    published_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, what: str, overrides: Sequence[str], which: str) -> None:
        self.settings = load_settings(what, overrides, which)
        self.which = which

    @property
    def key(self) -> str:
        """Start of the published names."""
        return self.settings.key

    @property
    def seed(self) -> int:
        """Of the environments."""
        return self.settings.evaluation.seed

    def use_scene(self, scene: Path, episodes: int) -> None:
        """Play in one scene file, at most so many episodes."""
        self.settings = with_scene(self.settings, scene, episodes)

    def play_episodes(self, explain: Path | None = None) -> Episodes:
        """Play the episodes.

        Raises:
            ConfigError: explanations are asked for.
        """
        if explain:
            raise ConfigError(
                f"--explain {explain}: navigation policies record no decisions. "
                "Only language-guided ones (vln/...) do."
            )
        return play_episodes(self.settings, make_policy(self.settings, self.which))

    def write_page(self, folder: Path, line: str) -> Path:
        """Draw explanations: never reached, for `play_episodes` makes none."""
        raise ConfigError(f"--explain {folder}: no explanations of navigation policies ({line})")

    def list_episode_names(self, count: int) -> Sequence[str]:
        """Number the episodes: with one split and seed, number i is the same for every policy."""
        wanted = self.settings.evaluation
        return [f"{wanted.split}-{wanted.seed}-{number}" for number in range(count)]


@dataclass(frozen=True)
class EvalConfig:
    """Everything that decides an evaluation.

    Attributes:
        policy: registered name, or "module:attribute" of a class built without arguments.
        checkpoint: run or checkpoint folder of a learned policy.
        frontier, objectnav_frontier, map_planner: settings of the policy of that name; the body and
            camera they believe to have are those of the task.
        task: the environment.
        evaluation: how many episodes, in which houses.
        key: start of the published names, e.g. "explore" in "explore.coverage".
    """

    policy: str = "random"
    checkpoint: str = ""
    frontier: FrontierConfig = field(default_factory=FrontierConfig)
    objectnav_frontier: ObjectFrontierConfig = field(default_factory=ObjectFrontierConfig)
    map_planner: MapPlannerConfig = field(default_factory=MapPlannerConfig)
    task: NavigationConfig = field(default_factory=NavigationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    key: str = ""


def load_settings(what: str, overrides: Sequence[str], which: str = "latest") -> EvalConfig:
    """Build the settings from a recipe name or file, or from the folder of a trained policy.

    Raises:
        ConfigError: unknown recipe or key, or a recipe of a policy that is not trained yet.
        CheckpointError: a folder without a usable checkpoint.
    """
    if Path(what).is_dir():
        return configuration.override(_from_checkpoint(what, which), overrides)
    tree = configuration.read_recipe(what)
    tree.pop("evaluator", None)
    if not isinstance(tree.get("policy", ""), str):
        raise ConfigError(
            f"recipe {what} trains a policy, and there is nothing to evaluate yet. First: "
            f"embodied train {what}   Then: embodied eval runs/{Path(what).stem}"
        )
    tree = configuration.merge(tree, configuration.parse_overrides(overrides))
    return configuration.build(EvalConfig, tree, source=f"recipe {what}")


def with_scene(settings: EvalConfig, scene: Path, episodes: int = 10) -> EvalConfig:
    """Replace the houses by one scene file; `episodes` starts in it unless the recipe has fewer."""
    source = dataclasses.replace(settings.task.scene, files=(str(scene),), episodes="", count=1)
    count = min(settings.evaluation.episodes, episodes)
    return dataclasses.replace(
        settings,
        task=dataclasses.replace(settings.task, scene=source),
        evaluation=dataclasses.replace(settings.evaluation, episodes=count),
    )


def make_policy(settings: EvalConfig, which: str = "latest") -> Policy:
    """Build the policy for a task.

    Raises:
        ConfigError: unknown policy.
        CheckpointError: a learned policy without a usable checkpoint, or one of another policy.
    """
    if settings.policy == "recurrent":
        from embodied.training.checkpoint import load_policy

        return load_policy(settings.checkpoint, which)
    made = registry.resolve("policy", settings.policy)
    body = describe_body(settings.task)
    if settings.policy == "frontier":
        policy = made(dataclasses.replace(settings.frontier, body=body))
    elif settings.policy == "map_planner":
        policy = made(dataclasses.replace(settings.map_planner, body=body))
    elif settings.policy == "objectnav_frontier":
        search = settings.objectnav_frontier
        explore = dataclasses.replace(search.frontier, body=body)
        policy = made(dataclasses.replace(search, frontier=explore))
    elif settings.policy == "random":
        policy = made(settings.evaluation.seed)
    else:
        policy = made() if isinstance(made, type) else made
    if not isinstance(policy, Policy):
        raise ConfigError(f"policy '{settings.policy}' has no method act(observations, first)")
    return policy


def describe_body(task: NavigationConfig) -> BodyConfig:
    """Describe the task's body and camera to a policy that draws maps."""
    agent, camera = task.agent, task.camera
    return BodyConfig(
        radius=agent.radius,
        height=agent.height,
        step_height=agent.max_climb,
        forward=agent.forward,
        turn=agent.turn,
        camera_position=camera.position,
        hfov=camera.hfov,
        pitch=camera.pitch,
        max_range=min(10.0, camera.max_depth),
    )


def require_inputs(policy: Policy, env: VectorEnv, settings: EvalConfig) -> None:
    """Check that a learned policy was trained on the observations and the camera of this task.

    Raises:
        CheckpointError: it was trained on others.
    """
    from embodied.policies.recurrent import RecurrentPolicy
    from embodied.policies.recurrent_features import PolicyInputs

    if not isinstance(policy, RecurrentPolicy):
        return
    checkpoint, camera, eyes = settings.checkpoint, settings.task.camera, policy.config.features
    now = PolicyInputs.from_spaces(env.single_observation_space, env.single_action_space)
    if now != policy.inputs:
        raise CheckpointError(
            f"checkpoint {checkpoint} was trained on other observations or actions:\n"
            f"  checkpoint: {policy.inputs.to_json()}\n  now:        {now.to_json()}\n"
            "Leave task.task and task.camera as in its config.yaml."
        )
    trained = (eyes.hfov, eyes.camera_height, eyes.camera_pitch)
    given = (camera.hfov, camera.position[1], camera.pitch)
    if eyes.draws_map and trained != given:
        raise CheckpointError(
            f"checkpoint {checkpoint} draws its map for a camera with (hfov, height, pitch) = "
            f"{trained}; this task's has {given}. Leave task.camera as in its config.yaml."
        )


def play_episodes(settings: EvalConfig, policy: Policy) -> Episodes:
    """Play the episodes and return the metrics of each."""
    from embodied.tasks.navigation.vector import NavigationVectorEnv

    wanted = settings.evaluation
    scene = settings.task.scene
    # A fixed list of episodes, each in another house, whatever the number of environments.
    count = scene.count if scene.files or scene.episodes else wanted.episodes
    scene = dataclasses.replace(scene, split=wanted.split, sequential=True, count=count)
    expert = settings.policy == "expert"
    task = dataclasses.replace(settings.task, scene=scene, expert=expert)
    env = NavigationVectorEnv(min(wanted.envs, wanted.episodes), task)
    try:
        require_inputs(policy, env, settings)
        return evaluate_policy(policy, env, wanted.episodes, wanted.seed)
    finally:
        env.close()


def summarise_metrics(
    episodes: Episodes, command: str, prefix: str = "", differences: bool = False
) -> dict[str, Metric]:
    """Average every metric over the episodes; those undefined in some episode are left out.

    Args:
        episodes: figures of each.
        command: the command line that makes them again.
        prefix: of the names.
        differences: between two agents in the same episodes: a gain of 0 or 1 is no success flag.
    """
    found: dict[str, Metric] = {}
    for name in sorted(episodes[0]):
        values = np.array([e.get(name, np.nan) for e in episodes])
        if name not in ("episode", "collided") and np.isfinite(values).all():
            of = (
                paired_metric(values, 0 * values, command)
                if differences
                else build_metric(values, command)
            )
            found[f"{prefix}.{name}" if prefix else name] = of
    return found


def _from_checkpoint(folder: str, which: str) -> EvalConfig:
    from embodied.training.checkpoint import open_checkpoint
    from embodied.training.navigation.trainer import TrainConfig

    checkpoint = open_checkpoint(folder, which)
    tree: Any = checkpoint.load_config()
    trained = configuration.build(TrainConfig, tree, source=f"{checkpoint.path}/config.yaml")
    return EvalConfig(
        policy="recurrent",
        checkpoint=folder,
        task=trained.task,
        evaluation=trained.evaluation,
        key=trained.task.task,
    )
