"""Put the embedded simulator into habitat-lab's registry, with or without habitat-sim."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from embodied.extras import require_package

NAME = "Embodied-v0"


def register_with_habitat(name: str = NAME) -> str:
    """Make the embedded simulator available to habitat-lab as `habitat.simulator.type=<name>`.

    Call it before the first `import habitat`, and at the top level of the main script (not below
    `if __name__ == "__main__"`) when worker processes are started with spawn or forkserver. Calling
    it again is harmless.

    Args:
        name: the key in habitat-lab's registry of simulators.

    Returns:
        The name, to write into a configuration.

    Raises:
        MissingExtraError: habitat-lab is not installed.
    """
    require_package("habitat", "A task of habitat-lab")
    if not has_habitat_sim():
        install_placeholders()
    from embodied.simulators.habitat import actions

    actions.register_simulator(name)
    actions.register_actions()
    if not has_habitat_sim():
        actions.provide_follower()
    return name


def has_habitat_sim() -> bool:
    """Tell whether habitat-sim, or magnum which comes with it, can be imported."""
    return find_spec("habitat_sim") is not None or find_spec("magnum") is not None


def install_placeholders() -> None:
    """Stand in for the four habitat-lab modules that import habitat-sim unconditionally.

    They serve rearrangement and the batch renderer; navigation only passes through their import
    lines. Modules that are already loaded stay as they are.
    """
    for name, members in PLACEHOLDERS.items():
        if name not in sys.modules:
            module = ModuleType(name, "Placeholder: this part of habitat-lab needs habitat-sim.")
            vars(module).update(members)
            sys.modules[name] = module


def _needs_habitat_sim(what: str) -> type:
    def refuse(self: object, *args: Any, **kwargs: Any) -> None:
        raise ImportError(f"{what} needs habitat-sim, which is not installed")

    return type(what, (), {"__init__": refuse})


def _undecorated(*args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Take the place of a decorator factory and leave the function as it is."""

    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    return keep


PLACEHOLDERS: dict[str, dict[str, Any]] = {
    "habitat.sims.habitat_simulator.object_state_machine": {
        "ObjectStateMachine": _needs_habitat_sim("ObjectStateMachine")
    },
    "habitat.core.batch_rendering.env_batch_renderer": {
        "EnvBatchRenderer": _needs_habitat_sim("EnvBatchRenderer")
    },
    "habitat.tasks.rearrange": {"_try_register_rearrange_task": lambda: None},
    "habitat.tasks.rearrange.rearrange_sim": {"add_perf_timing_func": _undecorated},
}
