"""Counters of a policy server in the Prometheus text format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

PREFIX = "embodied_serving"


@dataclass
class ServerMetrics:
    """What a server did so far; written by its event loop alone.

    Attributes:
        connections: open now.
        waiting: requests waiting or being answered now.
        requests: finished ones by outcome: "ok", a `protocol.Cause`, or "left" (the client did).
        refused: connections by reason: "key", "full".
        infer_seconds: spent in the policy [s].
        inferences: that time covers.
    """

    connections: int = 0
    waiting: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    infer_seconds: float = 0.0
    inferences: int = 0

    def render(self) -> str:
        """Return the text that `/metrics` serves."""
        lines = [
            *_family("connections", "gauge", {"": self.connections}),
            *_family("requests_waiting", "gauge", {"": self.waiting}),
            *_family("requests_total", "counter", _labelled("outcome", self.requests)),
            *_family("refused_total", "counter", _labelled("reason", self.refused)),
            f"# TYPE {PREFIX}_infer_seconds summary",
            f"{PREFIX}_infer_seconds_sum {self.infer_seconds:.6f}",
            f"{PREFIX}_infer_seconds_count {self.inferences}",
        ]
        return "\n".join(lines) + "\n"


def _family(name: str, kind: str, samples: dict[str, int]) -> list[str]:
    lines = [f"{PREFIX}_{name}{labels} {value}" for labels, value in samples.items()]
    return [f"# TYPE {PREFIX}_{name} {kind}", *lines]


def _labelled(label: str, counts: Counter[str]) -> dict[str, int]:
    return {f'{{{label}="{value}"}}': count for value, count in sorted(counts.items())}
