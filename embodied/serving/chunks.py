"""From action chunks that arrive late to one action per control step.

A policy answers an observation made at time t with H actions: the first for t, the next for
t + period, and so on. By the time the answer is there, the first few belong to the past. Here
inference runs in a thread of its own while the arm executes earlier chunks; every chunk keeps the
time of its observation, so that the action returned is always the one meant for now, actions of the
past are never executed, and nothing rests on an observation older than allowed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from embodied.errors import ConfigError, EmbodiedError

KEEP = 16  # chunks that may overlap; older ones are forgotten
Blend = Literal["newest", "linear", "exponential"]

log = logging.getLogger("embodied.serving")


class ChunkError(EmbodiedError):
    """No action that may be executed: the answer was malformed, or inference failed for long."""


class InferFunction(Protocol):
    """Answers an observation, e.g. `PolicyClient.infer`."""

    def __call__(self, observation: Mapping[str, Any], *, observed_at: float) -> Mapping[str, Any]:
        """Answer an observation made at `observed_at` [s]."""
        ...


@dataclass(frozen=True)
class ChunkConfig:
    """How chunks become actions.

    Attributes:
        action_size: values per action, D.
        period: time between two actions of a chunk [s].
        max_age: an action rests on no observation older than this [s].
        blend: "newest" executes the newest chunk alone; "linear" fades every new chunk in over what
            was executed before, within `blend_steps` steps; "exponential" averages all that
            overlap, with weights ``exp(-decay * steps between its observation and the newest)``.
            Values are
            averaged as they are: angles that wrap, quaternions and open/close flags want "newest".
        blend_steps: steps of "linear".
        decay: of "exponential"; 0 weighs all alike, a negative one favours the oldest (the temporal
            ensemble of ACT, Zhao et al. 2023, uses -0.01).
        inference_interval: least time between the observations of two inferences [s]; 0 infers
            without pause.
    """

    action_size: int
    period: float
    max_age: float = 0.5
    blend: Blend = "linear"
    blend_steps: int = 4
    decay: float = 0.5
    inference_interval: float = 0.0

    def __post_init__(self) -> None:
        if self.action_size < 1 or self.blend_steps < 1:
            raise ConfigError("chunks.action_size and chunks.fade must be at least 1")
        if not (self.period > 0 and self.max_age > 0 and self.inference_interval >= 0):
            raise ConfigError("chunks.period and max_age must be above 0 s, interval not below")
        if self.blend not in ("newest", "linear", "exponential") or not math.isfinite(self.decay):
            raise ConfigError(
                f"chunks.blend = '{self.blend}' with decay {self.decay}: choose newest, linear or "
                "exponential, and a finite decay"
            )


@dataclass(frozen=True)
class TimedAction:
    """One action to execute now.

    Attributes:
        values: (D,) as the policy gave them, blended.
        age: of the oldest observation that it rests on [s].
        chunk: which chunk was the newest in it, counted from 1.
    """

    values: NDArray[np.float64]
    age: float
    chunk: int


@dataclass(frozen=True)
class ChunkCounters:
    """What a broker did so far.

    Attributes:
        chunks: accepted.
        late: of those, how many were over before they arrived.
        dropped: actions whose time had passed when their chunk arrived.
        failed: inferences that raised an error or gave a malformed chunk.
    """

    chunks: int = 0
    late: int = 0
    dropped: int = 0
    failed: int = 0


@dataclass
class _Chunk:
    actions: NDArray[np.float64]
    observed_at: float
    number: int
    first_used: int | None = None  # step at which it was first executed, for the fade


class ChunkBroker:
    """Infers in the background and hands out the action for each control step.

    The control loop calls `offer_observation` whenever it has a new observation and `next_action`
    once per step; neither waits for the policy.

    Args:
        infer: answers an observation with a map that has `actions` (H, D); it needs a deadline of
            its own, as `PolicyClient` has.
        config: sizes, times and blending.
        clock: seconds; the one that observation times are told by.
    """

    def __init__(
        self, infer: InferFunction, config: ChunkConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config = config
        self._infer = infer
        self._clock = clock
        self._changed = threading.Condition()
        self._pending: tuple[Mapping[str, Any], float] | None = None
        self._working = False
        self._closed = False
        self._last_inferred = -math.inf
        self._generation = 0  # of chunks; `reset` begins another
        self._chunks: deque[_Chunk] = deque(maxlen=KEEP)  # newest first
        self._error: EmbodiedError | None = None
        self._counts = ChunkCounters()
        self._thread = threading.Thread(target=self._run, name="chunks", daemon=True)
        self._thread.start()

    @property
    def counters(self) -> ChunkCounters:
        """What was done so far."""
        return self._counts

    @property
    def error(self) -> EmbodiedError | None:
        """Why the last inference failed; None when it did not."""
        return self._error

    def offer_observation(self, observation: Mapping[str, Any], observed_at: float) -> None:
        """Offer an observation; only the newest one waits for the policy.

        Args:
            observation: what `infer` takes; must not be changed afterwards.
            observed_at: when the sensors were read, by the broker's clock [s].

        Raises:
            ChunkError: the time is not finite, or the broker is closed.
        """
        if not math.isfinite(observed_at):
            raise ChunkError(f"observation time {observed_at} is not finite: stamp it by the clock")
        with self._changed:
            self._require_open()
            if observed_at - self._last_inferred >= self.config.inference_interval:
                self._pending = (observation, observed_at)
                self._changed.notify_all()

    def next_action(self, now: float | None = None) -> TimedAction | None:
        """Return the action meant for now.

        Args:
            now: by the broker's clock [s]; None reads it.

        Returns:
            None while the first answer is awaited or the chunks have run out or grown too old: hold
            the arm.

        Raises:
            ChunkError: the last answer was malformed (nothing older is executed either), or
                inference failed and what there was has run out; its cause says why.
        """
        moment = self._clock() if now is None else now
        if not math.isfinite(moment):
            raise ChunkError(f"time {moment} is not finite: read it from the clock")
        with self._changed:
            self._require_open()
            usable = [
                (chunk, step)
                for chunk in self._chunks
                if (step := self._step(chunk, moment)) is not None
            ]
            if usable:
                return self._blend(usable, moment)
            if self._error is not None:
                raise ChunkError(f"no action to execute: {self._error}") from self._error
            return None

    def wait_idle(self, timeout: float) -> bool:
        """Wait until every observation offered so far is answered; False after `timeout` [s]."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._closed or not (self._working or self._pending), timeout
            )

    def reset(self) -> None:
        """Forget all chunks and errors, e.g. between episodes; a running inference is discarded."""
        with self._changed:
            self._chunks.clear()
            self._error = None
            self._pending = None
            self._last_inferred = -math.inf
            self._generation += 1
            self._changed.notify_all()

    def close(self, timeout: float = 2.0) -> bool:
        """Stop; return whether the inference in progress ended within `timeout` [s]."""
        with self._changed:
            self._closed = True
            self._chunks.clear()
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def __enter__(self) -> ChunkBroker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed:
            raise ChunkError("the chunk broker is closed: make a new one")

    def _step(self, chunk: _Chunk, now: float) -> int | None:
        """Return which of a chunk's actions is meant for now, if one is and may be executed."""
        age = now - chunk.observed_at
        if not -self.config.period / 2 <= age <= self.config.max_age:
            return None
        step = self._nearest(age)
        return step if step < len(chunk.actions) else None

    def _nearest(self, age: float) -> int:
        # Nearest, not floor: a control loop is now early, now late, and must not repeat or skip.
        return math.floor(age / self.config.period + 0.5)

    def _blend(self, usable: list[tuple[_Chunk, int]], now: float) -> TimedAction:
        """Average the actions that several chunks, newest first, have for now."""
        newest, step = usable[0]
        if newest.first_used is None:
            newest.first_used = step
        if self.config.blend == "linear":
            # A chunk that was overtaken before its first use has no part in the motion.
            usable = [pair for pair in usable if pair[0].first_used is not None]
        weights = self._weights(usable)
        usable = usable[: len(weights)]
        values = np.zeros(self.config.action_size)
        for weight, (chunk, index) in zip(weights, usable, strict=True):
            values += weight * chunk.actions[index]
        oldest = min(chunk.observed_at for chunk, _ in usable)
        return TimedAction(values, max(0.0, now - oldest), newest.number)

    def _weights(self, usable: list[tuple[_Chunk, int]]) -> list[float]:
        """Return weights that sum to 1, fewer than `usable` where the oldest count for nothing."""
        if self.config.blend == "newest" or len(usable) == 1:
            return [1.0]
        if self.config.blend == "exponential":
            newest = usable[0][0].observed_at
            steps = [(newest - chunk.observed_at) / self.config.period for chunk, _ in usable]
            powers = np.array([-self.config.decay * step for step in steps])
            raw = np.exp(powers - powers.max())  # the largest is 1: nothing overflows
            return [float(weight) for weight in raw / raw.sum()]
        # Layers: each chunk covers what is below it the more, the longer it has been executed.
        weights: list[float] = []
        left = 1.0
        for chunk, step in usable:
            used = step - (step if chunk.first_used is None else chunk.first_used)
            bottom = len(weights) == len(usable) - 1
            cover = 1.0 if bottom else min(1.0, (used + 1) / (self.config.blend_steps + 1))
            weights.append(left * cover)
            left -= weights[-1]
            if cover == 1.0:
                break
        return weights

    def _run(self) -> None:
        """Answer the newest observation, again and again; sleep while there is none."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._pending is not None)
                if self._closed or self._pending is None:
                    return
                observation, observed_at = self._pending
                self._pending = None
                self._working = True
                self._last_inferred = observed_at
                generation = self._generation
            outcome = self._ask(observation, observed_at)
            with self._changed:
                self._working = False
                if generation == self._generation and not self._closed:
                    self._take(outcome, observed_at)
                self._changed.notify_all()

    def _ask(
        self, observation: Mapping[str, Any], observed_at: float
    ) -> NDArray[np.float64] | EmbodiedError:
        try:
            return self._checked(self._infer(observation, observed_at=observed_at))
        except EmbodiedError as error:
            return error
        except Exception as error:  # the boundary to code that is not ours
            log.exception("inference failed")
            return ChunkError(f"inference failed: {type(error).__name__}: {error}")

    def _checked(self, answer: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the actions (H, D) of an answer.

        Raises:
            ChunkError: absent, of another type or shape, or not finite.
        """
        actions = answer.get("actions") if isinstance(answer, Mapping) else None
        if not isinstance(actions, np.ndarray) or actions.dtype.kind not in "fiu":
            raise ChunkError("the answer has no array of numbers named 'actions'")
        if actions.ndim != 2 or not len(actions) or actions.shape[1] != self.config.action_size:
            raise ChunkError(
                f"actions of shape {actions.shape} came, (horizon, {self.config.action_size}) were "
                "expected: the server has a policy for another arm, or action_size is wrong"
            )
        if not np.isfinite(actions).all():
            raise ChunkError("an action is NaN or infinite: the policy is broken")
        return actions.astype(np.float64)

    def _take(self, outcome: NDArray[np.float64] | EmbodiedError, observed_at: float) -> None:
        counts = self._counts
        if isinstance(outcome, EmbodiedError):
            if str(outcome) != str(self._error):  # not at every observation
                log.warning("no new chunk: %s", outcome)
            self._error = outcome
            self._counts = replace(counts, failed=counts.failed + 1)
            if isinstance(outcome, ChunkError):
                self._chunks.clear()  # a broken policy's earlier chunks are not trusted either
            return
        self._error = None
        passed = max(0, self._nearest(self._clock() - observed_at))
        late = passed >= len(outcome)
        self._counts = replace(
            counts,
            chunks=counts.chunks + 1,
            late=counts.late + late,
            dropped=counts.dropped + min(passed, len(outcome)),
        )
        if not late:
            self._chunks.appendleft(_Chunk(outcome, observed_at, self._counts.chunks))
