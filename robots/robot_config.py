"""One robot in its place: which driver, which model, which limits; read from a recipe.

A recipe in `configs/robots` (or a YAML file of your own) says what stands on your table:

    driver: feetech              # a row of DRIVERS, or "module:Class" of your own
    model: so101                 # a file in robots/models, or the path of one
    options: {port: /dev/ttyACM0}
    safety:
      workspace: {floor: 0.01, lower: [0.05, -0.25], upper: [0.4, 0.25], ceiling: 0.4}
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from embodied import config as configuration
from embodied.errors import ConfigError, suggest_nearest
from robots.arm import Arm
from robots.limits import SafetyConfig
from robots.model import ArmModel, load_model

# "module:Class" of each driver, and of each emulator with the option that says where it is.
DRIVERS = {
    "bullet": "robots.bullet:BulletArm",
    "franka": "robots.franka:FrankaArm",
    "feetech": "robots.feetech:FeetechArm",
    "ur": "robots.ur:UrArm",
    "ros2": "robots.ros2:Ros2Arm",
}
EMULATORS = {
    "franka": "robots.emulators.franka:FrankaSimulator/host",
    "ur": "robots.emulators.ur:UrEmulator/host",
}


@dataclass(frozen=True)
class RobotConfig:
    """What a recipe of `configs/robots` says.

    Attributes:
        driver: a name in DRIVERS, or "module:Class".
        model: a name in `robots/models`, or the path of a description.
        safety: limits in force; the workspace has no default.
        options: of the driver; see its `...Options`.
        emulator: a name in EMULATORS, started first and used in place of the real arm.
        sensors: settings of what `embodied deploy --sensors` names.
    """

    driver: str
    model: str
    safety: SafetyConfig
    options: dict[str, Any] = field(default_factory=dict)
    emulator: str = ""
    sensors: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RobotSetup:
    """A robot in its place, not connected yet.

    Attributes:
        name: of the recipe.
        config: what it says.
        model: of the arm.
    """

    name: str
    config: RobotConfig
    model: ArmModel

    @property
    def safety(self) -> SafetyConfig:
        """The limits in force."""
        return self.config.safety

    @contextmanager
    def open_arm(self) -> Iterator[Arm]:
        """Give the driver; starts the emulator first where the recipe names one.

        Raises:
            ConfigError: unknown driver, emulator or option.
            DeviceError: the emulator does not start.
        """
        options = self.config.options
        with ExitStack() as stack:
            if self.config.emulator:
                made, where = _find(EMULATORS, self.config.emulator, "emulator")
                running = stack.enter_context(made())
                options = {**options, where: getattr(running, where)}
            yield make_arm(self.config.driver, self.model, options)


def load_robot(name: str, overrides: Sequence[str] = ()) -> RobotSetup:
    """Build the driver of a recipe; nothing is connected yet.

    Args:
        name: "robots/NAME", NAME alone, or the path of a YAML file.
        overrides: key.path=value laid over it.

    Raises:
        ConfigError: unknown recipe, key or driver.
        ModelError: unknown model.
    """
    known = [row.removeprefix("robots/") for row in configuration.list_recipes()
             if row.startswith("robots/")]  # fmt: skip
    found = f"robots/{name}" if name in known else name
    if found not in (f"robots/{row}" for row in known) and not found.endswith((".yaml", ".yml")):
        raise ConfigError(
            f"unknown robot '{name}': {suggest_nearest(name, known)}. For your own, copy one of "
            f"these "
            "recipes and give its path; see docs/robots.md"
        )
    tree = configuration.merge(
        configuration.read_recipe(found), configuration.parse_overrides(overrides)
    )
    cell = configuration.build(RobotConfig, tree, source=f"recipe {found}")
    return RobotSetup(name, cell, load_model(cell.model))


def make_arm(driver: str, model: ArmModel, options: Mapping[str, Any]) -> Arm:
    """Build a driver.

    Args:
        driver: a name in DRIVERS, or "module:Class".
        model: of the arm.
        options: its settings.

    Raises:
        ConfigError: no such driver, or an unknown setting.
    """
    made, _ = _find(DRIVERS, driver, "driver")
    settings = configuration.build(made.options_type, options, source=f"options of '{driver}'")
    arm: Arm = made(model, settings)
    return arm


def _find(table: Mapping[str, str], name: str, what: str) -> tuple[Any, str]:
    """Return the class of a row, or of a "module:Class", and what follows its slash."""
    target, _, where = table.get(name, name).partition("/")
    module, colon, attribute = target.partition(":")
    if not colon:
        raise ConfigError(f"unknown {what} '{name}': {suggest_nearest(name, table)}")
    try:
        return getattr(importlib.import_module(module), attribute), where
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{what} '{name}' cannot be loaded: {error}") from error
