"""Mobile picks step by step: settings of an evaluation, its task, its agent, its episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from embodied.errors import CheckpointError, ConfigError, suggest_nearest
from embodied.evaluation.navigation import describe_body
from embodied.policies.base import PolicyTask
from embodied.policies.factory import find_config_class, make_policy
from embodied.policies.mapping.mobile_pick import (
    ArmPolicy,
    ExpertArmPolicy,
    MobilePickAgent,
    MobilePickAgentConfig,
    MobilePickPolicy,
    SearchPolicy,
)
from embodied.rollout import get_row, play_episodes
from embodied.tasks.mobile_pick import MobilePickConfig, MobilePickEnv
from embodied.tasks.mobile_pick.config import STAND_HEIGHT
from embodied.training.navigation.evaluation_config import EvaluationConfig

EXPERT = "expert"
SEARCHES = ("frontier", "objectnav_frontier")
"""Registered policies that can explore for an arm."""


@dataclass(frozen=True)
class MobilePickEvalConfig:
    """Everything that decides an evaluation.

    Attributes:
        evaluator: "mobile_pick"; tells a recipe of this kind from others.
        search: policy that explores, e.g. "frontier" or "objectnav_frontier", or "module:Class" of
            a user's own.
        search_config: settings of that policy; may also stand in a block of its name.
        arm: "expert", or the run or checkpoint folder of a policy trained on the task "pick".
        agent: phases and hand-over; body, camera and measures of the arm are those of the task.
        task: the environment.
        evaluation: how many episodes, in which houses; they are played one by one.
        key: start of the published names.
    """

    evaluator: str = "mobile_pick"
    search: str = "frontier"
    search_config: Any = None
    arm: str = EXPERT
    agent: MobilePickAgentConfig = field(default_factory=MobilePickAgentConfig)
    task: MobilePickConfig = field(default_factory=MobilePickConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    key: str = "mobile_pick"

    def __post_init__(self) -> None:
        if self.search not in SEARCHES and ":" not in self.search:
            raise ConfigError(
                f"search = '{self.search}': {suggest_nearest(self.search, SEARCHES)}, or "
                "module:Class of your own"
            )


@dataclass(frozen=True)
class PickStep:
    """One step, seen from both sides.

    Attributes:
        env: the environment after the step.
        agent: the agent that chose it.
        observation: the observation it was chosen on.
        info: of the environment.
        done: the episode has ended.
    """

    env: MobilePickEnv
    agent: MobilePickAgent
    observation: Mapping[str, Any]
    info: Mapping[str, Any]
    done: bool


def task_of(settings: MobilePickEvalConfig) -> MobilePickConfig:
    """Return the task as it is played: its houses, and what its policies need."""
    wanted, navigation = settings.evaluation, settings.task.navigation
    arm = settings.task.arm
    if settings.arm != EXPERT:
        arm = dataclasses.replace(arm, observation="rgb")
    scene = dataclasses.replace(navigation.scene, split=wanted.split)
    return dataclasses.replace(
        settings.task,
        navigation=dataclasses.replace(navigation, scene=scene),
        arm=arm,
        expert=settings.arm == EXPERT,
    )


def build_policy(settings: MobilePickEvalConfig, which: str = "latest") -> MobilePickPolicy:
    """Build the agent for a task.

    Raises:
        ConfigError: unknown policy.
        CheckpointError: a folder without a policy of an arm, or one made for another task.
    """
    from embodied.simulators.bullet import RIGS

    body = describe_body(settings.task.navigation)
    reach = RIGS[settings.task.arm.robot].center[0]
    agent = dataclasses.replace(settings.agent, body=body, mount=STAND_HEIGHT, reach=reach)
    return MobilePickPolicy(agent, lambda: _search(settings), lambda: _arm(settings, which))


def _search(settings: MobilePickEvalConfig) -> SearchPolicy:
    name, config = settings.search, settings.search_config
    task = PolicyTask(settings.evaluation.seed, describe_body(settings.task.navigation))
    return make_policy(name, config or find_config_class(name)(), task)


def _arm(settings: MobilePickEvalConfig, which: str) -> ArmPolicy:
    if settings.arm == EXPERT:
        return ExpertArmPolicy()
    import torch

    from embodied.policies.chunk.base import ChunkPolicy
    from embodied.training.checkpoint import load_policy
    from embodied.training.manipulation.validation import require_fit

    torch.set_num_threads(1)
    policy = load_policy(settings.arm, which)
    if not isinstance(policy, ChunkPolicy):
        raise CheckpointError(
            f"arm = {settings.arm} holds the policy '{getattr(policy, 'name', '?')}', which does "
            "not command an arm. Give a run of a recipe manip/..., or 'expert'"
        )
    require_fit(policy, task_of(settings).arm)
    policy.seed(settings.evaluation.seed)
    return policy


def iter_steps(env: MobilePickEnv, policy: MobilePickPolicy, seed: int) -> Iterator[PickStep]:
    """Play one episode and yield its steps."""
    for step in play_episodes(env, policy, seed):
        yield PickStep(
            env, policy.agents[0], get_row(step.observations, 0), step.get_info(0),
            bool(step.done[0]),
        )  # fmt: skip
