"""`embodied eval` on language-guided tasks: a trained run, or a baseline from a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from embodied import config as configuration
from embodied.errors import CheckpointError, ConfigError
from embodied.evaluation import explain as explaining
from embodied.evaluation.base import Episodes, Evaluator
from embodied.evaluation.settings import build_settings, refuse_untrained
from embodied.policies.base import PolicyTask
from embodied.policies.factory import find_config_class, make_policy
from embodied.policies.vln.continuous import GraphPolicy
from embodied.policies.vln.dual_scale import DualScaleInputs, DualScaleNetwork
from embodied.policies.vln.trace import ExplainablePolicy
from embodied.rollout import evaluate_policy
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.source import load_source
from embodied.tasks.vln.vector import VLNVectorEnv
from embodied.training.checkpoint import load_policy, open_checkpoint
from embodied.training.vln.agent import DualScaleAgent
from embodied.training.vln.config import VLNEvaluationConfig, VLNTrainConfig

TABLE = "vln_policy"
"""Of the registry: what can be played here."""

BLOCKS = {"agent": "dual_scale", "meta": "meta_explore"}
"""Blocks of settings that are not called as their policy is."""


@dataclass(frozen=True)
class VLNEvalConfig:
    """Everything that decides an evaluation.

    Attributes:
        evaluator: "vln"; tells a recipe of this kind from others.
        policy: row of the registry's table "vln_policy", or "module:Class" of a user's own.
        policy_config: settings of that policy, how a trained one acts included. May also stand in a
            block of its name; "meta" is one of "meta_explore", "agent" one of "dual_scale", whose
            sizes must be those it was trained with.
        checkpoint: run or checkpoint folder of a trained agent.
        task: the environment; its split and its number of episodes are those of `evaluation`.
        evaluation: which episodes.
        key: start of the published names; "" makes "reverie.val_unseen" for a trained agent,
            "reverie.random.val_unseen" for a baseline, "houses.meta_explore" in houses.
    """

    evaluator: str = "vln"
    policy: str = "random"
    policy_config: Any = None
    checkpoint: str = ""
    task: VLNConfig = field(default_factory=VLNConfig)
    evaluation: VLNEvaluationConfig = field(default_factory=VLNEvaluationConfig)
    key: str = ""


class VLNEvaluator(Evaluator):
    """Language-guided navigation; see `embodied.evaluation.base.Evaluator`.

    Args:
        what: recipe of a finished policy, or folder of a trained one.
        overrides: key.path=value.
        which: checkpoint of a run folder, "latest" or "best".
    """

    settings: VLNEvalConfig
    shown_metrics: Sequence[str] = (
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
        super().__init__(self.load_settings(what, overrides), which)
        self._names: list[str] = []
        # The field's usual abbreviation; houses, which have no published tables, keep the word.
        houses = self.settings.task.dataset == "houses"
        self.published_names = {} if houses else {"success": "sr"}

    def load_settings(self, what: str, overrides: Sequence[str]) -> VLNEvalConfig:
        """Build the settings from a recipe name or file, or from the folder of a trained agent.

        Raises:
            ConfigError: unknown recipe or key, or a recipe that is not trained yet.
            CheckpointError: a folder without a usable checkpoint.
        """
        if Path(what).is_dir():
            tree, source = _read_run(what, self.which), "override"
        else:
            tree, source = configuration.read_recipe(what), f"recipe {what}"
            if "trainer" in tree:
                raise refuse_untrained(what)
        tree = configuration.merge(tree, configuration.parse_overrides(overrides))
        return build_settings(VLNEvalConfig, tree, source, table=TABLE, blocks=BLOCKS)

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

    def place_task(self, scene: Path) -> VLNConfig:
        """Return the task in one scene file.

        Raises:
            ConfigError: it plays in the worlds of a data set.
        """
        task = self.settings.task
        if task.dataset != "houses":
            raise ConfigError(
                f"--scene {scene}: {task.dataset} plays in its own worlds. Use a recipe of houses, "
                "e.g. a run of vln/meta_explore_houses"
            )
        houses = dataclasses.replace(task.houses, files=(str(scene),), count=1)
        return dataclasses.replace(task, houses=houses)

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
        policy = PolicyMaker(settings, self.which).make_policy()
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


class PolicyMaker:
    """Builds the policy of an evaluation, as often as it is asked to, on one trained network.

    Args:
        settings: which policy, its settings, and the run that holds its network.
        which: checkpoint of the run folder, "latest" or "best".

    Raises:
        CheckpointError: a run without a usable checkpoint, or of another kind of policy.
    """

    def __init__(self, settings: VLNEvalConfig, which: str = "latest") -> None:
        self._settings = settings
        network = _load_network(settings.checkpoint, which) if settings.checkpoint else None
        self._task = PolicyTask(settings.evaluation.seed, network=network)

    def make_policy(self) -> GraphPolicy:
        """Build it once more.

        Raises:
            ConfigError: unknown policy.
            CheckpointError: a trained one without a run.
        """
        name, config = self._settings.policy, self._settings.policy_config
        return make_policy(name, config or find_config_class(name, TABLE)(), self._task, TABLE)


def _load_network(folder: str, which: str) -> DualScaleNetwork:
    agent = load_policy(folder, which)
    if not isinstance(agent, DualScaleAgent):
        raise CheckpointError(
            f"{folder} holds the policy '{getattr(agent, 'name', '?')}', which cannot follow "
            "instructions. Give a run of a recipe vln/..."
        )
    return agent.network


def _read_run(folder: str, which: str) -> dict[str, Any]:
    """Return the settings of a trained agent's evaluation as a nested mapping."""
    checkpoint = open_checkpoint(folder, which)
    source = f"{checkpoint.path}/config.yaml"
    trained = configuration.build(VLNTrainConfig, checkpoint.load_config(), source=source)
    settings = {
        "policy": "meta_explore" if "mode" in trained.train.phases else "dual_scale",
        "checkpoint": folder,
        "dual_scale": trained.policy,
        "meta_explore": trained.meta,
        "task": trained.task,
        "evaluation": trained.evaluation,
        "key": trained.key,
    }
    return {name: configuration.to_dict(value) for name, value in settings.items()}


def _require_inputs(settings: VLNEvalConfig, inputs: DualScaleInputs, env: VLNVectorEnv) -> None:
    now = DualScaleInputs.from_spaces(env.single_observation_space)
    if now != inputs:
        raise CheckpointError(
            f"checkpoint {settings.checkpoint} was trained on other observations:\n"
            f"  checkpoint: {inputs.to_json()}\n  now:        {now.to_json()}\n"
            "Leave task.features as in its config.yaml."
        )
