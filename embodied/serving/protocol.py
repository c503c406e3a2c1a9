"""What server and client agree on beside the encoding. All of it is optional for a peer of openpi.

The first message of the server is its metadata, a map. Then the client sends observations (a map)
and the server answers each with a map, which carries `server_timing` [ms]. A *text* message is an
error, `cause: one line`, after which the server closes the connection with code 1011.

Stamps: a server whose metadata has `STAMPS` takes the two request keys below out of the
observation and returns them unchanged in its answer. They mean something to the client alone (its
own monotonic clock): clocks of two machines are never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

STAMPS = "__stamps__"  # metadata: True when the server returns stamps
OBSERVED_AT = "__obs_time__"  # float: when the observation was made, the client's clock [s]
REQUEST_ID = "__request_id__"  # int: which request this answers
TIMING = "server_timing"  # {infer_ms, queue_ms, prev_total_ms}


class ErrorCause(StrEnum):
    """The first word of an error message."""

    BUSY = "busy"  # too many requests wait already
    DEADLINE = "deadline"  # no answer in time
    REQUEST = "request"  # malformed or over a limit
    POLICY = "policy"  # the policy raised an error, or answered what cannot be sent


@runtime_checkable
class ServedPolicy(Protocol):
    """What a server needs; any class with these two attributes will do."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What clients are told when they connect: plain values, e.g. the action size."""
        ...

    def infer(self, observation: dict[str, Any]) -> Mapping[str, Any]:
        """Answer one observation; called from one thread only.

        Args:
            observation: what the client sent; its arrays are read-only.

        Returns:
            A map with text keys, usually with `actions` (horizon, action size).
        """
        ...
