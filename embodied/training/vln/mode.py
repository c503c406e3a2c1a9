"""Train the mode selector (and the learned ranker) on top of a frozen explorer.

The explorer plays training episodes with sampled actions, half of them with corrections where the
label asks for one, so that states after a correction are met, too. At every decision two labels are
noted: whether a correction was right (the expert's next place is not next to the agent), and which
of the unvisited places is the expert's. The mode selector learns the first by binary cross entropy
with class weights, the ranker the second by cross entropy over the places. Both read states of the
frozen network, which are computed once; training takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from embodied.training.evaluation import evaluate
from embodied.training.vln.mode_config import ModeConfig
from maps.viewgraph import ViewGraph

if TYPE_CHECKING:
    from embodied.training.vln.config import VLNTrainConfig
    from embodied.training.vln.data import TrainingData


@dataclass
class Collected:
    """What the rollouts noted at N decisions.

    Attributes:
        states: N inputs (2 D + 1,) of the mode selector.
        labels: N times whether a correction was right.
        choices: per decision with several unvisited places beyond the neighbours, the features
            (F, R) of these places and which of them is the expert's.
    """

    states: list[Tensor] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    choices: list[tuple[Tensor, int]] = field(default_factory=list)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return the states (N, 2 D + 1) and the labels (N,)."""
        return torch.stack(self.states), torch.tensor(self.labels)


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
        self._chance = np.random.default_rng([config.seed, int(corrects)])

    def _choose(
        self, index: int, decision: Decision, graph: ViewGraph, episode: Episode, *_: Any
    ) -> DecisionRecord:
        truth = episode.goal_distances
        label = should_exploit(graph, episode.place, truth, self.settings.margin)
        time = (episode.decisions) / self.network.config.max_decisions
        state = torch.cat([decision.stop_states[index].cpu(), torch.tensor([time])])
        self.found.states.append(state.clone())
        self.found.labels.append(label)
        if self.settings.ranker:
            self._note_choice(index, decision, graph, episode)
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
        self, index: int, decision: Decision, graph: ViewGraph, episode: Episode
    ) -> None:
        near = set(graph.neighbours(episode.place))
        places = [f for f in graph.frontiers() if f not in near]
        if len(places) < 2 or episode.goal_distances[episode.place] <= 0:
            return
        away = graph.distances[graph.row(episode.place)]
        total = [away[graph.row(f)] + episode.goal_distances[f] for f in places]
        context = self.goals.context(graph, episode, places, decision, index)
        self.found.choices.append((self.goals.features(context), int(np.argmin(total))))


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
        observations, _ = env.reset(seed=config.seed)
        first, played = np.ones(count, bool), 0
        while played < len(chosen):
            observations, _, ended, cut, _ = env.step(recorder.act(observations, first))
            first = ended | cut
            played += int(first.sum())
    return found


