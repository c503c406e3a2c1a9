"""What `embodied eval` and the demo measure: one policy on one task, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gymnasium.vector import VectorEnv

from embodied import config as configuration
from embodied import registry
from embodied.errors import CheckpointError, ConfigError
from embodied.evaluation.base import Episodes, Evaluator
from embodied.evaluation.settings import build_settings, refuse_untrained
from embodied.policies.base import Policy, PolicyTask
from embodied.policies.factory import find_config_class, make_policy
from embodied.policies.mapping.mapper import BodyConfig
from embodied.rollout import evaluate_policy
from embodied.tasks.navigation.config import NavigationConfig
from embodied.training.navigation.evaluation_config import EvaluationConfig
from embodied.types import DiscreteActions, Observations

NavigationPolicy = Policy[Observations, DiscreteActions]


@dataclass(frozen=True)
class EvalConfig:
    """Everything that decides an evaluation.

    Attributes:
        policy: registered name, or "module:Class" of a user's own.
        policy_config: settings of that policy; the body and camera it believes to have are those of
            the task. A registered policy's may also stand in a block of its name.
        checkpoint: run or checkpoint folder of a learned policy.
        task: the environment.
        evaluation: how many episodes, in which houses.
        key: start of the published names, e.g. "explore" in "explore.coverage".
    """

    policy: str = "random"
    policy_config: Any = None
    checkpoint: str = ""
    task: NavigationConfig = field(default_factory=NavigationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    key: str = ""


class NavigationEvaluator(Evaluator):
    """Point, object and image navigation, and exploration."""

    settings: EvalConfig
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

    def __init__(self, what: str, overrides: Sequence[str], which: str) -> None:
        super().__init__(load_settings(what, overrides, which), which)

    def place_task(self, scene: Path) -> NavigationConfig:
        """Return the task in one scene file."""
        task = self.settings.task
        source = dataclasses.replace(task.scene, files=(str(scene),), episodes="", count=1)
        return dataclasses.replace(task, scene=source)

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
        return play_episodes(self.settings, build_policy(self.settings, self.which))


def load_settings(what: str, overrides: Sequence[str], which: str = "latest") -> EvalConfig:
    """Build the settings from a recipe name or file, or from the folder of a trained policy.

    Raises:
        ConfigError: unknown recipe or key, or a recipe of a policy that is not trained yet.
        CheckpointError: a folder without a usable checkpoint.
    """
    if Path(what).is_dir():
        tree, source = _read_run(what, which), "override"
    else:
        tree, source = configuration.read_recipe(what), f"recipe {what}"
        tree.pop("evaluator", None)
        if not isinstance(tree.get("policy", ""), str):
            raise refuse_untrained(what)
    tree = configuration.merge(tree, configuration.parse_overrides(overrides))
    return build_settings(EvalConfig, tree, source)


def build_policy(settings: EvalConfig, which: str = "latest") -> NavigationPolicy:
    """Build the policy for a task.

    Raises:
        ConfigError: unknown policy, or settings of a trained one, which are in its checkpoint.
        CheckpointError: a learned policy without a usable checkpoint, or one of another policy.
    """
    config = settings.policy_config or find_config_class(settings.policy)()
    if settings.policy in registry.list_names("restore"):
        if config != type(config)():
            raise ConfigError(
                f"the policy '{settings.policy}' acts as it was trained: leave out policy_config"
            )
        from embodied.training.checkpoint import load_policy

        policy: NavigationPolicy = load_policy(settings.checkpoint, which)
        return policy
    task = PolicyTask(settings.evaluation.seed, describe_body(settings.task))
    return make_policy(settings.policy, config, task)


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


def require_inputs(policy: NavigationPolicy, env: VectorEnv, settings: EvalConfig) -> None:
    """Check that a learned policy was trained on the observations and the camera of this task.

    Raises:
        CheckpointError: it was trained on others.
    """
    if settings.policy != "recurrent":
        return
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


def play_episodes(settings: EvalConfig, policy: NavigationPolicy) -> Episodes:
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


def _read_run(folder: str, which: str) -> dict[str, Any]:
    """Return the settings of a trained policy's evaluation as a nested mapping.

    Of the run's configuration only the parts "task" and "evaluation" are read: whatever procedure
    trained the policy has settings of its own beside them.
    """
    from embodied.training.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(folder, which)
    source, tree = f"{checkpoint.path}/config.yaml", checkpoint.load_config()
    task = configuration.build(NavigationConfig, tree.get("task", {}), f"{source}: task")
    evaluation = configuration.build(
        EvaluationConfig, tree.get("evaluation", {}), f"{source}: evaluation"
    )
    return {
        "policy": "recurrent",  # any learned one: the checkpoint itself says which it holds
        "checkpoint": folder,
        "task": configuration.to_dict(task),
        "evaluation": configuration.to_dict(evaluation),
        "key": task.task,
    }
