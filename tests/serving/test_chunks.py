from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import ConfigError
from embodied.serving.chunks import Blend, ChunkBroker, ChunkConfig, ChunkError, TimedAction
from embodied.serving.client import PolicyClient, ServingTimeoutError
from tests.serving.conftest import Serve

PERIOD, HORIZON = 0.1, 10


class Clock:
    """Time that only moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Policy:
    """Action k of a chunk observed at t is (t + k period, level); takes `latency` by the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.latency = 0.0
        self.level = 0.0
        self.result: Any = None
        self.observed: list[float] = []
        self.entered = threading.Semaphore(0)
        self.gate: threading.Event | None = None

    def __call__(self, observation: Mapping[str, Any], *, observed_at: float) -> Mapping[str, Any]:
        self.observed.append(observed_at)
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(10)
        self.clock.now += self.latency
        if isinstance(self.result, Exception):
            raise self.result
        if self.result is not None:
            return self.result  # type: ignore[no-any-return]
        times = observed_at + PERIOD * np.arange(HORIZON)
        return {"actions": np.stack([times, np.full(HORIZON, self.level)], axis=1)}


@contextmanager
def broker(**settings: Any) -> Iterator[tuple[ChunkBroker, Policy, Clock]]:
    clock = Clock()
    policy = Policy(clock)
    defaults = {"action_size": 2, "period": PERIOD, "max_age": 10.0, "blend": "newest"}
    with ChunkBroker(policy, ChunkConfig(**(defaults | settings)), clock) as made:
        yield made, policy, clock


def offer(chunks: ChunkBroker, clock: Clock) -> None:
    """Give an observation of now and wait for its answer."""
    chunks.offer_observation({}, clock())
    assert chunks.wait_idle(10)


def must(action: TimedAction | None) -> TimedAction:
    assert action is not None
    return action


def test_nothing_before_the_first_answer() -> None:
    with broker() as (chunks, policy, clock):
        assert chunks.next_action() is None
        policy.gate = threading.Event()
        chunks.offer_observation({}, clock())
        assert not chunks.wait_idle(0.01)
        assert chunks.next_action() is None
        policy.gate.set()
        assert chunks.wait_idle(10)
        assert must(chunks.next_action()).values[0] == clock()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, HORIZON - 1),
    st.lists(st.floats(-0.04, 0.04), min_size=HORIZON, max_size=HORIZON),
)
def test_each_step_gets_the_action_meant_for_it(latency: int, jitter: list[float]) -> None:
    with broker() as (chunks, policy, clock):
        start = clock()
        policy.latency = latency * PERIOD
        offer(chunks, clock)
        assert chunks.counters.dropped == latency
        for step in range(latency, HORIZON):
            now = start + step * PERIOD + jitter[step]
            action = must(chunks.next_action(now))
            assert action.values[0] == pytest.approx(start + step * PERIOD)
            assert action.age == pytest.approx(max(0.0, now - start))
        assert chunks.next_action(start + HORIZON * PERIOD) is None


def test_a_chunk_that_is_over_on_arrival_is_dropped() -> None:
    with broker() as (chunks, policy, clock):
        policy.latency = HORIZON * PERIOD
        offer(chunks, clock)
        assert (chunks.counters.late, chunks.counters.dropped) == (1, HORIZON)
        assert chunks.next_action() is None


def test_old_observations_are_not_acted_on() -> None:
    with broker(max_age=0.25) as (chunks, _, clock):
        start = clock()
        offer(chunks, clock)
        assert must(chunks.next_action(start + 0.25)).age == pytest.approx(0.25)
        assert chunks.next_action(start + 0.26) is None
        assert chunks.next_action(start - 1.0) is None  # nor those of the future


def test_the_newest_chunk_wins() -> None:
    with broker() as (chunks, policy, clock):
        offer(chunks, clock)
        clock.now += 0.3
        policy.level = 1.0
        offer(chunks, clock)
        action = must(chunks.next_action())
        np.testing.assert_allclose(action.values, (clock(), 1.0))
        assert (action.age, action.chunk) == (0.0, 2)


