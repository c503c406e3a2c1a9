"""Fine-tuning while walking: the shortest-path expert labels what the agent itself runs into.

The pseudo-interactive demonstrator of DUET (section 3.5), which is DAgger (Ross et al. 2011): per
update a batch of episodes is walked twice, once by the expert (teacher forcing) and once by
decisions drawn from the agent's own logits. Every decision of both is labelled by the expert:
STOP at the goal, else the place that minimises walked distance plus true distance to the goal, over
all unvisited places (`fused`) and over the neighbours (`explore`). An episode ends when the agent
stands on the goal, whatever it decides there. A premature STOP is not drawn, because it would end
the episode and hide everything behind it (our choice; the released code lets it end).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.policies.vln.dual_scale import Decision, DualScaleState
from embodied.policies.vln.dual_scale.experts import IGNORED, ExpertLabels, ExpertMemory
from embodied.policies.vln.dual_scale.losses import compute_decision_losses
from embodied.policies.vln.dual_scale.policy import DualScalePolicy
from embodied.training.vln.config import FinetuneConfig, VLNTrainConfig
from embodied.training.vln.data import TrainingData, WalkerBatch
from embodied.training.vln.optimizer import make_optimizer, step_optimizer

NEVER = float("-inf")


class Finetuning:
    """The phase "finetune"; see `embodied.training.vln.trainer.Phase`.

    Args:
        config: of the run.
        policy: whose network learns.
        data: episodes and walkers.
    """

    validated = True

    def __init__(self, config: VLNTrainConfig, policy: DualScalePolicy, data: TrainingData) -> None:
        self.config, self.policy, self.data = config, policy, data
        self.settings = config.finetune
        self.steps = self.settings.steps

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Build the optimiser over the whole network."""
        return make_optimizer(self.policy.network, self.settings.optimizer)

    def run_update(
        self, optimizer: torch.optim.Optimizer, done: int, seed: int
    ) -> dict[str, float]:
        """Walk a batch of episodes twice and learn from both walks."""
        settings = self.settings
        rng = np.random.default_rng([seed, 3])
        episodes = self.data.draw_episodes(done, settings.batch_size)
        goals = [self._goal(number, rng) for number in episodes]
        walks = (
            ("teacher", settings.teacher_weight, True),
            ("sample", settings.sample_weight, False),
        )
        total = torch.zeros(())
        figures: dict[str, float] = {}
        for name, weight, taught in walks:
            if weight > 0:
                walk = self._walk(episodes, goals, rng, taught)
                total = total + weight * walk.loss / len(episodes)
                figures |= {f"{name}_{key}": value for key, value in walk.figures.items()}
        norm = step_optimizer(optimizer, total, settings.optimizer, done, self.steps)
        return {"loss": float(total.detach()), "gradient": norm} | figures

    def _goal(self, number: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw the place an episode leads to: one that sees the target, or the annotated one."""
        episode = self.data.get_episode(number)
        if self.settings.endpoints == "nearest":
            return episode.goals
        if self.settings.endpoints == "drawn":
            return (int(rng.choice(episode.goals)),)
        return (episode.path[-1],)

    def _walk(
        self,
        episodes: list[int],
        goals: list[tuple[int, ...]],
        rng: np.random.Generator,
        taught: bool,
    ) -> WalkLosses:
        count = len(episodes)
        walkers = self.data.get_walkers(count)
        rows = np.arange(count)
        walkers.begin_episodes(rows, episodes)
        for row, goal in enumerate(goals):
            walkers.set_goals(row, goal)
        state = DualScaleState(self.policy.network, count)
        state.begin_episodes(
            rows, [self.data.get_episode(number).instruction for number in episodes]
        )
        expert = ExpertMemory(count)
        expert.begin_episodes(rows)
        # Which logits each episode of the sampled walk follows.
        share = {"fused": 0.0, "explore": 1.0, "mixed": 0.5}[self.settings.walk]
        single = rng.random(count) < share
        walk = WalkLosses(self.settings)
        for _ in range(self.settings.max_decisions):
            observations = walkers.observe(rows)
            state.observe(observations, rows)
            expert.observe(observations, rows)
            decision = state.score_choices()
            labels = expert.compute_labels(decision, state.graphs)
            walk.add_decisions(decision, labels)
            going = (labels.explore != 0).numpy()
            columns = (
                labels.fused.numpy() if taught else draw_decisions(decision, single[rows], rng)
            )
            rows = self._move(walkers, state, decision, columns, going)
            if not len(rows):
                break
        walk.compute_means(count - len(rows), count)
        return walk

    def _move(
        self,
        walkers: WalkerBatch,
        state: DualScaleState,
        decision: Decision,
        columns: NDArray[np.int64],
        going: NDArray[np.bool_],
    ) -> NDArray[np.int64]:
        """Walk to what was decided; return the rows of the episodes that go on, (R,)."""
        kept = []
        for b, row in enumerate(decision.rows.tolist()):
            column = int(columns[b])
            if not going[b] or column <= 0:  # at the goal, or nowhere left to go
                continue
            here, place = int(decision.current[b]), decision.find_place(b, column)
            walkers.walk_path(row, state.graphs[row].find_path(here, place)[1:])
            kept.append(row)
        return np.array(kept, np.int64)


class WalkLosses:
    """Losses and figures of one walk of a batch, added up over its decisions."""

    def __init__(self, settings: FinetuneConfig) -> None:
        self.weights = {
            "fused": settings.fused_weight,
            "explore": settings.explore_weight,
            "objects": settings.object_weight,
        }
        self.loss: Tensor = torch.zeros(())
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self.figures: dict[str, float] = {}

    def add_decisions(self, decision: Decision, labels: ExpertLabels) -> None:
        """Add the decisions of one step."""
        losses = compute_decision_losses(decision, labels)
        for name, values in losses.items():
            if self.weights[name] > 0:
                self.loss = self.loss + self.weights[name] * values.sum()
        for name in losses:
            logits, answers = getattr(decision, name), getattr(labels, name)
            known = answers != IGNORED
            self._counts[name] += int(known.sum())
            self._sums[name] += float(losses[name].detach().sum())
            self._sums[f"{name}_right"] += float((logits.argmax(-1) == answers)[known].sum())
        self._counts["decisions"] += len(decision.rows)

    def compute_means(self, arrived: int, episodes: int) -> None:
        """Turn sums into means: loss and share of right answers per kind, decisions, arrivals."""
        for name in ("fused", "explore", "objects"):
            number = self._counts[name]
            if number:
                self.figures[f"{name}_loss"] = self._sums[name] / number
                self.figures[f"{name}_right"] = self._sums[f"{name}_right"] / number
        self.figures["decisions"] = self._counts["decisions"] / episodes
        self.figures["arrived"] = arrived / episodes


@torch.no_grad()
def draw_decisions(
    decision: Decision, single: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a place to go to from an agent's own probabilities, without STOP.

    Args:
        decision: of B episodes.
        single: (B,) whether a neighbour is drawn (`explore`) or any unvisited place (`fused`).
        rng: of the draw.

    Returns:
        (B,) columns; 0 where nothing is left to choose.
    """
    chosen = torch.from_numpy(single)[:, None]
    logits = torch.where(chosen, decision.explore, decision.fused).cpu().numpy().astype(np.float64)
    logits[:, 0] = NEVER
    # Gumbel's trick: the largest of logits plus noise is a draw from their softmax.
    noisy = logits + rng.gumbel(size=logits.shape)
    columns: NDArray[np.int64] = noisy.argmax(axis=1)
    return np.where(np.isfinite(logits).any(axis=1), columns, 0)
