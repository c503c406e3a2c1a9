"""What can go wrong in a simulated workspace."""

from __future__ import annotations

from embodied.errors import EmbodiedError


class SimulationError(EmbodiedError):
    """A world that cannot be built, a command it cannot follow, or physics that diverged."""
