"""Pre-training on replayed paths: four tasks, one of them per update (DUET, section 3.5).

mlm  the path to a goal; a share of the words is hidden and read off from what was seen.
mrc  the path to a goal; a share of the last panorama's views and objects is hidden.
sap  a shortest path to a goal, to a place on the annotated path, or anywhere else; what would the
     expert do there? STOP at a goal, else the place on the shortest way on, judged over all places
     seen on the path. (Some released code takes the goal from the shortened path's own end, so that
     "stop" and "go on" get the same input; here the goal always is the episode's.)
og   the path to a place that sees the target; which object is it?

A path is the shortest way in the true graph from the episode's start; the annotated one where a
goal is its end.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.policies.vln.dual_scale.experts import IGNORED, ExpertLabels, ExpertMemory
from embodied.policies.vln.dual_scale.losses import (
    PanoramaMasking,
    ReplayStep,
    compute_decision_losses,
    compute_mlm_loss,
    compute_mrc_loss,
    compute_sap_losses,
    mask_words,
    replay_paths,
)
from embodied.policies.vln.dual_scale.policy import DualScalePolicy
from embodied.training.vln.config import VLNTrainConfig
from embodied.training.vln.data import TrainingData, WalkerBatch
from embodied.training.vln.optimizer import make_optimizer, step_optimizer


class Pretraining:
    """The phase "pretrain"; see `embodied.training.vln.trainer.Phase`.

    Args:
        config: of the run.
        policy: whose network learns.
        data: episodes and walkers.
    """

    validated = False

    def __init__(self, config: VLNTrainConfig, policy: DualScalePolicy, data: TrainingData) -> None:
        self.settings, self.network, self.data = config.pretrain, policy.network, data
        self.steps = self.settings.steps
        # Without a target object (R2R) there is nothing to ground.
        targets = any(episode.target >= 0 for episode in data.source.episodes)
        self.tasks = tuple(t for t in self.settings.tasks if targets or t != "og") or ("sap",)

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Build the optimiser over the whole network."""
        return make_optimizer(self.network, self.settings.optimizer)

    def run_update(
        self, optimizer: torch.optim.Optimizer, done: int, seed: int
    ) -> dict[str, float]:
        """Replay a batch of paths and learn one task from them."""
        rng = np.random.default_rng([seed, 5])
        task = self.tasks[int(rng.integers(len(self.tasks)))]
        episodes = self.data.draw_episodes(done, self.settings.batch_size)
        walkers = self.data.get_walkers(len(episodes))
        walkers.begin_episodes(range(len(episodes)), episodes)
        paths = [self._path(walkers, row, task, rng) for row in range(len(episodes))]
        words = [self.data.get_episode(number).instruction for number in episodes]
        loss, figures = self._loss(task, walkers, words, paths)
        settings = self.settings.optimizer
        norm = step_optimizer(optimizer, loss, settings, done, max(1, self.steps))
        figures = {f"{task}_{name}": value for name, value in figures.items()}
        return {"loss": float(loss.detach()), "gradient": norm} | figures

    def _path(
        self, walkers: WalkerBatch, row: int, task: str, rng: np.random.Generator
    ) -> list[int]:
        """Draw where a path ends and return it, the start first."""
        episode = self.data.get_episode(int(walkers.current[row]))
        world = walkers.get_world(row)
        end = int(rng.choice(episode.goals))
        if task == "sap":
            odds = np.array(self.settings.ends) / sum(self.settings.ends)
            kind = int(rng.choice(3, p=odds))
            if kind == 1:
                end = int(rng.choice(episode.path))
            elif kind == 2:
                reachable = np.flatnonzero(np.isfinite(world.distances[episode.start]))
                end = int(rng.choice(reachable))
        elif end == episode.path[-1]:
            return list(episode.path)
        path: list[int] = world.find_path(episode.start, end)
        return path

    def _loss(
        self, task: str, walkers: WalkerBatch, words: list[str], paths: list[list[int]]
    ) -> tuple[Tensor, dict[str, float]]:
        network, share = self.network, self.settings.mask_ratio
        expert = ExpertMemory(len(paths))
        expert.begin_episodes(range(len(paths)))
        steps = _steps(walkers, paths, expert)
        if task == "mlm":
            hidden = mask_words(network, words, share)
            state = replay_paths(network, words, steps, text=hidden.text)
            loss = compute_mlm_loss(state, hidden.targets)
            return loss, {"loss": float(loss.detach())}
        if task == "mrc":
            hiding = PanoramaMasking(network, share)
            state = replay_paths(network, words, steps, hide=hiding)
            loss = compute_mrc_loss(network, state.score_choices(), hiding)
            return loss, {"loss": float(loss.detach())}
        state = replay_paths(network, words, steps)
        decision = state.score_choices()
        labels = expert.compute_labels(decision, state.graphs)
        if task == "og":
            return _grounding(compute_decision_losses(decision, labels), decision.objects, labels)
        losses = compute_sap_losses(decision, labels)
        loss = torch.stack([values.mean() for values in losses.values()]).sum()
        right = (decision.fused.argmax(-1) == labels.fused)[labels.fused != IGNORED]
        return loss, {"loss": float(loss.detach()), "right": float(right.float().mean())}


def _grounding(
    losses: dict[str, Tensor], logits: Tensor, labels: ExpertLabels
) -> tuple[Tensor, dict[str, float]]:
    known = labels.objects != IGNORED
    if "objects" not in losses or not known.any():
        return sum(values.sum() * 0.0 for values in losses.values()) + torch.zeros(()), {}
    loss = losses["objects"].sum() / known.sum()
    right = (logits.argmax(-1) == labels.objects)[known].float().mean()
    return loss, {"loss": float(loss.detach()), "right": float(right)}


def _steps(walkers: WalkerBatch, paths: list[list[int]], expert: ExpertMemory) -> list[ReplayStep]:
    """Walk B paths so that all end at the same step; return what was seen at every step."""
    longest = max(map(len, paths))
    begins = np.array([longest - len(path) for path in paths])
    steps: list[ReplayStep] = []
    for number in range(longest):
        rows: NDArray[np.int64] = np.flatnonzero(begins <= number)
        for row in rows[begins[rows] < number].tolist():
            walkers.walk_path(row, [paths[row][number - int(begins[row])]])
        observations = walkers.observe(rows)
        expert.observe(observations, rows)
        steps.append((rows, observations))
    return steps
