"""Train the mode selector (and the learned ranker) on top of a frozen explorer.

The explorer plays training episodes with sampled actions. At every decision with a choice two
things are noted: how many metres a correction would have saved over what the explorer itself would
do, and which of the unvisited places is the expert's. The mode selector learns the sign of the
first by binary cross entropy weighted by the metres at stake, the ranker the second by cross
entropy over the places. Both read the frozen network, which is asked once; training takes seconds.

A correction's worth is measured against this explorer and this rule of local goals, not against the
expert: where the explorer goes the right way by itself, or the rule would pick a wrong place, there
is nothing to gain. (The design's label, "the expert's next place is not next to the agent", ignores
both; trained on it, corrections raised success and cost SPL.)
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

from embodied.policies.vln.dual_scale import Decision, DualScaleNetwork
from embodied.policies.vln.meta_explore import MetaExploreConfig, MetaExplorePolicy
from embodied.policies.vln.meta_explore.config import NETWORK
from embodied.policies.vln.meta_explore.counters import roc_auc_score
from embodied.policies.vln.meta_explore.decision_summary import summarize_decision
from embodied.policies.vln.meta_explore.episode import MetaExploreEpisode
from embodied.policies.vln.meta_explore.goals import LocalGoalSelector
from embodied.policies.vln.trace import END, EXPLOIT, EXPLORE, DecisionRecord
from embodied.rollout import evaluate_policy
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.source import VLNSource
from embodied.tasks.vln.vector import VLNVectorEnv
from embodied.training.vln.mode_config import ModeConfig
from maps.graph.viewgraph import ViewGraph

if TYPE_CHECKING:
    from embodied.training.vln.config import VLNTrainConfig
    from embodied.training.vln.data import TrainingData


@dataclass
class CollectedDecisions:
    """What the rollouts noted at N decisions.

    Attributes:
        states: N inputs (2 D + 14,) of the mode selector.
        gains: N times how much shorter the way to the goal is after a correction than after what
            the explorer would do [m].
        choices: per decision with several unvisited places beyond the neighbours, the features
            (F, R) of these places and which of them is the expert's.
    """

    states: list[Tensor] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    choices: list[tuple[Tensor, int]] = field(default_factory=list)

    def stack_tensors(self) -> tuple[Tensor, Tensor]:
        """Return the states (N, 2 D + 14) and the gains (N,)."""
        return torch.stack(self.states), torch.tensor(self.gains)


class DecisionRecorder(MetaExplorePolicy):
    """Plays with sampled actions and notes what would have been right; reads privileged
    observations.

    It stops at a goal and nowhere else, as DUET's sampled rollouts do: a premature stop would hide
    what comes after it. To meet what follows corrections, right ones and wrong ones, it follows
    half of those that pay and makes some that do not.

    Args:
        network: the frozen explorer.
        config: temperature and costs.
        meta: the explorer and the rule of local goals whose corrections are judged. A ranker that
            is still to be trained is stood in for by the network's own logits.
    """

    def __init__(self, network: DualScaleNetwork, config: ModeConfig, meta: MetaExploreConfig):
        rule = NETWORK if meta.local_goal == "learned" else meta.local_goal
        # The ranker's features look at the masks, so a rule that looks brings the memory of them.
        looks = replace(meta, mode="oracle", local_goal="learned" if config.ranker else rule)
        super().__init__(network, replace(looks, stop="here"))
        self.judged_goals = LocalGoalSelector(replace(looks, local_goal=rule), network)
        self.settings = config
        self.collected = CollectedDecisions()
        self._chance = np.random.default_rng(config.seed)

    def choose_record(
        self,
        index: int,
        decision: Decision,
        graph: ViewGraph,
        episode: MetaExploreEpisode,
        explore: NDArray[np.float32],
        fused: NDArray[np.float32],
    ) -> DecisionRecord:
        """Note what would be right and decide by chance; see `MetaExplorePolicy`."""
        settings, chance = self.settings, self._chance
        outlook = summarize_decision(index, decision, graph, episode, explore, fused, self.config)
        arrived = episode.goal_distances[episode.place] <= 0
        target, gain = -1, 0.0
        if outlook.distant_frontiers:
            scored = self.judged_goals.score_places(
                graph, episode, outlook.distant_frontiers, decision, index
            )
            target = outlook.distant_frontiers[scored.best]
            own = decision.find_place(index, int(np.argmax(outlook.logits)))
            gain = self._cost(graph, episode, own) - self._cost(graph, episode, target)
            states = decision.stop_states[index].cpu()
            self.collected.states.append(
                torch.cat([states, torch.from_numpy(outlook.mode_features)])
            )
            self.collected.gains.append(gain)
            if settings.ranker and len(outlook.distant_frontiers) > 1 and not arrived:
                self._note_choice(index, decision, graph, episode, outlook.distant_frontiers)
        record = DecisionRecord(episode.decisions, episode.moves, episode.place, END, -1)
        if arrived or self.is_last_decision(episode):
            return record
        pays = gain > settings.margin
        near = [decision.find_column(index, place) for place in episode.neighbours]
        near = [column for column in near if np.isfinite(outlook.logits[column])]
        if target >= 0 and (not near or chance.random() < (0.5 if pays else settings.astray)):
            return replace(record, mode=EXPLOIT, chosen=target)
        if not near:
            return record
        noise = chance.gumbel(size=len(near)) * settings.temperature
        drawn = near[int(np.argmax(outlook.logits[near] + noise))]
        return replace(record, mode=EXPLORE, chosen=decision.find_place(index, drawn))

    def _cost(self, graph: ViewGraph, episode: MetaExploreEpisode, place: int) -> float:
        """Length of the way to the goal over a place [m]; -1 stops here."""
        here = episode.goal_distances[episode.place]
        if place < 0:
            return 0.0 if here <= 0 else here + self.settings.wrong_stop
        there = episode.goal_distances[place]
        return float(graph.distances[graph.get_row(episode.place), graph.get_row(place)]) + there

    def _note_choice(
        self,
        index: int,
        decision: Decision,
        graph: ViewGraph,
        episode: MetaExploreEpisode,
        places: list[int],
    ) -> None:
        total = [self._cost(graph, episode, place) for place in places]
        context = self.goals.build_context(graph, episode, places, decision, index)
        self.collected.choices.append(
            (self.goals.compute_ranker_inputs(context), int(np.argmin(total)))
        )


def collect_decisions(
    network: DualScaleNetwork,
    config: ModeConfig,
    meta: MetaExploreConfig,
    task: VLNConfig,
    source: VLNSource,
) -> CollectedDecisions:
    """Roll the frozen explorer out and note what would have been right.

    Args:
        network: the explorer.
        config: how many episodes, how they are sampled.
        meta: how the agent acts.
        task: its privileged observations are switched on.
        source: worlds and episodes.
    """
    recorder = DecisionRecorder(network, config, meta)
    seen = (
        {"canvas", *recorder.observation_keys, *recorder.judged_goals.observation_keys}
        if config.ranker
        else {*recorder.observation_keys, *recorder.judged_goals.observation_keys}
    )
    task = replace(task, privileged=True, canvas="canvas" in seen)
    rng = np.random.default_rng(config.seed)
    chosen = rng.permutation(len(source.episodes))[: config.episodes]
    part = VLNSource(source.worlds, [source.episodes[i] for i in chosen])
    env = VLNVectorEnv(min(config.envs, len(chosen)), task, source=part)
    evaluate_policy(recorder, env, len(chosen), config.seed, progress=False)
    return recorder.collected


class ModeTrainer:
    """Fits both heads of a network to collected decisions, epoch by epoch.

    Args:
        network: its `mode_head` and `ranker` are trained, nothing else.
        learnt: the decisions learnt from.
        held: decisions in other worlds, which only measure.
        config: rates and sizes.
    """

    def __init__(
        self,
        network: DualScaleNetwork,
        learnt: CollectedDecisions,
        held: CollectedDecisions,
        config: ModeConfig,
    ) -> None:
        self.network, self.config = network, config
        self._learnt, self._held = learnt, held
        self._states, gains = learnt.stack_tensors()
        self._labels = gains > config.margin
        # What is at stake; a hundred metres too far are not ten times as wrong as ten.
        stake = (gains - config.margin).abs().clamp(max=config.wrong_stop)
        self._weight = stake / stake.mean().clamp(min=1e-6)
        network.mode_head.fit_scaling(self._states)

    def run_epoch(self, optimizer: torch.optim.Optimizer, seed: int) -> dict[str, float]:
        """Go once through all decisions learnt from; return losses and held-out figures."""
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)  # of the dropout
        choices = self._learnt.choices
        self.network.mode_head.train()
        losses = [
            self._descend(optimizer, self._mode_loss(torch.from_numpy(part)))
            for part in self._parts(len(self._labels), rng)
        ]
        ranks = [
            self._descend(optimizer, self._rank_loss([choices[i] for i in part]))
            for part in self._parts(len(choices), rng)
        ]
        figures = {"mode_loss": float(np.mean(losses))} | self.measure_held_out()
        return figures | ({"rank_loss": float(np.mean(ranks))} if ranks else {})

    @torch.inference_mode()
    def measure_held_out(self) -> dict[str, float]:
        """Return AUC and share of corrections in the held-out worlds, and how often the ranker's
        best place is the expert's; nothing without held-out worlds.
        """
        figures: dict[str, float] = {}
        if self._held.gains:
            states, gains = self._held.stack_tensors()
            labels = gains > self.config.margin
            self.network.mode_head.eval()
            scores = self.network.mode_head(states).cpu()
            figures["mode_auc"] = roc_auc_score(labels.numpy(), scores.numpy())
            figures["mode_share"] = float((scores > 0).float().mean())
            figures["mode_label_share"] = float(labels.float().mean())
        right = [
            int(self._rank(features).argmax()) == best for features, best in self._held.choices
        ]
        if right:
            figures["rank_top1"] = float(np.mean(right))
        return {name: value for name, value in figures.items() if np.isfinite(value)}

    def _parts(self, count: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        if not count:
            return []
        return np.array_split(rng.permutation(count), -(-count // self.config.batch_size))

    def _mode_loss(self, rows: Tensor) -> Tensor:
        logits = self.network.mode_head(self._states[rows]).cpu()
        losses = functional.binary_cross_entropy_with_logits(
            logits, self._labels[rows].float(), reduction="none"
        )
        return (self._weight[rows] * losses).mean()

    def _rank_loss(self, choices: Sequence[tuple[Tensor, int]]) -> Tensor:
        sizes = [len(features) for features, _ in choices]
        flat = self._rank(torch.cat([features for features, _ in choices]))
        rows = torch.arange(len(choices)).repeat_interleave(torch.tensor(sizes))
        columns = torch.cat([torch.arange(size) for size in sizes])
        scores = torch.full((len(choices), max(sizes)), float("-inf"))
        scores = scores.index_put((rows, columns), flat)
        return functional.cross_entropy(scores, torch.tensor([best for _, best in choices]))

    def _rank(self, features: Tensor) -> Tensor:
        """Return the ranker's values (F,) of features (F, R), both on the CPU."""
        values: Tensor = self.network.ranker(features.to(self.network.mode_head.mean.device))
        return values.cpu()

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.detach())


