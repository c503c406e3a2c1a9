"""ACT and Diffusion Policy on a toy: their maths, what they learn, how they act."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from reach_toy import CHUNK, INPUTS, STATISTICS, fit, toy_batch

from embodied.errors import ConfigError
from embodied.policies.base import Policy
from embodied.policies.chunk.act import ActConfig
from embodied.policies.chunk.backbones import BackboneConfig
from embodied.policies.chunk.backbones.base import TinyConfig
from embodied.policies.chunk.base import ChunkPolicy
from embodied.policies.chunk.diffusion import DiffusionConfig, squared_cosine_schedule
from embodied.policies.chunk.factory import METHODS, VisuomotorConfig, make_policy, restore_policy

TINY = BackboneConfig(tiny=TinyConfig(width=64, channels=(16, 32)))
ACT = ActConfig(width=64, latent_dim=8, n_encoder_layers=1, n_decoder_layers=1)
DIFFUSION = DiffusionConfig(width=64, layers=3, num_train_timesteps=50, num_inference_steps=10)


def build(method: str, **changes) -> ChunkPolicy:
    config = VisuomotorConfig(
        method=method,
        chunk_size=CHUNK,
        n_action_steps=3,
        backbone=TINY,
        act=ACT,
        diffusion=DIFFUSION,
    )
    policy = make_policy(INPUTS, config, **changes)
    policy.normalization = STATISTICS
    return policy


def error(policy: ChunkPolicy) -> tuple[float, float]:
    """Distance of the way from the right one in parts of its length, and share of right grips."""
    batch = toy_batch(128, 4321)  # places it never saw
    found = policy.predict_action_chunk(batch)
    way = (found - batch["action"])[..., :2].abs().mean() / batch["action"][..., :2].abs().mean()
    right = torch.sign(found[..., 6]) == batch["action"][..., 6]
    return float(way), float(right.float().mean())


def test_act_learns_the_way_and_the_word() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = build("act")
    losses = fit(policy, 200, rate=1e-3)
    assert np.mean(losses[-20:]) < 0.3 * np.mean(losses[:20])
    way, right = error(policy)
    assert way < 0.5
    assert right > 0.95


def test_diffusion_learns_the_way_and_the_word() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = build("diffusion")
    losses = fit(policy, 250)
    assert np.mean(losses[-20:]) < 0.35 * np.mean(losses[:20])
    way, right = error(policy)
    assert way < 0.6
    assert right > 0.9


def test_acts_style_is_read_from_the_chunk_and_is_nothing_when_acting() -> None:
    policy = build("act")
    batch = toy_batch(4, 0)
    state = policy.scaling.scale_state(batch["observation.state"])
    mean, log_variance = policy.head.encode_latent(state, batch["action"], None)
    other, _ = policy.head.encode_latent(state, -batch["action"], None)
    assert mean.shape == log_variance.shape == (4, 8)
    assert not torch.allclose(mean, other, atol=1e-4)
    first = policy.predict_action_chunk(batch)
    assert torch.equal(first, policy.predict_action_chunk(batch))


def test_acts_style_does_not_read_padding() -> None:
    policy = build("act")
    batch = toy_batch(4, 0)
    state = policy.scaling.scale_state(batch["observation.state"])
    padded = torch.zeros(4, CHUNK, dtype=torch.bool)
    padded[:, 5:] = True
    changed = batch["action"].clone()
    changed[:, 5:] = 9.0
    first, second = (
        policy.head.encode_latent(state, a, padded)[0] for a in (batch["action"], changed)
    )
    assert torch.allclose(first, second, atol=1e-5)


def test_the_divergence_is_that_of_normal_distributions() -> None:
    policy = build("act")
    for part in policy.head.style.parameters():
        torch.nn.init.zeros_(part)  # then q = N(0, 1), the prior itself
    assert policy.forward(toy_batch(4, 0))[1]["style_divergence"] == pytest.approx(0.0, abs=1e-6)
    policy.head.style.bias.data[:8] = 2.0  # mean 2 in 8 dimensions: 8 * 2^2 / 2
    assert policy.forward(toy_batch(4, 0))[1]["style_divergence"] == pytest.approx(16.0, rel=1e-5)


def test_the_schedule_is_the_squared_cosine() -> None:
    kept = squared_cosine_schedule(100)
    assert (kept[1:] < kept[:-1]).all()
    assert kept[0] > 0.999
    assert kept[-1] < 1e-3
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    middle = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2
    assert kept[49].item() == pytest.approx(middle / start, rel=1e-5)


@pytest.mark.parametrize("target", ["noise", "clean"])
def test_denoising_with_the_truth_finds_the_data(target: str) -> None:
    policy = build("diffusion")
    policy.config = dataclasses.replace(DIFFUSION, prediction_type=target)
    batch = toy_batch(4, 0)
    data = policy.scaling.scale_action(batch["action"])

    class Oracle(torch.nn.Module):
        """Knows the data."""

        def encode_condition(self, context, state):
            return None

        def forward(self, given, noisy, time):
            if target == "clean":
                return data
            kept = policy.kept[(time[0] * 50).round().long()]
            return (noisy - kept.sqrt() * data) / (1 - kept).sqrt()

    policy.head = Oracle()
    assert torch.allclose(policy.predict_action_chunk(batch), batch["action"], atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_a_policy_that_can_be_rebuilt(method: str) -> None:
    policy = build(method)
    assert isinstance(policy, Policy)
    assert policy.name == method
    tree = {"policy": {"method": method, "chunk": CHUNK, "execute": 3,
                       "backbone": {"tiny": {"width": 64, "channels": [16, 32]}},
                       "act": vars(ACT), "diffusion": vars(DIFFUSION)}}  # fmt: skip
    again = restore_policy(policy.inputs.to_json(), tree)
    again.network.load_state_dict(policy.network.state_dict())
    again.normalization = policy.normalization
    policy.seed(0)
    again.seed(0)
    batch = toy_batch(2, 0)
    assert torch.equal(policy.predict_action_chunk(batch), again.predict_action_chunk(batch))


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_trains(method: str) -> None:
    policy = build(method)
    with torch.autocast("cpu", torch.bfloat16):
        loss, figures = policy.forward(toy_batch(4, 0))
    loss.backward()
    assert all(np.isfinite(value) for value in figures.values())
    gradients = [p.grad for p in policy.parameters() if p.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_weights_follow_the_seed() -> None:
    first, same, other = (build("act", seed=seed).network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: ActConfig(width=30), "multiple of heads"),
        (lambda: DiffusionConfig(num_train_timesteps=5), "not below steps"),
        (lambda: VisuomotorConfig(method="acd"), "did you mean 'act'"),
        (
            lambda: VisuomotorConfig(chunk_size=4, n_action_steps=5),
            "between 1 and policy.chunk_size",
        ),
        (
            lambda: make_policy(
                INPUTS, VisuomotorConfig(method="diffusion", chunk_size=6, n_action_steps=2)
            ),
            "multiple of",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused(made, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made()
