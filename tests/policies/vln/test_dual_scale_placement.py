"""Every tensor is made where the network lives and in its precision.

No second device is needed to see that: in double precision a tensor made in single precision is
refused by the first layer it meets; and while new tensors have no storage by default ("meta"), one
that is made without naming a device is refused by the first that has.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from graph_toy import TEXTS, GraphToy, tiny

from embodied.categories import SOS_CATEGORIES
from embodied.nn.placement import to_tensor_like
from embodied.perception.sos import ReferenceSpectra
from embodied.policies.vln import dual_scale
from embodied.policies.vln.dual_scale import DualScaleNetwork, DualScalePolicy, ExpertMemory
from embodied.policies.vln.dual_scale.losses import (
    PanoramaMasking,
    ReplayStep,
    compute_decision_losses,
    compute_mlm_loss,
    compute_mrc_loss,
    mask_words,
    replay_paths,
)
from embodied.policies.vln.local_goals import build_frontier_context, score_frontiers
from embodied.policies.vln.seen_spectra import InstructionWords, SceneMemory


@pytest.fixture
def nowhere() -> Iterator[None]:
    """New tensors lie on the device "meta" unless their device is named."""
    with torch.device("meta"):
        yield


def steps(toy: GraphToy) -> list[ReplayStep]:
    goals = [5, 6, 7]
    walks = [toy.walk(start, 4, start) for start in (0, 1, 2)]
    return [
        (np.arange(3), toy.observe([w[t] for w in walks], [0, 1, 2], list(TEXTS[:3]), goals))
        for t in range(4)
    ]


def losses(network: DualScaleNetwork) -> dict[str, torch.Tensor]:
    """All losses of three walks, with the same words and views hidden at every call."""
    seen, texts = steps(GraphToy()), list(TEXTS[:3])
    expert = ExpertMemory(3)
    for rows, observations in seen:
        expert.observe(observations, rows)
    state = replay_paths(network, texts, seen)
    decision = state.score_choices()
    found = compute_decision_losses(decision, expert.compute_labels(decision, state.graphs))
    hidden = mask_words(network, texts, generator=torch.Generator().manual_seed(1))
    found["mlm"] = compute_mlm_loss(
        replay_paths(network, texts, seen, text=hidden.text), hidden.targets
    )
    hiding = PanoramaMasking(network, generator=torch.Generator().manual_seed(2))
    found["mrc"] = compute_mrc_loss(
        network, replay_paths(network, texts, seen, hide=hiding).score_choices(), hiding
    )
    return found


def test_arrays_take_device_and_precision_of_a_parameter() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    assert to_tensor_like(like, np.ones(2, np.float32)).dtype == torch.float64
    assert to_tensor_like(like, np.ones(2, np.int64)).dtype == torch.int64
    assert to_tensor_like(like, np.ones(2, bool)).dtype == torch.bool
    assert to_tensor_like(torch.zeros(1, device="meta"), np.ones(2)).device.type == "meta"


def test_arrays_become_tensors_in_one_way() -> None:
    """Arrays of integers pass the other tests here wherever they lie."""
    folder = Path(dual_scale.__file__).parent
    loose = ("torch.from_numpy(", "torch.tensor(", "torch.as_tensor(")
    lines = [line for file in folder.glob("*.py") for line in file.read_text().splitlines()]
    assert len(lines) > 1000
    assert not [line for line in lines if any(call in line for call in loose)]


def test_a_network_in_double_precision_learns_the_same() -> None:
    single, double = losses(tiny()), losses(tiny().double())
    for name, value in single.items():
        assert double[name].dtype == torch.float64
        torch.testing.assert_close(value.double(), double[name], rtol=1e-4, atol=1e-4)
    network = tiny().double()
    sum(value.sum() for value in losses(network).values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_nothing_in_learning_is_made_on_a_device_of_its_own(nowhere: None) -> None:
    with torch.device("cpu"):
        network = tiny()
        expected = losses(network)
    for name, value in losses(network).items():
        torch.testing.assert_close(value, expected[name])


def test_nothing_in_acting_is_made_on_a_device_of_its_own(nowhere: None) -> None:
    toy = GraphToy()
    seen = toy.observe([0, 1], [0, 1], list(TEXTS[:2]))
    with torch.device("cpu"):
        network = tiny(temperature=1.0)
    policy = DualScalePolicy(network.inputs, network.vocabulary, seed=3, network=network)
    actions = policy.act(seen, np.ones(2, bool))
    assert (actions[:, 0] <= (seen["candidates"] >= 0).sum(1)).all()


def test_the_ranker_reads_features_in_its_own_precision() -> None:
    toy = GraphToy()
    state = replay_paths(tiny(), [TEXTS[0]], [(np.arange(1), toy.observe([0], [0]))])
    memory = SceneMemory()
    memory.add_view(0, np.random.default_rng(0).random((len(SOS_CATEGORIES), 32, 96)) < 0.05)
    words = InstructionWords.from_instruction(TEXTS[1], ReferenceSpectra())
    context = build_frontier_context(state.graphs[0], 0, 0, memory=memory, words=words)
    values = [
        score_frontiers("learned", context, network.ranker).values
        for network in (tiny(), tiny().double())
    ]
    np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)
