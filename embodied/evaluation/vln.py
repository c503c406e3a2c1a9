"""`embodied eval` on language-guided tasks: a trained run, or a baseline from a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from embodied import config as configuration
from embodied import registry
from embodied.errors import CheckpointError, ConfigError
from embodied.evaluation import explain as explaining
from embodied.evaluation.base import Episodes
from embodied.policies.base import Policy
from embodied.policies.vln.baselines import DetectorConfig
from embodied.policies.vln.dual_scale import DualScaleConfig, DualScaleInputs
from embodied.policies.vln.meta_explore import MetaExploreConfig
from embodied.policies.vln.trace import ExplainablePolicy
from embodied.rollout import evaluate_policy
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.source import load_source
from embodied.tasks.vln.vector import VLNVectorEnv
from embodied.training.checkpoint import open_checkpoint
from embodied.training.vln.config import VLNEvaluationConfig, VLNTrainConfig


@dataclass(frozen=True)
class VLNEvalConfig:
    """Everything that decides an evaluation.

    Attributes:
        evaluator: "vln"; tells a recipe of this kind from others.
        policy: row of the registry's table "vln_policy", or "module:attribute" of a class built
            without arguments.
        checkpoint: run or checkpoint folder of a trained agent.
        agent: how "dual_scale" acts; its sizes must be those it was trained with.
        meta: how "meta_explore" acts.
        detector: settings of "detector".
        task: the environment; its split and its number of episodes are those of `evaluation`.
        evaluation: which episodes.
        key: start of the published names; "" makes "reverie.val_unseen" for a trained agent,
            "reverie.random.val_unseen" for a baseline, "houses.meta_explore" in houses.
    """

    evaluator: str = "vln"
    policy: str = "random"
    checkpoint: str = ""
    agent: DualScaleConfig = field(default_factory=DualScaleConfig)
    meta: MetaExploreConfig = field(default_factory=MetaExploreConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    task: VLNConfig = field(default_factory=VLNConfig)
    evaluation: VLNEvaluationConfig = field(default_factory=VLNEvaluationConfig)
    key: str = ""


class VLNEvaluator:
    """Language-guided navigation; see `embodied.evaluation.base.Evaluator`.

    Args:
        what: recipe of a finished policy, or folder of a trained one.
        overrides: key.path=value.
        which: checkpoint of a run folder, "latest" or "best".
    """

    shown_metrics = (
        "success",
        "spl",
        "oracle_success",
        "distance_to_goal",
        "ndtw",
        "sdtw",
        "cls",
        "rgs",
        "rgspl",
        "rgs_strict",
        "rgspl_strict",
        "path_length",
        "steps",
    )

    def __init__(self, what: str, overrides: Sequence[str], which: str) -> None:
        self.which = which
        self._names: list[str] = []
        self.settings = load_settings(what, overrides, which)
        # The field's usual abbreviation; houses, which have no published tables, keep the word.
        houses = self.settings.task.dataset == "houses"
        self.published_names: Mapping[str, str] = {} if houses else {"success": "sr"}

    @property
    def key(self) -> str:
        """Start of the published names."""
        settings = self.settings
        if settings.key:
            return settings.key
        dataset, policy = settings.task.dataset, settings.policy
        if dataset == "houses":
            return f"houses.{'frontier' if policy == 'detector' else policy}"
        # Baselines by their name, so that they do not overwrite the agent's figures.
        named = f".{policy}" if not settings.checkpoint else ""
        return f"{dataset}{named}.{settings.evaluation.split}"

    @property
    def seed(self) -> int:
        """Of the policy's draws."""
        return self.settings.evaluation.seed

    def use_scene(self, scene: Path, episodes: int) -> None:
        """Play in one scene file, at most so many episodes.

        Raises:
            ConfigError: the task plays in the worlds of a data set.
        """
        task = self.settings.task
        if task.dataset != "houses":
            raise ConfigError(
                f"--scene {scene}: {task.dataset} plays in its own worlds. Use a recipe of houses, "
                "e.g. a run of vln/meta_explore_houses"
            )
        houses = dataclasses.replace(task.houses, files=(str(scene),), count=1)
        evaluation = self.settings.evaluation
        count = min(evaluation.episodes or episodes, episodes)
        self.settings = dataclasses.replace(
            self.settings,
            task=dataclasses.replace(task, houses=houses),
            evaluation=dataclasses.replace(evaluation, episodes=count),
        )

    def list_episode_names(self, count: int) -> Sequence[str]:
        """Return the data set's own names of the episodes played."""
        return self._names[:count]

    def play_episodes(self, explain: Path | None = None) -> Episodes:
        """Play the episodes; with `explain` save why each decision was made, a file per episode.

        Raises:
            ConfigError: explanations are asked of a policy that has none.
            CheckpointError: a trained agent made for other observations.
        """
        torch.set_num_threads(1)
        settings = self.settings
        policy = make_policy(settings, self.which)
        if explain and not isinstance(policy, ExplainablePolicy):
            raise ConfigError(
                f"--explain {explain}: the policy '{settings.policy}' records no decisions. "
                "meta_explore and the baselines do."
            )
        needed = tuple(getattr(policy, "observation_keys", ()))
        task = dataclasses.replace(
            settings.task,
            split=settings.evaluation.split,
            episodes=settings.evaluation.episodes,
            canvas="canvas" in needed,
            oracle_canvas="candidate_canvas" in needed,
            privileged="goal_distance" in needed,
        )
        source = load_source(task)
        count = len(source.episodes)
        env = VLNVectorEnv(min(settings.evaluation.envs, max(count, 1)), task, source=source)
        self._names = [episode.id for episode in env.episodes]
        inputs = getattr(policy, "inputs", None) or getattr(
            getattr(policy, "network", None), "inputs", None
        )
        if isinstance(inputs, DualScaleInputs):
            _require_inputs(settings, inputs, env)

        def save(number: int, row: int, figures: Mapping[str, float]) -> None:
            if explain and isinstance(policy, ExplainablePolicy):
                episode = env.episodes[number]
                trace = policy.get_traces()[row].to_json(goals=episode.goals)
                start = source.worlds[episode.world].positions[episode.start].tolist()
                trace |= {"world": episode.world, "start": start, "metrics": dict(figures)}
                explaining.save_trace(explain, episode.id, trace)

        return evaluate_policy(policy, env, count, settings.evaluation.seed, on_episode_end=save)

    def write_page(self, folder: Path, line: str) -> Path:
        """Draw the traces that `play` left in a folder; see `embodied.evaluation.explain`."""
        task = dataclasses.replace(self.settings.task, split=self.settings.evaluation.split)
        return explaining.write_page(folder, self._names, task, line)


