"""What can go wrong between a policy and an arm."""

from __future__ import annotations

from embodied.errors import EmbodiedError


class RobotError(EmbodiedError):
    """Base of every error of this package."""


class ModelError(RobotError):
    """A description of an arm, or of its safety limits, that cannot be used."""


class DeviceError(RobotError):
    """The device, or the line to it, failed: not connected, silent, or in a fault of its own."""


class BridgeError(RobotError):
    """A request the bridge refuses: wrong state, or somebody else is in command."""
