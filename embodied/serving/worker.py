"""The one thread in which a served policy runs, so that the event loop never waits for it."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embodied.errors import EmbodiedError
from embodied.serving.protocol import ErrorCause, ServedPolicy

log = logging.getLogger("embodied.serving")


class RequestError(EmbodiedError):
    """A request that gets an error instead of an answer."""

    def __init__(self, cause: ErrorCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass
class InferenceResult:
    """What the policy said.

    Attributes:
        result: its map, not yet encoded.
        queue_seconds: from arrival to the start of inference [s].
        infer_seconds: by inference [s].
    """

    result: dict[str, Any]
    queue_seconds: float
    infer_seconds: float


@dataclass
class _Job:
    observation: dict[str, Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[InferenceResult]
    arrived: float = field(default_factory=time.monotonic)


class InferenceWorker:
    """Runs a policy for an event loop.

    A daemon thread rather than an executor: a policy that hangs must not keep the process alive.

    Args:
        policy: what to run.
        capacity: jobs that may wait beside the running one.
    """

    def __init__(self, policy: ServedPolicy, capacity: int) -> None:
        self._policy = policy
        self._jobs: queue.Queue[_Job | None] = queue.Queue(capacity)
        self._started: float | None = None
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._thread.start()

    def submit(self, observation: dict[str, Any]) -> asyncio.Future[InferenceResult]:
        """Queue one observation; call it in the event loop. A cancelled future is skipped.

        Raises:
            RequestError: the queue is full.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[InferenceResult] = loop.create_future()
        try:
            self._jobs.put_nowait(_Job(observation, loop, future))
        except queue.Full:
            raise RequestError(
                ErrorCause.BUSY,
                f"{self._jobs.maxsize} requests wait already; send the newest observation later",
            ) from None
        return future

    def busy_seconds(self) -> float:
        """Return how long the policy has been working on its present observation [s]; 0 if idle."""
        started = self._started
        return 0.0 if started is None else time.monotonic() - started

    def close(self, timeout: float) -> None:
        """Let the running job end, drop the others; give up on it after `timeout` [s]."""
        while True:
            try:
                self._jobs.put_nowait(None)
                break
            except queue.Full:
                try:
                    self._jobs.get_nowait()
                except queue.Empty:
                    continue
        self._thread.join(timeout)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.future.cancelled():
                continue
            self._started = time.monotonic()
            try:
                outcome: InferenceResult | RequestError = self._infer(job, self._started)
            finally:
                self._started = None
            try:
                job.loop.call_soon_threadsafe(_resolve, job.future, outcome)
            except RuntimeError:  # the loop was closed while the policy worked
                log.info("an answer came after the server was closed")

    def _infer(self, job: _Job, started: float) -> InferenceResult | RequestError:
        try:
            result = self._policy.infer(job.observation)
        except Exception as error:  # the boundary to code that is not ours
            log.exception("the policy failed")
            return RequestError(ErrorCause.POLICY, _describe(error))
        if not isinstance(result, Mapping):
            log.error("the policy returned %s instead of a map", type(result).__name__)
            return RequestError(ErrorCause.POLICY, "it returned no map of results")
        return InferenceResult(dict(result), started - job.arrived, time.monotonic() - started)


def _resolve(
    future: asyncio.Future[InferenceResult], outcome: InferenceResult | RequestError
) -> None:
    if future.cancelled():
        return
    if isinstance(outcome, RequestError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _describe(error: Exception) -> str:
    """Our own errors are written for users; of others only the type is told, never the text, which
    may hold paths or data.
    """
    if isinstance(error, EmbodiedError):
        return str(error)
    return f"it failed with {type(error).__name__}; the server's log says why"
