from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from embodied.perception.vocabulary import Vocabulary
from embodied.policies.vln.dual_scale import (
    DualScaleConfig,
    DualScaleInputs,
    DualScaleNetwork,
    DualScalePolicy,
    DualScaleState,
    ExpertMemory,
)
from embodied.policies.vln.dual_scale.losses import compute_decision_losses
from embodied.tasks.vln.batch import VLNBatch
from embodied.tasks.vln.config import VLNConfig

EPISODES = 20


def walk(batch: VLNBatch, state: DualScaleState, rows: list[int], ends: list[int]) -> None:
    """Take each agent along its own map to a place, hop by hop; the others stay."""
    ways = {
        row: state.graphs[row].find_path(int(batch.places[row]), end)[1:]
        for row, end in zip(rows, ends, strict=True)
    }
    while any(ways.values()):
        for row, way in ways.items():
            if way:
                slot = np.flatnonzero(batch.observe([row])["candidates"][0] == way.pop(0))
                batch._walk(row, 1 + int(slot[0]))


def rollout(batch: VLNBatch, network: DualScaleNetwork) -> torch.Tensor:
    """Follow the expert; return the mean loss per episode."""
    state, expert = DualScaleState(network, batch.num_envs), ExpertMemory(batch.num_envs)
    rows = list(range(batch.num_envs))
    batch.begin_episodes(rows, rows)
    state.begin_episodes(rows, [batch.episodes[row].instruction for row in rows])
    total = torch.zeros(())
    while rows:
        observed = batch.observe(rows)
        state.observe(observed, rows)
        expert.observe(observed, rows)
        decision = state.score_choices()
        labels = expert.compute_labels(decision, state.graphs)
        total = total + sum(
            loss.sum() for loss in compute_decision_losses(decision, labels).values()
        )
        going = [b for b, column in enumerate(labels.fused.tolist()) if column > 0]
        ends = [decision.find_place(b, int(labels.fused[b])) for b in going]
        rows = [rows[b] for b in going]
        walk(batch, state, rows, ends)
    return total / batch.num_envs


def success(batch: VLNBatch, policy: DualScalePolicy) -> dict[str, float]:
    """Play all episodes once with the policy itself."""
    rows = list(range(batch.num_envs))
    batch.begin_episodes(rows, rows)
    first, over = np.ones(batch.num_envs, bool), np.zeros(batch.num_envs, bool)
    scores: list[dict[str, float]] = []
    while not over.all():
        actions = policy.act(batch.observe(), first)
        actions[over] = 0
        _, stopped, cut = batch.step(actions)
        for row in np.flatnonzero((stopped | cut) & ~over):
            scores.append(batch.compute_metrics(int(row)))
        over, first = over | stopped | cut, np.zeros(batch.num_envs, bool)
    return {name: float(np.mean([s[name] for s in scores])) for name in ("success", "rgs_strict")}


@pytest.mark.slow
def test_it_learns_twenty_episodes_by_heart(shared_data: Callable[[str], Path]) -> None:
    """Route and object of 20 REVERIE episodes, from the expert's demonstrations alone."""
    shared_data("reverie")
    torch.manual_seed(0)
    batch = VLNBatch(
        VLNConfig(dataset="reverie", split="train", episodes=EPISODES, privileged=True), EPISODES
    )
    vocabulary = Vocabulary.from_texts(episode.instruction for episode in batch.episodes)
    inputs = DualScaleInputs.from_spaces(batch.observation_space)
    network = DualScaleNetwork(DualScaleConfig(dropout=0.0), vocabulary, inputs)
    policy = DualScalePolicy(inputs, vocabulary, network=network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    assert success(batch, policy)["success"] < 0.5
    losses = []
    for update in range(120):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (update + 1) / 20)
        loss = rollout(batch, network)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < 0.25:
            break
    assert losses[-1] < 0.25
    assert success(batch, policy) == {"success": 1.0, "rgs_strict": 1.0}