def calibrate_threshold(
    network: DualScaleNetwork,
    config: ModeConfig,
    meta: MetaExploreConfig,
    task: VLNConfig,
    source: VLNSource,
) -> dict[str, float]:
    """Shift the mode selector's bias to the threshold that acts best on held-out episodes.

    The labels count metres of perfect play after the decision; what a correction is worth to an
    agent that errs again, only playing shows. SPL decides: over a wide range of thresholds success
    stays the same while needless corrections cost path.

    Args:
        network: its mode selector is changed.
        config: the thresholds.
        meta: how the agent acts.
        task: settings of the episodes.
        source: held-out worlds and episodes.

    Returns:
        The winning threshold and its success and SPL.
    """
    best: tuple[float, float, float] | None = None
    for threshold in config.thresholds:
        policy = MetaExplorePolicy(network, replace(meta, mode="learned", threshold=threshold))
        seen = replace(task, canvas="canvas" in policy.observation_keys, privileged=False)
        env = VLNVectorEnv(min(config.envs, len(source.episodes)), seen, source=source)
        played = evaluate_policy(policy, env, len(source.episodes), config.seed, progress=False)
        success, spl = (float(np.mean([e[name] for e in played])) for name in ("success", "spl"))
        if best is None or spl > best[0]:
            best = spl, success, threshold
    if best is None:
        return {}
    spl, success, threshold = best
    wanted = min(max(meta.threshold, 1e-3), 1 - 1e-3)
    network.mode_head.shift_logits(
        float(np.log(threshold / (1 - threshold) * (1 - wanted) / wanted))
    )
    return {"threshold": threshold, "held_out_success": success, "held_out_spl": spl}


