"""Soft actor-critic: densities and targets by hand, a problem it solves, a state that goes on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from embodied.errors import ConfigError
from embodied.policies.chunk.gaussian import SquashedGaussian, squashed_log_prob
from embodied.training.replay import ReplayBuffer
from embodied.training.sac import Sac, SacConfig

QUICK = SacConfig(
    batch_size=64, width=32, gamma=0.9, critic_lr=3e-3, actor_lr=3e-3, alpha_lr=3e-3,
    buffer_size=4000, tau=0.05,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def agent(**changes) -> Sac:
    actor = SquashedGaussian(1, 1, 32, 2)
    return Sac(actor, 1, 1, SacConfig(**{**vars(QUICK), **changes}))


def fill(made: Sac, count: int = 200, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    made.replay.add(
        observation=rng.uniform(-1, 1, (count, 1)), action=rng.uniform(-1, 1, (count, 1)),
        reward=rng.uniform(-1, 0, count), next_observation=rng.uniform(-1, 1, (count, 1)),
        terminated=rng.random(count) < 0.2,
    )  # fmt: skip


def test_the_density_of_a_squashed_gaussian_is_that_of_its_histogram() -> None:
    mean, log_deviation = torch.tensor([[0.4]]), torch.tensor([[-0.7]])
    grid = torch.linspace(-0.999, 0.999, 20_001, dtype=torch.float64)[:, None]
    drawn = torch.atanh(grid)
    noise = (drawn - mean) / log_deviation.exp()
    density = squashed_log_prob(drawn, noise, log_deviation.double()).exp()
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1.0, abs=2e-3)
    sample = torch.tanh(mean + log_deviation.exp() * torch.randn(200_000, 1)).double()
    for low, high in ((-0.5, 0.0), (0.2, 0.6)):
        inside = (grid[:, 0] > low) & (grid[:, 0] < high)
        expected = torch.trapezoid(density[inside], grid[inside, 0]).item()
        share = ((sample > low) & (sample < high)).double().mean().item()
        assert share == pytest.approx(expected, abs=5e-3)


def test_densities_stay_finite_far_out() -> None:
    drawn = torch.tensor([[40.0], [-40.0]])
    assert torch.isfinite(squashed_log_prob(drawn, torch.zeros(2, 1), torch.zeros(2, 1))).all()


def test_a_new_actor_says_nothing_but_tries() -> None:
    actor = SquashedGaussian(5, 3, 16, 2)
    seen = torch.randn(4000, 5)
    assert torch.equal(actor.compute_mean_action(seen), torch.zeros(4000, 3))
    said, _ = actor.sample(seen)
    assert said.std().item() == pytest.approx(math.exp(-1.5), rel=0.05)


def test_the_replay_keeps_the_newest_and_goes_on() -> None:
    replay = ReplayBuffer(5, {"x": 2, "y": 1})
    for number in range(4):
        replay.add(x=np.full((2, 2), number), y=np.array([number, number + 0.5]))
    assert len(replay) == 5
    drawn = replay.sample(400, np.random.default_rng(0))
    assert set(drawn["y"][:, 0].tolist()) == {1.5, 2.0, 2.5, 3.0, 3.5}
    assert torch.equal(drawn["x"][:, 0], drawn["y"][:, 0].floor())
    other = ReplayBuffer(5, {"x": 2, "y": 1})
    other.load_state_dict({name: value.clone() for name, value in replay.state_dict().items()})
    for one in (replay, other):
        one.add(x=np.full((1, 2), 9.0), y=np.array([9.0]))
    for name, values in replay.state_dict().items():
        assert torch.equal(values, other.state_dict()[name])
    with pytest.raises(ConfigError, match="at least 1"):
        ReplayBuffer(0, {"x": 1})


@pytest.mark.parametrize("terminated", [0.0, 1.0])
def test_the_target_is_equation_5(terminated: float) -> None:
    made = agent()
    for parameter in made._targets.parameters():
        parameter.zero_()
    made._targets.biases[-1].copy_(torch.tensor([[[-3.0]], [[-2.0]]]))  # the lower one counts
    batch = {"reward": torch.tensor([[0.5]]), "next_observation": torch.zeros(1, 1),
             "terminated": torch.tensor([[terminated]])}  # fmt: skip
    torch.manual_seed(3)
    _, density = made.actor.sample(torch.zeros(1, 1))
    torch.manual_seed(3)
    found = made.compute_target(batch, torch.tensor(0.2)).item()
    ahead = 0.9 * (-3.0 - 0.2 * density.item())
    assert found == pytest.approx(0.5 + (1 - terminated) * ahead, abs=1e-6)


def test_critics_judge_what_is_executed() -> None:
    """With an effect that ignores what is said, what is said makes no difference to the actor."""
    actor = SquashedGaussian(1, 1, 32, 2)
    made = Sac(actor, 1, 1, QUICK, effect=lambda observation, said: 0 * said)
    fill(made)
    for _ in range(5):
        made.update(np.random.default_rng(0))
    before = [p.clone() for p in actor.parameters()]
    made._log_alpha.data.fill_(-30.0)  # and entropy nothing
    for optimizer in made._optimizers.values():
        optimizer.state.clear()
    made.update(np.random.default_rng(0))
    moved = max((a - b).abs().max().item() for a, b in zip(before, actor.parameters(), strict=True))
    assert moved < 1e-6


def test_the_actor_waits_for_the_critics() -> None:
    made = agent(actor_update_interval=3)
    fill(made)
    before = made.actor.output.weight.clone()
    found = [made.update(np.random.default_rng(0)) for _ in range(2)]
    assert torch.equal(made.actor.output.weight, before)
    found.append(made.update(np.random.default_rng(0)))
    assert not torch.equal(made.actor.output.weight, before)
    assert ["actor_loss" in figures for figures in found] == [False, False, True]


def test_the_temperature_follows_the_entropy() -> None:
    low, high = agent(target_entropy=-6.0), agent(target_entropy=2.0)
    for made in (low, high):
        fill(made)
        for seed in range(30):
            made.update(np.random.default_rng(seed))
    assert low.alpha < QUICK.alpha < high.alpha


def test_it_brings_a_point_to_the_middle() -> None:
    """A point on a line moves by a fifth of what is said; every step costs its distance to 0."""
    made = agent(utd_ratio=1.0)
    rng = np.random.default_rng(0)
    place, age = rng.uniform(-1, 1, 16), np.zeros(16)
    for step in range(160):
        seen = torch.from_numpy(place[:, None]).float()
        with torch.no_grad():
            said = made.actor.sample(seen)[0].numpy()
        after = np.clip(place + 0.2 * said[:, 0], -1, 1)
        made.replay.add(observation=seen.numpy(), action=said, reward=-np.abs(after),
                        next_observation=after[:, None], terminated=np.zeros(16, bool))  # fmt: skip
        age += 1
        place = np.where(age >= 20, rng.uniform(-1, 1, 16), after)
        age[age >= 20] = 0
        if step > 10:
            for _ in range(4):
                made.update(rng)
    grid = torch.linspace(-1, 1, 21)[:, None]
    said = made.actor.compute_mean_action(grid)[:, 0]
    far = grid[:, 0].abs() > 0.25
    assert (torch.sign(said) == -torch.sign(grid[:, 0]))[far].all()
    end = grid[:, 0]
    with torch.no_grad():
        for _ in range(12):
            end = (end + 0.2 * made.actor.compute_mean_action(end[:, None])[:, 0]).clamp(-1, 1)
    assert end.abs().max() < 0.15


def test_a_saved_agent_goes_on_as_if_nothing_had_happened() -> None:
    made = agent()
    fill(made)
    for seed in range(4):
        made.update(np.random.default_rng(seed))
    state = {
        group: {name: value.clone() for name, value in tensors.items()}
        for group, tensors in made.get_tensor_groups().items()
    }
    again = agent()
    again.actor.load_state_dict(made.actor.state_dict())
    again.load_tensor_groups(state)
    for one in (made, again):
        torch.manual_seed(7)
        for seed in range(10, 13):
            figures = one.update(np.random.default_rng(seed))
        one.figures = figures  # type: ignore[attr-defined]
    assert made.figures == again.figures  # type: ignore[attr-defined]
    for a, b in zip(made.actor.parameters(), again.actor.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": 1.0}, r"in \[0, 1\)"),
        ({"batch_size": 0}, "at least 1"),
        ({"max_grad_norm": 0.0}, "above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        agent(**changes)