class ModeTrainer:
    """Fits both heads of a network to collected decisions, epoch by epoch.

    Args:
        network: its `mode_head` and `ranker` are trained, nothing else.
        learnt: the decisions learnt from.
        held: decisions in other worlds, which only measure.
        config: rates and sizes.
    """

    def __init__(
        self, network: DualScaleNetwork, learnt: Collected, held: Collected, config: ModeConfig
    ) -> None:
        self.network, self.config = network, config
        self._learnt, self._held = learnt, held
        self._states, self._labels = learnt.tensors()
        share = self._labels.float().mean().clamp(1e-3, 1 - 1e-3)
        # Weights that give both modes the same total, or all decisions the same weight.
        self._weight = torch.stack([0.5 / (1 - share), 0.5 / share]) ** config.balance

    def epoch(self, optimizer: torch.optim.Optimizer, seed: int) -> dict[str, float]:
        """Go once through all decisions learnt from; return losses and held-out figures."""
        rng = np.random.default_rng(seed)
        choices = self._learnt.choices
        losses = [
            self._descend(optimizer, self._mode_loss(torch.from_numpy(part)))
            for part in self._parts(len(self._labels), rng)
        ]
        ranks = [
            self._descend(optimizer, self._rank_loss([choices[i] for i in part]))
            for part in self._parts(len(choices), rng)
        ]
        figures = {"mode_loss": float(np.mean(losses))} | self.measure()
        return figures | ({"rank_loss": float(np.mean(ranks))} if ranks else {})

    @torch.inference_mode()
    def measure(self) -> dict[str, float]:
        """Return AUC and share of corrections in the held-out worlds, and how often the ranker's
        best place is the expert's; nothing without held-out worlds.
        """
        figures: dict[str, float] = {}
        if self._held.labels:
            states, labels = self._held.tensors()
            scores = -self.network.mode_head(states)[:, 0]
            figures["mode_auc"] = auc(labels.numpy(), scores.numpy())
            figures["mode_share"] = float((scores > 0).float().mean())
            figures["mode_label_share"] = float(labels.float().mean())
        right = [
            int(self.network.ranker(features).argmax()) == best
            for features, best in self._held.choices
        ]
        if right:
            figures["rank_top1"] = float(np.mean(right))
        return {name: value for name, value in figures.items() if np.isfinite(value)}

    def _parts(self, count: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        if not count:
            return []
        return np.array_split(rng.permutation(count), -(-count // self.config.batch))

    def _mode_loss(self, rows: Tensor) -> Tensor:
        exploit = self._labels[rows]
        logits = self.network.mode_head(self._states[rows])[:, 0]
        # The head's logit is that of exploring.
        return functional.binary_cross_entropy_with_logits(
            logits, (~exploit).float(), self._weight[exploit.long()]
        )

    def _rank_loss(self, choices: Sequence[tuple[Tensor, int]]) -> Tensor:
        sizes = [len(features) for features, _ in choices]
        flat = self.network.ranker(torch.cat([features for features, _ in choices]))
        rows = torch.arange(len(choices)).repeat_interleave(torch.tensor(sizes))
        columns = torch.cat([torch.arange(size) for size in sizes])
        scores = torch.full((len(choices), max(sizes)), float("-inf"))
        scores = scores.index_put((rows, columns), flat)
        return functional.cross_entropy(scores, torch.tensor([best for _, best in choices]))

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.detach())


def calibrate(
    network: DualScaleNetwork,
    config: ModeConfig,
    meta: MetaExploreConfig,
    task: VLNConfig,
    source: Source,
) -> dict[str, float]:
    """Shift the mode selector's bias to the threshold that acts best on held-out episodes.

    The label says where a perfect explorer would correct; how often correcting pays depends on how
    good the local goals are, and that only playing shows.

    Args:
        network: its mode selector is changed.
        config: the thresholds.
        meta: how the agent acts.
        task: settings of the episodes.
        source: held-out worlds and episodes.

    Returns:
        The winning threshold and its success and SPL.
    """
    best: tuple[float, float, float, float] | None = None
    for threshold in config.thresholds:
        policy = MetaExplorePolicy(network, replace(meta, mode="learned", threshold=threshold))
        seen = replace(task, canvas="canvas" in policy.needed, privileged=False)
        env = VLNVectorEnv(min(config.envs, len(source.episodes)), seen, source=source)
        played = evaluate(policy, env, len(source.episodes), config.seed, progress=False)
        success, spl = (float(np.mean([e[name] for e in played])) for name in ("success", "spl"))
        if best is None or success + spl > best[0]:
            best = success + spl, threshold, success, spl
    if best is None:
        return {}
    _, threshold, success, spl = best
    wanted = min(max(meta.threshold, 1e-3), 1 - 1e-3)
    shift = np.log(wanted / (1 - wanted)) - np.log(threshold / (1 - threshold))
    with torch.no_grad():
        network.mode_head[-1].get_parameter("bias").add_(float(shift))
    return {"threshold": threshold, "held_out_success": success, "held_out_spl": spl}


class ModePhase:
    """The phase "mode" of a training run: one update is one epoch over the rollouts.

    The rollouts depend only on the frozen weights and the run's seed, so a resumed run makes the
    same ones again.

    Args:
        config: of the run.
        policy: its network is trained.
        data: episodes learnt from, and those of the worlds held out for validation, which measure
            and decide the threshold.
    """

    validated = False

    def __init__(self, config: VLNTrainConfig, policy: Any, data: TrainingData) -> None:
        self.network, self.data, self.meta = policy.network, data, config.meta
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
        """Do one epoch, after the last set the threshold; see `trainer.Phase`."""
        self.network.eval()
        task, held = self.data.task, self.data.held_out
        if self._trainer is None:
            learnt, measured = (
                collect(self.network, self.config, task, source) if source.episodes else Collected()
                for source in (self.data.source, held)
            )
            self._trainer = ModeTrainer(self.network, learnt, measured, self.config)
        figures = self._trainer.epoch(optimizer, seed)
        if done + 1 == self.steps and held.episodes:
            figures |= calibrate(self.network, self.config, self.meta, task, held)
        return figures
