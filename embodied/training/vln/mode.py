"""Train the mode selector (and the learned ranker) on top of a frozen explorer.

The explorer plays training episodes with sampled actions, half of them with corrections where the
label asks for one, so that states after a correction are met, too. At every decision two labels are
noted: whether a correction was right (the expert's next place is not next to the agent), and which
of the unvisited places is the expert's. The mode selector learns the first by binary cross entropy
with class weights, the ranker the second by cross entropy over the places. Both read states of the
frozen network, which are computed once; training takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from embodied.policies.dual_scale import Decision, DualScaleNetwork
from embodied.policies.meta_explore import MetaExploreConfig, MetaExplorePolicy
from embodied.policies.meta_explore.episode import Episode, expert_frontier, should_exploit
from embodied.policies.meta_explore.tally import auc
from embodied.policies.trace import END, EXPLOIT, EXPLORE, DecisionRecord
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.source import Source
from embodied.tasks.vln.vector import VLNVectorEnv
from embodied.training.vln.mode_config import ModeConfig
from maps.viewgraph import ViewGraph

if TYPE_CHECKING:
    from embodied.training.vln.config import VLNTrainConfig
    from embodied.training.vln.data import TrainingData


@dataclass
class Collected:
    """What the rollouts noted at N decisions.

    Attributes:
        states: (N, 2 D + 1) input of the mode selector.
        labels: (N,) bool, a correction was right.
        worlds: N names.
        choices: per decision with several unvisited places beyond the neighbours, the features
            (F, R) of these places and which of them is the expert's.
        choice_worlds: the world of each.
    """

    states: list[Tensor] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    worlds: list[str] = field(default_factory=list)
    choices: list[tuple[Tensor, int]] = field(default_factory=list)
    choice_worlds: list[str] = field(default_factory=list)


class Recorder(MetaExplorePolicy):
    """Plays with sampled actions and notes both labels; reads privileged observations.

    It stops at a goal and nowhere else, as DUET's sampled rollouts do: a premature stop would hide
    what comes after it.

    Args:
        network: the frozen explorer.
        config: temperature and margin.
        corrects: whether it also carries out corrections, to the expert's place.
    """

    def __init__(self, network: DualScaleNetwork, config: ModeConfig, corrects: bool) -> None:
        rule = "learned" if config.ranker else "oracle"
        super().__init__(network, MetaExploreConfig(mode="oracle", local_goal=rule, stop="here"))
        self.settings, self.corrects = config, corrects
        self.found = Collected()
        self.world_of: Callable[[int], str] = lambda row: ""
        self._chance = np.random.default_rng([config.seed, int(corrects)])

    def _choose(
        self, index: int, decision: Decision, graph: ViewGraph, episode: Episode, *_: Any
    ) -> DecisionRecord:
        row, truth = int(decision.rows[index]), episode.goal_distances
        label = should_exploit(graph, episode.place, truth, self.settings.margin)
        time = (episode.decisions) / self.network.config.max_decisions
        state = torch.cat([decision.stop_states[index].cpu(), torch.tensor([time])])
        self.found.states.append(state.clone())
        self.found.labels.append(label)
        self.found.worlds.append(self.world_of(row))
        if self.settings.ranker:
            self._note_choice(index, decision, graph, episode, row)
        record = DecisionRecord(episode.decisions, episode.moves, episode.place, END, -1)
        if truth[episode.place] <= 0 or self._is_over(episode):
            return record
        if label and self.corrects:
            expert = expert_frontier(graph, episode.place, truth)
            return replace(record, mode=EXPLOIT, chosen=expert)
        near = [decision.column(index, place) for place in episode.neighbours]
        if not near:
            return record
        logits = decision.explore[index, near].double().cpu() / self.settings.temperature
        share = torch.softmax(logits, 0).numpy()
        drawn = int(self._chance.choice(len(near), p=share / share.sum()))
        return replace(record, mode=EXPLORE, chosen=episode.neighbours[drawn])

    def _note_choice(
        self, index: int, decision: Decision, graph: ViewGraph, episode: Episode, row: int
    ) -> None:
        near = set(graph.neighbours(episode.place))
        places = [f for f in graph.frontiers() if f not in near]
        if len(places) < 2 or episode.goal_distances[episode.place] <= 0:
            return
        away = graph.distances[graph.row(episode.place)]
        total = [away[graph.row(f)] + episode.goal_distances[f] for f in places]
        context = self.goals.context(graph, episode, places, decision, index)
        self.found.choices.append((self.goals.features(context), int(np.argmin(total))))
        self.found.choice_worlds.append(self.world_of(row))


def collect(
    network: DualScaleNetwork, config: ModeConfig, task: VLNConfig, source: Source
) -> Collected:
    """Roll the frozen explorer out and note the labels of its decisions.

    Args:
        network: the explorer.
        config: how many episodes, how they are sampled.
        task: its privileged observations are switched on.
        source: worlds and episodes.
    """
    task = replace(task, privileged=True, canvas=config.ranker)
    rng = np.random.default_rng(config.seed)
    found = Collected()
    for corrects in (False, True):
        recorder = Recorder(network, config, corrects)
        recorder.found = found
        chosen = rng.permutation(len(source.episodes))[: max(1, config.episodes // 2)]
        part = Source(source.worlds, [source.episodes[i] for i in chosen])
        count = min(config.envs, len(chosen))
        env = VLNVectorEnv(count, task, source=part)
        playing = env.batch
        recorder.world_of = lambda row, b=playing: b.episodes[b.current[row]].world
        observations, _ = env.reset(seed=config.seed)
        first, played = np.ones(count, bool), 0
        while played < len(chosen):
            observations, _, ended, cut, _ = env.step(recorder.act(observations, first))
            first = ended | cut
            played += int(first.sum())
    return found


class ModeTrainer:
    """Fits both heads of a network to collected decisions, epoch by epoch.

    The decisions of a share of the worlds only measure: they never enter a loss.

    Args:
        network: its `mode_head` and `ranker` are trained, nothing else.
        found: the decisions.
        config: rates and sizes.
    """

    def __init__(self, network: DualScaleNetwork, found: Collected, config: ModeConfig) -> None:
        self.network, self.config = network, config
        names = sorted(set(found.worlds))
        count = min(len(names) - 1, max(1, round(config.held_out * len(names))))
        order = np.random.default_rng([config.seed, 3]).permutation(len(names))
        kept_out = {names[i] for i in order[:count]}
        self._states = torch.stack(found.states)
        self._labels = torch.tensor(found.labels)
        self._test = torch.tensor([world in kept_out for world in found.worlds])
        self._choices = list(zip(found.choices, found.choice_worlds, strict=True))
        self._kept_out = kept_out
        share = self._labels[~self._test].float().mean().clamp(1e-3, 1 - 1e-3)
        # Weights that give both modes the same total, or all decisions the same weight.
        self._weight = torch.tensor([0.5 / (1 - share), 0.5 / share]) ** config.balance

    def parameters(self) -> list[Tensor]:
        """Return what is trained."""
        return [*self.network.mode_head.parameters(), *self.network.ranker.parameters()]

    def epoch(self, optimizer: torch.optim.Optimizer, seed: int) -> dict[str, float]:
        """Go once through all decisions learnt from; return losses and held-out figures."""
        rng = np.random.default_rng(seed)
        losses = [
            self._descend(optimizer, self._mode_loss(part))
            for part in self._parts(torch.nonzero(~self._test)[:, 0].numpy(), rng)
        ]
        learnt = [c for c, world in self._choices if world not in self._kept_out]
        ranks = [
            self._descend(optimizer, self._rank_loss([learnt[i] for i in part]))
            for part in self._parts(np.arange(len(learnt)), rng)
        ]
        figures = {"mode_loss": float(np.mean(losses))} | self.measure()
        return figures | ({"rank_loss": float(np.mean(ranks))} if ranks else {})

    @torch.inference_mode()
    def measure(self) -> dict[str, float]:
        """Return AUC and share of corrections on the held-out worlds, and how often the ranker's
        best place is the expert's.
        """
        scores = -self.network.mode_head(self._states[self._test])[:, 0]
        labels = self._labels[self._test]
        figures = {
            "mode_auc": auc(labels.numpy(), scores.numpy()),
            "mode_share": float((scores > 0).float().mean()),
            "mode_label_share": float(labels.float().mean()),
        }
        held = [c for c, world in self._choices if world in self._kept_out]
        right = [int(self.network.ranker(features).argmax()) == best for features, best in held]
        figures = {name: value for name, value in figures.items() if np.isfinite(value)}
        return figures | ({"rank_top1": float(np.mean(right))} if right else {})

    def _parts(self, index: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
        if not len(index):
            return []
        count = -(-len(index) // self.config.batch)
        return np.array_split(rng.permutation(index), count)

    def _mode_loss(self, part: NDArray[np.int64]) -> Tensor:
        rows = torch.from_numpy(part)
        exploit = self._labels[rows]
        logits = self.network.mode_head(self._states[rows])[:, 0]
        # The head's logit is that of exploring.
        return functional.binary_cross_entropy_with_logits(
            logits, (~exploit).float(), self._weight[exploit.long()]
        )

    def _rank_loss(self, choices: Sequence[tuple[Tensor, int]]) -> Tensor:
        longest = max(len(features) for features, _ in choices)
        scores = torch.full((len(choices), longest), float("-inf"))
        flat = self.network.ranker(torch.cat([features for features, _ in choices]))
        rows = [i for i, (features, _) in enumerate(choices) for _ in range(len(features))]
        columns = [j for features, _ in choices for j in range(len(features))]
        scores = scores.index_put((torch.tensor(rows), torch.tensor(columns)), flat)
        return functional.cross_entropy(scores, torch.tensor([best for _, best in choices]))

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())


class ModePhase:
    """The phase "mode" of a training run: one update is one epoch over the rollouts.

    The rollouts depend only on the frozen weights and the run's seed, so a resumed run makes the
    same ones again.

    Args:
        config: of the run.
        policy: its network is trained.
        data: episodes learnt from; the worlds held out for validation stay out here, too.
    """

    validated = False

    def __init__(self, config: VLNTrainConfig, policy: Any, data: TrainingData) -> None:
        self.network, self.data = policy.network, data
        self.config = replace(config.mode, seed=config.mode.seed + config.seed)
        self.steps = self.config.epochs
        self._trainer: ModeTrainer | None = None

    def optimizer(self) -> torch.optim.Optimizer:
        """Build a fresh optimiser over both heads."""
        heads = [*self.network.mode_head.parameters(), *self.network.ranker.parameters()]
        return torch.optim.AdamW(
            heads, lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )

    def learn(self, optimizer: torch.optim.Optimizer, done: int, seed: int) -> dict[str, float]:
        """Do one epoch; see `trainer.Phase`."""
        if self._trainer is None:
            found = collect(self.network, self.config, self.data.task, self.data.source)
            self._trainer = ModeTrainer(self.network, found, self.config)
        self.network.eval()
        return self._trainer.epoch(optimizer, seed)
