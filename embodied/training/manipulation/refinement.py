"""Refine a frozen chunk policy online: a small residual learned by soft actor-critic.

First the base plays alone and fills the replay; then the actor's bounded correction is let in
little by little while it learns (Policy Decorator, arXiv 2412.13630, for the schedule; SC-VLA,
arXiv 2602.21633, section 3.3, for reward and inputs). The base is asked once per chunk, and images
are rendered only then.

A checkpoint holds base, actor, critics and replay. After each one all environments begin new
episodes, so that a run killed at any point and resumed repeats the same curve. One that is stopped
by a signal saves where it is, and goes on there with new episodes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from embodied import config as configuration
from embodied.errors import CheckpointError, ConfigError
from embodied.policies.chunk.base import ChunkPolicy
from embodied.policies.chunk.factory import VisuomotorConfig, apply_acting_settings
from embodied.policies.chunk.residual import ResidualPolicy, restore_policy
from embodied.rollout import EpisodeMetrics
from embodied.training.checkpoint import Checkpoint, load_policy, load_weights, open_checkpoint
from embodied.training.device import choose_device
from embodied.training.loop import average_metrics, derive_seed
from embodied.training.manipulation.config import VALIDATION_FROM
from embodied.training.manipulation.exploration import RefinementCollector
from embodied.training.manipulation.refinement_config import RefinementTraining
from embodied.training.manipulation.run import ValidatedRun
from embodied.training.manipulation.validation import play_episodes, require_fit
from embodied.training.sac import Sac

EXPLORATION_FROM = 100_000_000
"""First episode of exploration; tests, validation and demonstrations lie below."""

SLOWNESS = 0.25
"""What the mean length of episodes, as a share of their limit, costs where checkpoints are compared
by success: success counts first.
"""


def complete_config(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what a recipe takes over from the run of its base: task and policy.

    Raises:
        ConfigError: no base, or one that is no manipulation policy.
        CheckpointError: no usable checkpoint there.
    """
    base = str(tree.get("base", ""))
    if not base:
        raise ConfigError(
            "a refinement needs the run of a trained policy: base=runs/sc_vla_pick (made by "
            "embodied train manip/sc_vla_pick)"
        )
    checkpoint = open_checkpoint(base, str(tree.get("which", "latest")))
    of_base = checkpoint.load_config()
    if of_base.get("trainer") != "manipulation":
        raise ConfigError(
            f"{base} is a run of trainer '{of_base.get('trainer')}': give one of a recipe of "
            "trainer manipulation, e.g. manip/sc_vla_pick"
        )
    taken = {name: of_base[name] for name in ("tasks", "task", "policy")}
    return configuration.merge(taken, tree)


