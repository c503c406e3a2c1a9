"""SC-VLA end to end on a toy: what it learns, how it acts, what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from reach_toy import CHUNK, INPUTS, SIDE, STATISTICS, WORDS, fit, toy_batch

from embodied.errors import ConfigError
from embodied.nn import flow
from embodied.policies.base import Policy
from embodied.policies.chunk.backbones import BackboneConfig, make_backbone
from embodied.policies.chunk.backbones.base import TinyConfig
from embodied.policies.chunk.sc_vla import ScVlaConfig, ScVlaPolicy
from embodied.policies.chunk.sc_vla.labels import SCALES

TINY = BackboneConfig(tiny=TinyConfig(width=64, channels=(16, 32)))
SMALL = ScVlaConfig(width=64, layers=3, tap=2, num_future_tokens=2)


def build(config: ScVlaConfig = SMALL, execute: int = 3, seed: int = 0) -> ScVlaPolicy:
    torch.manual_seed(seed)
    backbone = make_backbone(TINY, INPUTS.cameras, WORDS)
    policy = ScVlaPolicy(INPUTS, config, backbone, CHUNK, execute, seed)
    policy.normalization = STATISTICS
    return policy


@pytest.fixture(scope="module")
def trained() -> ScVlaPolicy:
    torch.set_num_threads(1)
    policy = build()
    losses = fit(policy, 250)
    assert np.mean(losses[-20:]) < 0.25 * np.mean(losses[:20])
    return policy


def observe(count: int, seed: int = 0) -> dict:
    batch = toy_batch(count, seed)
    return {
        "front": batch["observation.images.front"].numpy(),
        "wrist": batch["observation.images.wrist"].numpy(),
        "state": batch["observation.state"].numpy(),
        "instruction": tuple(batch["task"]),
    }


def test_it_learns_where_the_square_is_what_that_means_and_what_is_said(trained) -> None:
    batch = toy_batch(128, 12345)  # places it never saw
    found = trained.predict_outputs(batch)
    error = (found["action"] - batch["action"]).abs()
    guess = batch["action"].abs()
    assert error[..., :2].mean() < 0.5 * guess[..., :2].mean()
    assert (torch.sign(found["action"][..., 6]) == batch["action"][..., 6]).float().mean() > 0.95
    delta = found["delta_state"].numpy() * SCALES
    truth = batch["delta_state"].numpy()
    cosine = (delta[:, :2] * truth[:, :2]).sum(1)
    cosine /= np.linalg.norm(delta[:, :2], axis=1) * np.linalg.norm(truth[:, :2], axis=1)
    assert np.mean(cosine) > 0.8
    assert (found["progress"] - batch["progress"]).abs().mean() < 0.8 * (
        batch["progress"] - batch["progress"].mean()
    ).abs().mean()


def test_chunks_are_played_and_replanned_row_by_row(trained) -> None:
    observations = observe(3)
    trained.reset()
    trained.seed(5)
    everyone = np.ones(3, bool)
    first = trained.act(observations, everyone)
    queue = trained._queue.copy()
    assert np.array_equal(first, queue[:, 0])
    second = trained.act(observations, ~everyone)
    assert np.array_equal(second, queue[:, 1])
    # Row 1 begins another episode: it alone gets a new chunk.
    third = trained.act(observations, np.array([False, True, False]))
    assert np.array_equal(third[[0, 2]], queue[[0, 2], 2])
    assert not np.array_equal(third[1], queue[1, 2])
    fourth = trained.act(observations, ~everyone)  # rows 0 and 2 played `execute` actions
    assert not np.array_equal(fourth[0], queue[0, 3])
    assert np.array_equal(fourth[1], trained._queue[1, 1])
    assert trained.predictions["progress"].shape == (3,)


def test_the_number_of_environments_may_change(trained) -> None:
    for count in (2, 5, 1):
        action = trained.act(observe(count), np.ones(count, bool))
        assert action.shape == (count, 7)
        assert action.dtype == np.float32
        assert np.abs(action).max() <= 1.0 + 1e-6


def test_a_seed_fixes_what_it_does(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = toy_batch(4, 3)
    middle = trained.predict_action_chunk(batch)
    assert torch.equal(middle, trained.predict_action_chunk(batch))  # nothing is drawn
    monkeypatch.setattr(trained, "config", dataclasses.replace(trained.config, temperature=1.0))
    trained.seed(1)
    first = trained.predict_action_chunk(batch)
    other = trained.predict_action_chunk(batch)
    trained.seed(1)
    assert torch.equal(first, trained.predict_action_chunk(batch))
    assert not torch.equal(first, other)
    assert first.shape == (4, CHUNK, 7)


def test_without_imagination_tokens_and_weights_are_gone() -> None:
    with_, without = build(), build(dataclasses.replace(SMALL, imagination=False))
    assert set(with_.head.shapes) == {"progress", "delta_state", "action"}
    assert set(without.head.shapes) == {"action"}
    batch = toy_batch(4, 0)
    _, figures = without.forward(batch)
    assert set(figures) == {"action_loss"}
    assert set(without.predict_outputs(batch)) == {"action"}
    with pytest.raises(ConfigError, match="imagination=false"):
        without.imagine_future(batch)


def test_only_the_middle_of_the_stack_reads_what_is_imagined() -> None:
    policy = build(dataclasses.replace(SMALL, layers=3, tap=1))
    head = policy.head
    given = head.encode_condition(*policy.encode_observations(toy_batch(2, 0)))
    noise = {name: torch.randn(2, *shape) for name, shape in head.shapes.items()}
    before = head(given, noise, torch.full((2,), 0.5))
    for block in list(head.dit.blocks)[1:]:
        torch.nn.init.normal_(block.steer[1].weight)
    after = head(given, noise, torch.full((2,), 0.5))
    assert torch.equal(before["progress"], after["progress"])
    assert not torch.allclose(before["action"], after["action"])


def test_padding_is_left_out_of_the_loss() -> None:
    batch = toy_batch(4, 0)
    batch["action_is_pad"] = torch.zeros(4, CHUNK, dtype=torch.bool)
    batch["action_is_pad"][:, 4:] = True
    policy = build(dataclasses.replace(SMALL, draws=1))
    torch.nn.init.zeros_(policy.head.noisy["action"].decode[-1].weight)
    torch.nn.init.zeros_(policy.head.noisy["action"].decode[-1].bias)
    torch.manual_seed(0)
    _, figures = policy.forward(batch)
    # It predicts 0, so the loss is the mean square of the velocity over the kept steps.
    torch.manual_seed(0)
    flow.sample_times(4)
    noise = torch.randn(4, CHUNK, 7)
    wanted = (policy.scaling.scale_action(batch["action"]) - noise)[:, :4].square().mean()
    assert figures["action_loss"] == pytest.approx(wanted.item(), rel=1e-5)


def test_more_draws_of_noise_estimate_the_same_loss() -> None:
    batch = toy_batch(16, 0)
    means = []
    for draws in (1, 8):
        policy = build(dataclasses.replace(SMALL, draws=draws))
        torch.manual_seed(0)
        losses = [policy.forward(batch)[0].item() for _ in range(24)]
        means.append((np.mean(losses), np.std(losses)))
    assert means[0][0] == pytest.approx(means[1][0], rel=0.05)
    assert means[1][1] < 0.7 * means[0][1]


def test_cameras_may_come_as_lerobot_gives_them(trained) -> None:
    batch = toy_batch(3, 0)
    floats = dict(batch)
    for name in ("observation.images.front", "observation.images.wrist"):
        floats[name] = batch[name].permute(0, 3, 1, 2).float() / 255
    trained.seed(0)
    first = trained.predict_action_chunk(batch)
    trained.seed(0)
    assert torch.allclose(first, trained.predict_action_chunk(floats), atol=1e-4)


def test_it_is_a_policy_and_its_inputs_survive_json() -> None:
    policy = build()
    assert isinstance(policy, Policy)
    assert type(INPUTS).from_json(policy.inputs.to_json()) == INPUTS


def test_the_sign_of_a_quaternion_does_not_change_the_state() -> None:
    policy = build()
    state = torch.tensor([[0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.01, 0.5]])
    other = state.clone()
    other[:, 3:7] *= -1
    assert torch.allclose(policy.scaling.scale_state(state), policy.scaling.scale_state(other))
    assert policy.scaling.scale_state(state).shape == (1, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tap": 9}, "must be one of"),
        ({"width": 6}, "twice"),
        ({"num_inference_steps": 0}, "at least 1"),
        ({"jitter": 5}, "below horizon"),
        ({"pack": 3}, "multiple of sc_vla.pack"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(dataclasses.replace(SMALL, **change))


def test_other_robots_and_observations_are_refused() -> None:
    policy = build()
    observations = observe(2)
    with pytest.raises(ConfigError, match="does not give wrist"):
        policy.act({k: v for k, v in observations.items() if k != "wrist"}, np.ones(2, bool))
    with pytest.raises(ConfigError, match=r"shape \(2, 16, 32, 3\)"):
        policy.act(
            {**observations, "front": observations["front"][:, : SIDE // 2]}, np.ones(2, bool)
        )
    joints = dataclasses.replace(INPUTS, state=6, orientation=-1)
    with pytest.raises(ConfigError, match="imagination needs states of 8"):
        ScVlaPolicy(joints, SMALL, make_backbone(TINY, INPUTS.cameras, WORDS), CHUNK)
    policy.normalization = {}
    with pytest.raises(ConfigError, match="range of its data"):
        policy.act(observations, np.ones(2, bool))
    with pytest.raises(ConfigError, match="statistics lack 'action'"):
        policy.normalization = {"observation.state": STATISTICS["observation.state"]}
