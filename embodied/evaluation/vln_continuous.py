"""`embodied eval vln/continuous_houses`: agents of the graph task drive a body, zero-shot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from embodied import config as configuration
from embodied.errors import ConfigError
from embodied.evaluation import explain as explaining
from embodied.evaluation.base import Episodes
from embodied.evaluation.settings import build_settings
from embodied.evaluation.vln import BLOCKS, TABLE, PolicyMaker, VLNEvalConfig, VLNEvaluator
from embodied.policies.vln.continuous import ContinuousConfig, ContinuousPolicy, GraphPolicy
from embodied.policies.vln.trace import ExplainablePolicy
from embodied.rollout import evaluate_policy
from embodied.simulators.base import AgentSpec
from embodied.tasks.vln.continuous_env import ContinuousVectorEnv
from embodied.tasks.vln.continuous_task import ContinuousTaskConfig, load_continuous_source


@dataclass(frozen=True)
class ContinuousEvalConfig(VLNEvalConfig):
    """An evaluation with low-level actions; the rest is the graph task's, see `VLNEvalConfig`.

    Attributes:
        drive: how the body walks on its live map; its measures are taken from `body`.
        body: the simulated body.
        max_steps: actions per episode.
        goal_distance: walking distance from a goal place within which STOP succeeds [m].
    """

    evaluator: str = "vlnce"
    drive: ContinuousConfig = field(default_factory=ContinuousConfig)
    body: AgentSpec = field(default_factory=lambda: AgentSpec(turn=15.0))
    max_steps: int = 500
    goal_distance: float = 1.0


class ContinuousEvaluator(VLNEvaluator):
    """See `embodied.evaluation.base.Evaluator`.

    Args:
        what: recipe.
        overrides: key.path=value; `checkpoint=runs/...` names a trained agent.
        which: its checkpoint, "latest" or "best".
    """

    shown_metrics = (
        "success",
        "spl",
        "oracle_success",
        "distance_to_goal",
        "ndtw",
        "sdtw",
        "path_length",
        "steps",
        "collisions",
        "decisions",
        "given_up",
    )
    settings: ContinuousEvalConfig

    def __init__(self, what: str, overrides: Sequence[str], which: str) -> None:
        super().__init__(what, overrides, which)
        self.published_names = {}

    def load_settings(self, what: str, overrides: Sequence[str]) -> ContinuousEvalConfig:
        """Build the settings from a recipe and overrides."""
        tree = configuration.merge(
            configuration.read_recipe(what), configuration.parse_overrides(overrides)
        )
        return build_settings(
            ContinuousEvalConfig, tree, f"recipe {what}", table=TABLE, blocks=BLOCKS
        )

    @property
    def key(self) -> str:
        """Start of the published names."""
        name = {"detector": "frontier"}.get(self.settings.policy, self.settings.policy)
        return self.settings.key or f"houses_continuous.{name}"

    def play_episodes(self, explain: Path | None = None) -> Episodes:
        """Play the episodes; every environment has a graph policy of its own.

        Raises:
            ConfigError: a policy that reads what a body cannot sense, or cannot be explained.
        """
        torch.set_num_threads(1)
        settings = self.settings
        maker = PolicyMaker(settings, self.which)
        _require_sensed(maker.make_policy(), settings.policy)
        policy = ContinuousPolicy(maker.make_policy, self._drive())
        wanted = settings.evaluation
        graph = dataclasses.replace(
            settings.task, split=wanted.split, episodes=wanted.episodes, dataset="houses"
        )
        task = ContinuousTaskConfig(
            graph, settings.body, settings.max_steps, settings.goal_distance
        )
        source = load_continuous_source(task)
        count = len(source.episodes)
        env = ContinuousVectorEnv(min(wanted.envs, count), task, source=source)
        self._names = [episode.id for episode in env.episodes]

        def save(number: int, row: int, figures: dict[str, float]) -> None:
            agent = policy.agents[row]
            figures["decisions"] = float(agent.decisions)
            figures["given_up"] = float(agent.walker.given_up)
            if explain is None:
                return
            if not isinstance(agent.policy, ExplainablePolicy):
                raise ConfigError(f"--explain: policy '{settings.policy}' records no decisions")
            episode = env.episodes[number]
            trace = agent.policy.get_traces()[0].to_json()
            start = source.worlds[episode.world].positions[episode.start].tolist()
            trace |= {"world": episode.world, "start": start, "metrics": dict(figures)}
            explaining.save_trace(explain, episode.id, trace)

        return evaluate_policy(policy, env, count, wanted.seed, on_episode_end=save)

    def _drive(self) -> ContinuousConfig:
        """Tell the driver about the body and the camera."""
        settings = self.settings
        body, houses = settings.body, settings.task.houses
        believed = dataclasses.replace(
            settings.drive.body,
            radius=body.radius,
            height=body.height,
            step_height=body.max_climb,
            forward=body.forward,
            turn=body.turn,
            camera_position=(0.0, houses.height, 0.0),
        )
        return dataclasses.replace(
            settings.drive, body=believed, max_objects=settings.task.max_objects,
            max_candidates=settings.task.max_candidates, reach=houses.reach,
        )  # fmt: skip


def _require_sensed(policy: GraphPolicy, name: str) -> None:
    """Check that a graph policy reads nothing that a body cannot sense.

    Raises:
        ConfigError: it does; says what.
    """
    needed = set(getattr(policy, "observation_keys", ())) & {
        "goal_distance", "candidate_goal_distances", "candidate_canvas"
    }  # fmt: skip
    if needed:
        raise ConfigError(
            f"policy '{name}' reads {', '.join(sorted(needed))}, which a body cannot "
            "sense; choose meta.mode and meta.local_goal without an oracle"
        )