def test_linear_fade() -> None:
    """Levels 0 and 1: the level is the weight of the new chunk, 1/4, 2/4, 3/4, 1, 1."""
    with broker(blend="linear", blend_steps=3) as (chunks, policy, clock):
        offer(chunks, clock)
        assert must(chunks.next_action()).values[1] == 0.0
        clock.now += PERIOD
        policy.level = 1.0
        offer(chunks, clock)
        start = clock()
        actions = [must(chunks.next_action(start + k * PERIOD)) for k in range(5)]
        np.testing.assert_allclose([a.values[1] for a in actions], [0.25, 0.5, 0.75, 1, 1])
        np.testing.assert_allclose([a.age for a in actions], [0.1, 0.2, 0.3, 0.3, 0.4], atol=1e-9)
        for k, action in enumerate(actions):  # both chunks mean the same times
            assert action.values[0] == pytest.approx(start + k * PERIOD)


def test_linear_fade_of_chunks_in_quick_succession_makes_no_jump() -> None:
    with broker(blend="linear", blend_steps=4) as (chunks, policy, clock):
        levels = []
        for step in range(12):
            policy.level = 0.0 if step < 4 else 1.0
            offer(chunks, clock)
            levels.append(must(chunks.next_action()).values[1])
            clock.now += PERIOD
    assert np.abs(np.diff(levels)).max() < 0.5
    assert levels[-1] == pytest.approx(1.0)


def test_a_chunk_overtaken_before_its_first_use_is_not_executed() -> None:
    with broker(blend="linear", blend_steps=4) as (chunks, policy, clock):
        policy.level = 5.0
        offer(chunks, clock)
        clock.now += PERIOD
        policy.level = 1.0
        offer(chunks, clock)
        assert must(chunks.next_action()).values[1] == 1.0


@pytest.mark.parametrize("decay", [0.0, 0.7, -0.01, 1e6, -1e6])
def test_exponential_weights(decay: float) -> None:
    with broker(blend="exponential", decay=decay) as (chunks, policy, clock):
        offer(chunks, clock)
        clock.now += 2 * PERIOD
        policy.level = 1.0
        offer(chunks, clock)
        old = math.exp(min(700.0, -2 * decay))
        action = must(chunks.next_action())
        assert action.values[1] == pytest.approx(1 / (1 + old), abs=1e-12)
        assert action.age == pytest.approx(0.2)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["newest", "linear", "exponential"]),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.floats(-1, 1)), max_size=8),
)
def test_blends_stay_between_the_chunks_and_in_time(
    blend: Blend, script: list[tuple[int, int, float]]
) -> None:
    with broker(blend=blend, max_age=0.55) as (chunks, policy, clock):
        levels = []
        for pause, latency, level in script:
            clock.now += pause * PERIOD
            policy.latency, policy.level = latency * PERIOD, level
            offer(chunks, clock)
            levels.append(level)
            if (action := chunks.next_action()) is not None:
                assert min(levels) - 1e-9 <= action.values[1] <= max(levels) + 1e-9
                assert action.values[0] == pytest.approx(clock(), abs=1e-6)
                assert 0 <= action.age <= 0.55 + 1e-9


BAD = [
    {},
    None,
    {"actions": None},
    {"actions": [[0.0, 0.0]]},
    {"actions": np.zeros(2)},
    {"actions": np.zeros((0, 2))},
    {"actions": np.zeros((3, 3))},
    {"actions": np.zeros((1, 3, 2))},
    {"actions": np.zeros((3, 2), bool)},
    {"actions": np.array([["a", "b"]])},
    {"actions": np.zeros((3, 2), complex)},
    {"actions": np.array([[0.0, np.nan]])},
    {"actions": np.array([[np.inf, 0.0]], np.float32)},
]


