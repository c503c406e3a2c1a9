"""What picking in a house is made of: the house, the base, the arm. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field

from embodied.categories import MPCAT40
from embodied.errors import ConfigError, suggest_nearest
from embodied.simulators.base import AgentSpec, CameraSpec
from embodied.tasks.navigation.config import NavigationConfig, SceneSource
from embodied.tasks.tabletop.config import TabletopConfig

STAND_HEIGHT = 0.45
"""Of the stands, and of the arm's mount on the base: to the arm a stand is a table [m]."""

STAND_HALF_WIDTH = 0.15
"""Half the edge of a stand [m]."""

CUBE_COLORS = ("red", "blue", "yellow", "purple", "orange")
"""Of the cubes; the mark to hold one at is green."""

CATEGORIES: tuple[str, ...] = (*MPCAT40, *(f"{color} cube" for color in CUBE_COLORS))
"""Names of the class ids in semantic images; "goal" is one of the last."""

STOWED_JOINTS: dict[str, tuple[float, ...]] = {
    "panda": (0.0, -0.9, 0.0, -1.8, 0.0, 2.0, 0.785398),
}
"""Joint angles in which an arm is carried [rad]: over the base, out of its camera's view."""


def cube_class_id(color: str) -> int:
    """Return the class id of the cube of a colour."""
    return CATEGORIES.index(f"{color} cube")


def _camera() -> CameraSpec:
    return CameraSpec(
        outputs=("rgb", "depth", "semantic"),
        width=320,
        height=320,
        position=(0.0, 1.25, -0.12),
        pitch=-30.0,
        max_depth=10.0,
    )


@dataclass(frozen=True)
class DrivingConfig(NavigationConfig):
    """Navigation with the defaults of a base that has to dock; see `NavigationConfig`.

    The camera looks down, so that it sees a cube 4 cm wide from some metres as well as in front of
    the docked base, and stands before the stowed arm.
    """

    task: str = "objectnav"
    scene: SceneSource = field(default_factory=lambda: SceneSource(rooms=(2, 6)))
    camera: CameraSpec = field(default_factory=_camera)
    agent: AgentSpec = field(default_factory=lambda: AgentSpec(forward=0.125, turn=15.0))
    max_steps: int = 1500
    min_geodesic: float = 2.0


@dataclass(frozen=True)
class MobilePickConfig:
    """One task: a house, a base with a camera, an arm on it.

    Attributes:
        navigation: scenes, body, steps and camera of the base, range of the way to the cube,
            `max_steps` (of base and arm together) and the reward of driving.
        arm: the arm, its control, cameras and limits; its task is "pick".
        colors: that the wanted cube may have; the other cube has another one of `CUBE_COLORS`.
        expert: add the privileged observation "expert_action" of the arm.
        base_seconds: time that one action of the base takes [s].
    """

    navigation: DrivingConfig = field(default_factory=DrivingConfig)
    arm: TabletopConfig = field(default_factory=lambda: TabletopConfig(observation="rgb"))
    colors: tuple[str, ...] = CUBE_COLORS
    expert: bool = False
    base_seconds: float = 0.25

    def __post_init__(self) -> None:
        navigation, arm = self.navigation, self.arm
        if navigation.task != "objectnav" or arm.task != "pick":
            raise ConfigError(
                f"navigation.task = '{navigation.task}' and arm.task = '{arm.task}': a mobile pick "
                "is made of 'objectnav' and 'pick'"
            )
        if arm.robot not in STOWED_JOINTS:
            raise ConfigError(
                f"arm.robot = '{arm.robot}' has no posture to be carried in: "
                f"{suggest_nearest(arm.robot, STOWED_JOINTS)}"
            )
        if arm.level > 1 or arm.disturbance != "none" or arm.privileged:
            raise ConfigError(
                f"arm.level = {arm.level}, disturbance = '{arm.disturbance}', privileged = "
                f"{arm.privileged}: in a house levels are 0 and 1, nothing is disturbed, and true "
                "poses are not given (expert=True shows what to do instead)"
            )
        if not self.colors:
            raise ConfigError("colors is empty: name at least one")
        for color in self.colors:
            if color not in CUBE_COLORS:
                raise ConfigError(
                    f"unknown colour '{color}': {suggest_nearest(color, CUBE_COLORS)}"
                )
        outputs = navigation.camera.outputs
        if "instance" in outputs or navigation.camera.projection != "pinhole":
            raise ConfigError(
                "the base's camera is a pinhole camera with rgb, depth and semantic, not "
                f"{navigation.camera.projection} with {', '.join(outputs)}"
            )
        if not self.base_seconds > 0:
            raise ConfigError(f"base_seconds = {self.base_seconds} must be above 0")
