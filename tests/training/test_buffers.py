from __future__ import annotations

import numpy as np

from embodied.training.buffers import RolloutBuffer, compute_advantages, iter_minibatches


def make_rollout(steps: int = 12, envs: int = 3, seed: int = 0) -> RolloutBuffer:
    rng = np.random.default_rng(seed)
    shape = (steps, envs)
    value = rng.normal(size=shape).astype(np.float32)
    done = rng.random(shape) < 0.2
    following = np.concatenate([value[1:], rng.normal(size=(1, envs)).astype(np.float32)])
    return RolloutBuffer(
        features={"vector": np.arange(steps * envs, dtype=np.float32).reshape(*shape, 1)},
        states=rng.normal(size=(*shape, 4)).astype(np.float32),
        episode_start=np.concatenate([np.ones((1, envs), bool), done[:-1]]),
        valid=np.ones(shape, bool),
        action=rng.integers(0, 4, shape),
        log_prob=-rng.random(shape).astype(np.float32),
        value=value,
        reward=rng.normal(size=shape).astype(np.float32),
        done=done,
        next_value=np.where(done, 0.0, following).astype(np.float32),
    )


def test_advantages_equal_the_sum_of_discounted_errors() -> None:
    rollout, gamma, trace = make_rollout(), 0.9, 0.7
    got, target = compute_advantages(rollout, gamma, trace)
    delta = rollout.reward + gamma * rollout.next_value - rollout.value
    for env in range(3):
        for t in range(12):
            expected, weight = 0.0, 1.0
            for k in range(t, 12):
                expected += weight * delta[k, env]
                if rollout.done[k, env]:
                    break
                weight *= gamma * trace
            np.testing.assert_allclose(got[t, env], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(target, got + rollout.value)


def test_trace_one_gives_the_discounted_return() -> None:
    rollout = make_rollout()
    _, target = compute_advantages(rollout, 0.5, 1.0)
    end = int(np.flatnonzero(rollout.done[:, 0])[0])
    expected = sum(0.5**k * rollout.reward[k, 0] for k in range(end + 1))
    np.testing.assert_allclose(target[0, 0], expected, rtol=1e-4)


def test_invalid_steps_get_nothing_and_pass_nothing_on() -> None:
    rollout = make_rollout()
    rollout.valid[5] = False
    rollout.done[4] = True
    rollout.next_value[4] = 0.0
    got, _ = compute_advantages(rollout, 0.9, 0.9)
    assert (got[5] == 0).all()
    np.testing.assert_allclose(got[4], rollout.reward[4] - rollout.value[4], rtol=1e-5)


def test_minibatches_hold_every_step_once_and_begin_with_the_stored_state() -> None:
    rollout = make_rollout()
    zero = np.zeros_like(rollout.value)
    seen = []
    for batch in iter_minibatches(rollout, zero, zero, 4, 4, np.random.default_rng(0)):
        indices = batch.features["vector"][..., 0].numpy().astype(int)
        assert (np.diff(indices, axis=0) == 3).all()  # consecutive steps of one environment
        time, env = indices[0] // 3, indices[0] % 3
        np.testing.assert_array_equal(batch.state.numpy(), rollout.states[time, env])
        seen += indices.ravel().tolist()
    assert sorted(seen) == list(range(36))