@pytest.mark.parametrize("answer", BAD[2:] + [{"action": np.zeros((3, 2))}, KeyError("x")])
def test_a_malformed_chunk_is_an_error_and_ends_the_motion(answer: Any) -> None:
    with broker() as (chunks, policy, clock):
        offer(chunks, clock)
        assert chunks.next_action() is not None
        policy.result = answer
        offer(chunks, clock)
        assert isinstance(chunks.error, ChunkError)
        with pytest.raises(ChunkError, match="no action to execute") as caught:
            chunks.next_action()
        assert caught.value.__cause__ is chunks.error
        assert chunks.counters.failed == 1
        policy.result = None
        offer(chunks, clock)
        assert chunks.error is None
        assert chunks.next_action() is not None


def test_a_broken_network_lets_good_chunks_run_out() -> None:
    with broker(max_age=0.3) as (chunks, policy, clock):
        offer(chunks, clock)
        policy.result = ServingTimeoutError("too slow")
        clock.now += PERIOD
        offer(chunks, clock)
        assert must(chunks.next_action()).chunk == 1
        clock.now += 3 * PERIOD
        with pytest.raises(ChunkError, match="too slow"):
            chunks.next_action()


def test_only_the_newest_observation_waits() -> None:
    with broker() as (chunks, policy, clock):
        policy.gate = threading.Event()
        start = clock()
        chunks.offer_observation({}, start)
        assert policy.entered.acquire(timeout=5)
        for step in (1, 2, 3):
            chunks.offer_observation({}, start + step)
        clock.now = start + 3
        policy.gate.set()
        assert chunks.wait_idle(10)
        assert policy.observed == [start, start + 3]


def test_interval_between_inferences() -> None:
    with broker(inference_interval=0.25) as (chunks, policy, clock):
        start = clock()
        for step in range(7):
            chunks.offer_observation({}, start + step * PERIOD)
            assert chunks.wait_idle(10)
        np.testing.assert_allclose(policy.observed, start + PERIOD * np.array([0, 3, 6]))


def test_reset_discards_the_inference_in_progress() -> None:
    with broker(inference_interval=5.0) as (chunks, policy, clock):
        policy.gate = threading.Event()
        chunks.offer_observation({}, clock())
        assert policy.entered.acquire(timeout=5)
        chunks.reset()
        policy.gate.set()
        assert chunks.wait_idle(10)
        assert chunks.next_action() is None
        offer(chunks, clock)
        assert chunks.next_action() is not None


def test_times_must_be_finite() -> None:
    with broker() as (chunks, _, _clock):
        with pytest.raises(ChunkError, match="not finite"):
            chunks.offer_observation({}, math.nan)
        with pytest.raises(ChunkError, match="not finite"):
            chunks.next_action(math.inf)


def test_close_ends_the_thread_and_all_calls() -> None:
    with broker() as (chunks, policy, clock):
        policy.gate = threading.Event()
        chunks.offer_observation({}, clock())
        assert policy.entered.acquire(timeout=5)
        assert not chunks.close(timeout=0.01)
        policy.gate.set()
        assert chunks.close(timeout=10)
        for call in (chunks.next_action, lambda: chunks.offer_observation({}, 0.0)):
            with pytest.raises(ChunkError, match="closed"):
                call()


@pytest.mark.parametrize(
    "settings",
    [
        {"action_size": 0},
        {"blend_steps": 0},
        {"period": 0.0},
        {"period": math.nan},
        {"max_age": 0.0},
        {"inference_interval": -1.0},
        {"blend": "cubic"},
        {"decay": math.nan},
    ],
)
def test_unusable_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ChunkConfig(**({"action_size": 2, "period": PERIOD} | settings))


def test_end_to_end_over_a_server(serve: Serve) -> None:
    clock = Clock()
    config = ChunkConfig(action_size=3, period=PERIOD, max_age=5.0)
    with (
        PolicyClient(serve().uri, timeout=10) as client,
        ChunkBroker(client.infer, config, clock) as chunks,
    ):
        state = np.array([0.1, 0.2, 0.3])
        chunks.offer_observation({"state": state}, clock())
        assert chunks.wait_idle(10)
        np.testing.assert_array_equal(must(chunks.next_action()).values, state)
        chunks.offer_observation({"state": np.zeros(2)}, clock())  # another arm
        assert chunks.wait_idle(10)
        with pytest.raises(ChunkError, match="shape"):
            chunks.next_action()