def train(
    config: RefinementTraining, run_dir: str | Path, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Refine the policy of a finished run.

    Args:
        config: the whole run; `complete_config` fills in what it takes over from the base.
        run_dir: its folder: checkpoints, metrics.jsonl, config.yaml and TensorBoard events.
        resume: go on from the newest checkpoint; without one, start.
        quiet: no progress on the screen.

    Returns:
        The last row of metrics.jsonl with "checkpoint", the newest checkpoint's folder.

    Raises:
        CheckpointError: `run_dir` holds a run already, or one of another configuration; or the base
            does not fit the task.
        TrainingInterrupted: after Ctrl-C or SIGTERM, with the progress saved.
    """
    run = _Run(config, Path(run_dir), resume)
    try:
        return run.run_updates(quiet)
    finally:
        run.explorer.close()


class _Run(ValidatedRun):
    """State of one training process; its score is success, less a little for slowness."""

    policy: ResidualPolicy
    optimizer: Sac
    settings: RefinementTraining

    def __init__(self, config: RefinementTraining, run_dir: Path, resume: bool) -> None:
        loop = config.refinement
        super().__init__(config, run_dir, resume, loop)
        self.task = config.get_task_config(config.tasks[0])
        self.policy = self._policy()
        self.policy.network.to(choose_device(loop.device))
        require_fit(self.policy, self.task)
        self.explorer = RefinementCollector(
            self.policy, self.task, loop, config.policy.sc_vla.imagination_horizon
        )
        self.optimizer = Sac(
            self.policy.actor,
            self.explorer.observation_size,
            self.policy.inputs.action,
            config.sac,
            self._effect,
            ("guidance",),
            self._reward,
            config.seed,
        )
        self._weight = 0.0
        self.restore_or_start()

    def run_update(self) -> dict[str, Any]:
        """Play and learn for one row of figures; validate when that is due."""
        loop, rng = self.settings.refinement, self.seed_draws()
        of_base: dict[str, float] = {}
        if not self.update:
            of_base = self._validate()
            self.reset_transient_state()
        begun, episodes, figures = time.monotonic(), [], []
        for step in range(self.update * loop.log_every, (self.update + 1) * loop.log_every,
                          loop.envs):  # fmt: skip
            self.policy.amplitude, self._weight = (
                loop.get_amplitude(step),
                loop.get_guidance_weight(step),
            )
            episodes += [
                episode for _, episode in self.explorer.collect_step(self.optimizer.replay)
            ]
            if step >= loop.learning_starts:
                figures += self.optimizer.learn_from(loop.envs, rng)
        self.update += 1
        row: dict[str, Any] = {
            "phase": "refinement" if figures else "base",
            "step": self.update * loop.log_every,
            "amplitude": self.policy.amplitude,
            "guiding": self._weight,
            "guidance": float(np.mean(self.explorer.guidance_means)),
        }
        self.explorer.guidance_means.clear()
        row |= {f"base_{name}": value for name, value in of_base.items()}
        row |= summarise_episodes(episodes) | average_metrics(figures)
        return self._closed(row, begun, "val_")

    def get_progress(self) -> dict[str, Any]:
        """Return the updates that are still owed."""
        return {"owed": self.optimizer.owed}

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load all weights and the replay."""
        load_weights(checkpoint, self.policy, self.optimizer)
        self.optimizer.owed = float(checkpoint.meta["progress"]["owed"])

    def reset_transient_state(self) -> None:
        """Begin new episodes everywhere."""
        seed = derive_seed(self.settings.seed, self.update)
        self.explorer.begin_episodes(EXPLORATION_FROM + seed // 2, seed)

    def _policy(self) -> ResidualPolicy:
        """Return base and actor; a resumed run has its own copy of the base."""
        config = self.settings
        if self.resumed:
            meta = open_checkpoint(self.run_dir).meta
            return restore_policy(meta["inputs"], configuration.to_dict(config))
        base = load_policy(config.base, config.which)
        if not isinstance(base, ChunkPolicy) or isinstance(base, ResidualPolicy):
            raise CheckpointError(
                f"{config.base} holds the policy '{getattr(base, 'name', '?')}', which plays no "
                "chunks of its own: give a run of manip/sc_vla_..., act_... or diffusion_..."
            )
        trained = open_checkpoint(config.base, config.which).load_config()["policy"]
        apply_acting_settings(base, configuration.build(VisuomotorConfig, trained), config.policy)
        policy = ResidualPolicy(base, config.residual, config.seed)
        policy.network.eval()
        return policy

    def _effect(self, observation: Tensor, said: Tensor) -> Tensor:
        return self.policy.combine_actions(observation[:, self.policy.base_columns], said)

    def _reward(self, batch: Mapping[str, Tensor]) -> Tensor:
        return batch["reward"] + self._weight * batch["guidance"]

    def _validate(self) -> dict[str, float]:
        loop = self.settings.refinement
        episodes = play_episodes(
            self.policy, self.task, loop.validate_episodes, loop.validate_envs, VALIDATION_FROM,
            progress=False,
        )  # fmt: skip
        figures = summarise_episodes(episodes)
        limit = self.explorer.env.batch.cells[0].max_steps
        self._score = figures["success"] - SLOWNESS * figures["steps"] / limit
        return figures


def summarise_episodes(episodes: Sequence[EpisodeMetrics]) -> dict[str, float]:
    """Sum up episodes.

    Returns:
        Means of "success" and "steps"; "throughput", successes per 1,000 control steps;
        "steps_to_success", mean length of those that succeeded; "violations_...", control steps
        with a violation per 1,000. Without episodes nothing; without a success no
        "steps_to_success" but NaN.
    """
    if not episodes:
        return {}
    success, steps = (np.array([e[name] for e in episodes]) for name in ("success", "steps"))
    rate = 1000 / steps.sum()
    kinds = sorted(name for name in episodes[0] if name.startswith("violations_"))
    return {
        "success": float(success.mean()),
        "steps": float(steps.mean()),
        "throughput": float(success.sum() * rate),
        "steps_to_success": float(steps[success > 0].mean()) if success.any() else float("nan"),
        **{name: float(sum(e[name] for e in episodes) * rate) for name in kinds},
    }
