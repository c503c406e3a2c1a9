"""What an arm is made of: joints with their makers' limits, read from YAML.

A model file in `robots/models` holds facts about a kind of arm with their source. What is allowed
in one particular cell, its table and its walls, is `robots.limits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from embodied import config as configuration
from embodied.errors import ConfigError, suggest_nearest
from robots.errors import ModelError

Vector = tuple[float, float, float]
FOLDER = Path(__file__).with_name("models")


@dataclass(frozen=True)
class Joint:
    """One revolute joint; geometry as in URDF.

    Attributes:
        name: its own.
        lower: smallest angle [rad].
        upper: largest angle [rad].
        velocity: the maker's maximum [rad/s].
        acceleration: the maker's maximum [rad/s^2].
        jerk: the maker's maximum [rad/s^3].
        effort: the maker's maximum torque [Nm].
        xyz: its origin in the frame of the joint before [m].
        rpy: its rotation there, roll, pitch, yaw [rad].
        axis: what it turns about, in its own frame.
    """

    name: str
    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float
    effort: float
    xyz: Vector = (0.0, 0.0, 0.0)
    rpy: Vector = (0.0, 0.0, 0.0)
    axis: Vector = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            raise ModelError(f"joint {self.name}: lower {self.lower} is not below {self.upper}")
        for name in ("velocity", "acceleration", "jerk", "effort"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ModelError(
                    f"joint {self.name}: {name} = {getattr(self, name)} must be above 0 and finite"
                )
        if not any(self.axis):
            raise ModelError(f"joint {self.name}: axis is zero")


@dataclass(frozen=True)
class ArmModel:
    """A kind of arm.

    Attributes:
        name: as in `robots/models`.
        source: where the figures come from.
        joints: base to tool.
        home: joint angles it rests at [rad].
        tool_xyz: tool centre point in the last joint's frame [m].
        tool_rpy: its rotation there [rad].
        urdf: file for the digital twin: a path, or "package:path inside it"; "" if none is known.
        tool_link: the link of that file at the tool centre point; "" takes the last.
    """

    name: str
    source: str
    joints: tuple[Joint, ...]
    home: tuple[float, ...]
    tool_xyz: Vector = (0.0, 0.0, 0.0)
    tool_rpy: Vector = (0.0, 0.0, 0.0)
    urdf: str = ""
    tool_link: str = ""

    def __post_init__(self) -> None:
        if len(self.home) != len(self.joints):
            raise ModelError(
                f"{self.name}: home has {len(self.home)} angles for {len(self.joints)} joints"
            )
        for angle, joint in zip(self.home, self.joints, strict=True):
            if not joint.lower <= angle <= joint.upper:
                raise ModelError(
                    f"{self.name}: home of {joint.name} = {angle} is outside "
                    f"[{joint.lower}, {joint.upper}]"
                )

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints."""
        return tuple(joint.name for joint in self.joints)


def list_models() -> list[str]:
    """Return the names of the arms described in `robots/models`."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load_model(name: str | Path) -> ArmModel:
    """Read an arm's description.

    Args:
        name: of a file in `robots/models`, or a path to a .yaml file of the same form.

    Raises:
        ModelError: unknown, or not a description; names file and key.
    """
    file = Path(name)
    if file.suffix != ".yaml":
        file = FOLDER / f"{name}.yaml"
        if not file.exists():
            raise ModelError(
                f"unknown arm '{name}': {suggest_nearest(str(name), list_models())}. For another "
                f"arm write a "
                "description like those in robots/models and give its path; see docs/robots.md"
            )
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ModelError(f"cannot read the arm's description {file}: {error}") from error
    try:
        return configuration.build(ArmModel, tree or {}, source=str(file))
    except (ConfigError, ModelError) as error:
        raise ModelError(f"{file}: {error}") from error
