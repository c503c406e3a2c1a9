"""What a tabletop task is made of: arm, control, observation, reward, randomisation. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from embodied.errors import ConfigError, suggest_nearest

TASKS = ("reach", "push", "pick", "stack", "place_tray", "peg_insert", "drawer", "plug_in")
RATE = 20
"""Control steps per second."""

Disturbance = Literal["none", "moved", "heavier", "camera", "delay"]
"""See `disturbances.apply_disturbance`."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SafetyLimits:
    """What counts as a violation; commands beyond are cut to the limit where that is possible.

    Attributes:
        force: most that one body may press on the arm [N].
        margin: how far beyond the working space the tool may be sent [m], times the rig's scale.
        velocity: share of the joints' greatest velocities that may be asked for.
    """

    force: float = 120.0
    margin: float = 0.1
    velocity: float = 1.0

    def __post_init__(self) -> None:
        for name in ("force", "margin", "velocity"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"safety.{name} = {getattr(self, name)} must be above 0")


@dataclass(frozen=True)
class TabletopConfig:
    """One tabletop task.

    Attributes:
        task: one of `TASKS` (set by the environment id).
        robot: the arm (set by the environment id).
        urdf: another URDF of that arm, a path or "package:path"; "" takes the model's.
        observation: "state" (proprioception and instruction) or "rgb" (both cameras too).
        privileged: add "objects", true poses of what matters and the goal.
        control: "ee_delta" moves the tool, "joint_position" and "joint_velocity" the joints.
        reward: "dense" (0 to 1 per step, 1 on success) or "sparse" (1 on success, else 0).
        level: of randomisation: 0 nearly the same every time, 1 poses and goals, 2 colours,
            friction, masses, distractors and wording too, 3 cameras, lighting and the arm's
            posture too.
        max_steps: the episode is truncated after this many control steps; 0 takes the task's own.
        position_step: way of the tool per unit of action [m].
        rotation_step: turn of the tool per unit of action [rad].
        disturbance: what goes wrong in every episode: "moved" (what the task is about is shoved
            aside as the tool comes near), "heavier" (by 20 %), "camera" (the front one was
            knocked), "delay" (actions come 50 or 100 ms late); "none".
        width, height: pixels of both cameras.
        safety: what counts as a violation.
    """

    task: str = "pick"
    robot: str = "panda"
    urdf: str = ""
    observation: Literal["state", "rgb"] = "state"
    privileged: bool = False
    control: Literal["ee_delta", "joint_position", "joint_velocity"] = "ee_delta"
    reward: Literal["dense", "sparse"] = "dense"
    level: int = 1
    max_steps: int = 0
    disturbance: Disturbance = "none"
    position_step: float = 0.02
    rotation_step: float = 0.1
    width: int = 96
    height: int = 96
    safety: SafetyLimits = field(default_factory=SafetyLimits)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"unknown task '{self.task}': {suggest_nearest(self.task, TASKS)}")
        for name, allowed in (
            ("observation", ("state", "rgb")),
            ("control", ("ee_delta", "joint_position", "joint_velocity")),
            ("reward", ("dense", "sparse")),
            ("disturbance", get_args(Disturbance)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"unknown {name} '{value}': {suggest_nearest(value, allowed)}")
        if (self.task, self.disturbance) == ("reach", "heavier"):
            raise ConfigError("nothing is lifted in the task 'reach': choose another disturbance")
        if self.level not in range(4):
            raise ConfigError(f"level = {self.level}: allowed are 0, 1, 2 and 3")
        if self.max_steps < 0:
            raise ConfigError(f"max_steps = {self.max_steps} must not be negative")
        for name in ("position_step", "rotation_step", "width", "height"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must be above 0")
