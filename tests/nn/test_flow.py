"""Flow matching against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embodied.nn import flow


def test_times_follow_the_shifted_beta_distribution() -> None:
    times = flow.sample_times(200_000, torch.Generator().manual_seed(0))
    assert times.min() >= 0
    assert times.max() <= 1
    # b ~ Beta(1.5, 1) has the mean 0.6 and the cumulative distribution b^1.5.
    assert times.mean().item() == pytest.approx((0.999 - 0.6) / 0.999, abs=2e-3)
    for edge in (0.2, 0.5, 0.9):
        share = (times > edge).double().mean().item()
        assert share == pytest.approx((0.999 * (1 - edge)) ** 1.5, abs=4e-3)


def test_a_path_begins_at_the_noise_and_ends_at_the_data() -> None:
    noise, data = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    assert torch.equal(flow.interpolate_path(noise, data, torch.zeros(3)), noise)
    assert torch.allclose(flow.interpolate_path(noise, data, torch.ones(3)), data)
    quarter = flow.interpolate_path(noise, data, torch.full((3,), 0.25))
    assert torch.allclose(quarter, noise + 0.25 * flow.compute_velocity(noise, data))


def test_each_row_has_its_own_time() -> None:
    path = flow.interpolate_path(torch.zeros(3, 2), torch.ones(3, 2), torch.tensor([0.0, 0.5, 1.0]))
    assert path[:, 0].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("steps", [1, 4])
def test_integration_of_straight_paths_is_exact_in_any_number_of_steps(steps: int) -> None:
    noise = {"a": torch.randn(5, 3, 2), "b": torch.randn(5, 1)}
    data = {"a": torch.randn(5, 3, 2), "b": torch.randn(5, 1)}
    end = flow.integrate_velocity(
        lambda x, t: {name: flow.compute_velocity(noise[name], data[name]) for name in x},
        noise,
        steps,
    )
    assert all(torch.allclose(end[name], data[name], atol=1e-5) for name in data)


def test_integration_is_eulers_method() -> None:
    # x' = t from 0: Euler with 4 steps sums t / 4 at t = 0, 1/4, 1/2, 3/4.
    end = flow.integrate_velocity(lambda x, t: {"x": t[:, None]}, {"x": torch.zeros(2, 1)}, 4)
    assert end["x"].tolist() == [[0.375], [0.375]]


def test_the_ideal_field_carries_noise_to_the_distribution_of_the_data() -> None:
    # For data N(3, 0.5^2) the field E[x - e | x_t] of straight paths is known.
    mean, deviation = 3.0, 0.5

    def field(state, time):
        t = time[:, None]
        variance = (1 - t) ** 2 + (t * deviation) ** 2
        gain = (t * deviation**2 - (1 - t)) / variance
        return {"x": mean + gain * (state["x"] - t * mean)}

    noise = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
    end = flow.integrate_velocity(field, {"x": noise}, 200)["x"]
    assert end.mean().item() == pytest.approx(mean, abs=0.02)
    assert end.std().item() == pytest.approx(deviation, abs=0.02)


def test_times_in_one_bucket_look_the_same() -> None:
    near = flow.embed_time(torch.tensor([0.5, 0.5004, 0.5011, 1.0]), 16)
    assert near.shape == (4, 16)
    assert torch.equal(near[0], near[1])
    assert not torch.equal(near[0], near[2])
    assert np.isfinite(near.numpy()).all()