def load_settings(what: str, overrides: Sequence[str], which: str = "latest") -> VLNEvalConfig:
    """Build the settings from a recipe name or file, or from the folder of a trained agent.

    Raises:
        ConfigError: unknown recipe or key, or a recipe that is not trained yet.
        CheckpointError: a folder without a usable checkpoint.
    """
    if Path(what).is_dir():
        return configuration.override(_from_checkpoint(what, which), overrides)
    tree = configuration.read_recipe(what)
    if "trainer" in tree:
        raise ConfigError(
            f"recipe {what} trains an agent, and there is nothing to evaluate yet. First: "
            f"embodied train {what}   Then: embodied eval runs/{Path(what).stem}"
        )
    tree = configuration.merge(tree, configuration.parse_overrides(overrides))
    return configuration.build(VLNEvalConfig, tree, source=f"recipe {what}")


def make_policy(settings: VLNEvalConfig, which: str = "latest") -> Policy:
    """Build the policy.

    Raises:
        ConfigError: unknown policy.
        CheckpointError: a trained one without a usable checkpoint.
    """
    made = registry.resolve("vln_policy", settings.policy)
    own = settings.policy not in registry.list_names("vln_policy")
    policy = made() if own else made(settings, which)
    if not isinstance(policy, Policy):
        raise ConfigError(f"policy '{settings.policy}' has no method act(observations, first)")
    return policy


def _from_checkpoint(folder: str, which: str) -> VLNEvalConfig:
    checkpoint = open_checkpoint(folder, which)
    source = f"{checkpoint.path}/config.yaml"
    trained = configuration.build(VLNTrainConfig, checkpoint.load_config(), source=source)
    return VLNEvalConfig(
        policy="meta_explore" if "mode" in trained.train.phases else "dual_scale",
        checkpoint=folder,
        agent=trained.policy,
        meta=trained.meta,
        task=trained.task,
        evaluation=trained.evaluation,
        key=trained.key,
    )


def _require_inputs(settings: VLNEvalConfig, inputs: DualScaleInputs, env: VLNVectorEnv) -> None:
    now = DualScaleInputs.from_spaces(env.single_observation_space)
    if now != inputs:
        raise CheckpointError(
            f"checkpoint {settings.checkpoint} was trained on other observations:\n"
            f"  checkpoint: {inputs.to_json()}\n  now:        {now.to_json()}\n"
            "Leave task.features as in its config.yaml."
        )
