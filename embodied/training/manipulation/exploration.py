"""Play a refined policy in many environments and write down what happens.

A transition needs the base's action of the step that follows. Where that step replans, it is the
first of the new chunk; transitions are therefore written when the next step is prepared, with what
that step really plays. An episode that was cut off by the clock would have gone on: its last
transition gets the action that the base would have played in its last state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.policies.chunk.residual import ResidualPolicy
from embodied.rollout import EpisodeMeter, EpisodeMetrics, Rollout, RolloutStep
from embodied.tasks.tabletop import TabletopConfig, TabletopVectorEnv
from embodied.training.manipulation.guidance import (
    GuidanceOracle,
    compute_direction_cosine,
    guidance_decay,
)
from embodied.training.manipulation.refinement_config import RefinementLoop
from embodied.training.replay import ReplayBuffer

Array = NDArray[np.float32]

OBJECT_SIZE = 7
_NEARNESS = 10.0  # scale of places of objects seen from the gripper [1/m]


class RefinementCollector:
    """Steps the environments.

    Args:
        policy: plays; its amplitude says how far it may go.
        task: of the environments, with images.
        loop: what is rewarded.
        horizon: control steps that imagination looks ahead.

    Attributes:
        env: the environments; images are rendered only where the base replans.
        observation_size: D, numbers of an observation: what the actor sees, and what critics see
            beside it.
        guidance_means: mean guidance of each step since this list was emptied, before its weight.
    """

    def __init__(
        self, policy: ResidualPolicy, task: TabletopConfig, loop: RefinementLoop, horizon: int
    ) -> None:
        self.policy, self._loop = policy, loop
        settings = replace(task, privileged=loop.privileged, reward=loop.reward)
        self.env = TabletopVectorEnv(loop.envs, settings, lazy=True)
        spaces = self.env.single_observation_space
        extra = spaces["objects"].shape[0] if loop.privileged else 0  # type: ignore[index]
        self.observation_size = policy.features_size + extra
        self._oracle = GuidanceOracle(task, horizon) if loop.guidance == "oracle" else None
        self._goals = np.zeros((loop.envs, 3))
        self._rollout = Rollout(self.env, self)
        self.guidance_means: list[float] = []

    def begin_episodes(self, seed: int, draws: int) -> None:
        """Start new episodes everywhere.

        Args:
            seed: number of the first.
            draws: seed of what the base draws.
        """
        self.policy.seed(draws)
        self.policy.reset()
        self._meter = EpisodeMeter(self.env.num_envs)
        self._counted = np.zeros(self.env.num_envs, np.int64)
        observation, _ = self._rollout.reset(seed)
        self._seen = self._prepare(observation, np.ones(self.env.num_envs, bool))

    @torch.no_grad()
    def collect_step(self, replay: ReplayBuffer) -> list[tuple[int, EpisodeMetrics]]:
        """Play one step with draws of the actor; return the figures of the episodes that ended."""
        seen, step = self._seen, self._rollout.play_step()
        ended = np.flatnonzero(step.done)
        after = step.next_observations["state"].copy()
        if len(ended):
            after[ended] = step.get_last_observations(ended)["state"]
        guidance = self._guidance(step.observations["state"][:, :3], after[:, :3])
        self.guidance_means.append(float(guidance.mean()))
        price = self._loop.violation_penalty * self._violations(step)
        cut = np.flatnonzero(step.truncated & ~step.terminated)
        beyond = self._beyond(cut, step) if len(cut) else None
        self._seen = self._prepare(step.next_observations, step.done)
        following = self._seen.clone()
        if beyond is not None:
            following[cut] = beyond
        replay.add(
            observation=seen.numpy(), action=step.actions, reward=step.reward - 1.0 - price,
            next_observation=following.numpy(), terminated=step.terminated, guidance=guidance,
        )  # fmt: skip
        return self._meter.add_step(step)

    def act(self, observations: Mapping[str, Any], first: NDArray[np.bool_]) -> Array:
        """Correct the base's actions by draws of the actor."""
        policy, seen = self.policy, self._seen.to(self.policy.device)
        said, _ = policy.actor.sample(seen[:, : policy.features_size])
        actions: Array = policy.combine_actions(seen[:, policy.base_columns], said).cpu().numpy()
        policy.pop_actions()
        return actions

    def close(self) -> None:
        """Close all worlds."""
        self.env.close()
        if self._oracle is not None:
            self._oracle.close()

    def _guidance(self, before: Array, after: Array) -> NDArray[np.float64]:
        """Return what is to be paid for going where the gripper should go, (N,), before w."""
        kind = self._loop.guidance
        if kind == "none":
            return np.zeros(len(before))
        way = compute_direction_cosine(before, after, self._goals)
        return (
            way if kind == "no_decay" else way * guidance_decay(self.policy.predictions["progress"])
        )

    def _violations(self, step: RolloutStep) -> NDArray[np.int64]:
        """Return how many kinds of violation happened in the step just done, (N,)."""
        counts = last = _violations(step.infos)
        if step.done.any():
            last = np.where(step.done, _violations(step.infos["final_info"]), counts)
        new, self._counted = last - self._counted, counts
        return new

    def _prepare(self, seen: Mapping[str, Any], first: NDArray[np.bool_]) -> Tensor:
        """Let the base replan where it has to; return what is seen then, (N, D)."""
        policy = self.policy
        policy.refill_chunks(seen, first)
        fresh = np.flatnonzero(policy.count_played_actions() == 0)
        if self._oracle is not None:
            self._goals[fresh] = self._oracle.predict_positions(self.env, fresh.tolist())
        elif policy.imagines:
            self._goals[fresh] = policy.imagined_position[fresh]
        return self._view(seen)

    def _beyond(self, rows: NDArray[np.int64], step: RolloutStep) -> Tensor:
        """Return what would be seen next, (M, D), in episodes that were cut off.

        Args:
            rows: (M,) their environments.
            step: their last.
        """
        due = np.isin(rows, self.policy.find_due_rows())
        if due.any():
            self.policy.replan_chunks(rows[due], step.get_last_observations(rows[due]))
        return self._view(step.get_last_observations(rows), rows)

    def _view(
        self, observations: Mapping[str, Any], rows: NDArray[np.int64] | None = None
    ) -> Tensor:
        state = observations["state"]
        seen = self.policy.build_actor_features(state, rows).cpu()
        if not self._loop.privileged:
            return seen
        objects = relative_objects(observations["objects"], state[:, :3])
        return torch.cat([seen, torch.from_numpy(objects)], dim=1)


def relative_objects(objects: Array, hand: Array) -> Array:
    """Return privileged observations (N, P) with the places of things seen from the gripper.

    Args:
        objects: (N, P): poses (7) one after the other, then whatever else there is.
        hand: (N, 3) place of the gripper [m].

    Returns:
        (N, P): ways from the gripper in tenths of a metre, the rest as it was.
    """
    made = objects.copy()
    for start in range(0, objects.shape[1] - OBJECT_SIZE + 1, OBJECT_SIZE):
        made[:, start : start + 3] = _NEARNESS * (objects[:, start : start + 3] - hand)
    return made


def _violations(infos: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the violations of all kinds in the episodes so far, (N,)."""
    return np.sum(list(infos["violations"].values()), axis=0)
