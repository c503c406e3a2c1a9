"""What a policy server counts, served in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
PREFIX = "embodied_serving"


class ServerMetrics:
    """What one server did so far, in a registry of its own: servers of one process do not mix.

    Args:
        count_connections: returns how many are open now.

    Attributes:
        waiting: requests waiting or being answered now.
        requests: finished ones by outcome: "ok", a `protocol.ErrorCause`, or "left" (the client
            did).
        refused: connections by reason: "key", "full".
        infer_seconds: time spent in the policy [s].
    """

    def __init__(self, count_connections: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        Gauge(
            f"{PREFIX}_connections", "Connections that are open now.", registry=registry
        ).set_function(count_connections)
        self.waiting = Gauge(
            f"{PREFIX}_requests_waiting",
            "Requests that wait or are being answered now.",
            registry=registry,
        )
        self.requests = Counter(
            f"{PREFIX}_requests", "Finished requests.", ["outcome"], registry=registry
        )
        self.refused = Counter(
            f"{PREFIX}_refused", "Refused connections.", ["reason"], registry=registry
        )
        self.infer_seconds = Summary(
            f"{PREFIX}_infer_seconds", "Time spent in the policy.", registry=registry
        )

    def get_value(self, name: str, **labels: str) -> float:
        """Return a sample by its served name without the prefix, e.g. "refused_total"; 0 if
        nothing was counted under these labels.
        """
        return self._registry.get_sample_value(f"{PREFIX}_{name}", labels) or 0.0

    def render(self) -> str:
        """Return the text that `/metrics` serves."""
        return generate_latest(self._registry).decode()
