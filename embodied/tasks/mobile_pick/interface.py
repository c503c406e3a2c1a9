"""What goes in and out of the environment: its modes and spaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces

from embodied.errors import NavigationError
from embodied.tasks.mobile_pick.config import CATEGORIES, MobilePickConfig
from embodied.tasks.mobile_pick.views import MobileBatch
from embodied.tasks.navigation import observations
from embodied.types import RIGHT, STOP

DRIVE, ARM = 0, 1
"""Modes."""

BASE = "base"
"""Name of the base's camera."""


def observation_space(config: MobilePickConfig, batch: MobileBatch) -> spaces.Dict:
    """Return the space of observations: those of both halves, and the mode."""
    sees = dict(observations.observation_space(config.navigation).spaces)
    sees.update(batch.observation_space.spaces)
    sees["goal"], sees["mode"] = spaces.Discrete(len(CATEGORIES)), spaces.Discrete(2)
    if config.expert:
        sees["expert_action"] = batch.action_space
    return spaces.Dict(sees)


def action_space(batch: MobileBatch) -> spaces.Dict:
    """Return the space of actions: which half acts, and what each would do."""
    return spaces.Dict(
        {
            "mode": spaces.Discrete(2),
            "base": spaces.Discrete(RIGHT + 1),
            "arm": batch.action_space,
        }
    )


def split_action(action: Mapping[str, Any]) -> tuple[int, int]:
    """Return mode and base action of an action.

    Raises:
        NavigationError: one of the three parts is missing, or a number does not exist.
    """
    try:
        mode, base, _ = int(action["mode"]), int(action["base"]), action["arm"]
    except (KeyError, TypeError, ValueError) as error:
        raise NavigationError(
            f"an action is a mapping with 'mode' (0 drive, 1 arm), 'base' (0 to {RIGHT}) and "
            f"'arm'; given {action!r}"
        ) from error
    if mode not in (DRIVE, ARM) or not STOP <= base <= RIGHT:
        raise NavigationError(f"mode = {mode} must be 0 or 1, base = {base} be 0 to {RIGHT}")
    return mode, base