class ModePhase:
    """The phase "mode" of a training run: one update is one epoch over the rollouts.

    The rollouts depend only on the frozen weights and the run's seed, so a resumed run makes the
    same ones again.

    Args:
        config: of the run.
        policy: its network is trained.
        data: episodes learnt from, and all those of the worlds held out, which measure and decide
            the threshold.
    """

    validated = False

    def __init__(self, config: VLNTrainConfig, policy: Any, data: TrainingData) -> None:
        self.network, self.data, self.meta = policy.network, data, config.meta
        self.config = replace(config.mode, seed=config.mode.seed + config.seed)
        self.steps = self.config.epochs
        self._trainer: ModeTrainer | None = None

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Build a fresh optimiser over both heads."""
        heads = [*self.network.mode_head.parameters(), *self.network.ranker.parameters()]
        return torch.optim.AdamW(
            heads, lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )

    def run_update(
        self, optimizer: torch.optim.Optimizer, done: int, seed: int
    ) -> dict[str, float]:
        """Do one epoch, after the last set the threshold; see `trainer.Phase`."""
        self.network.eval()
        task, held = self.data.task, self.data.held_out_source
        if self._trainer is None:
            learnt, measured = (
                collect_decisions(self.network, self.config, self.meta, task, source)
                if source.episodes
                else CollectedDecisions()
                for source in (self.data.source, held)
            )
            self._trainer = ModeTrainer(self.network, learnt, measured, self.config)
        figures = self._trainer.run_epoch(optimizer, seed)
        if done + 1 == self.steps and held.episodes:
            figures |= calibrate_threshold(self.network, self.config, self.meta, task, held)
        return figures
