"""Arms on a table in PyBullet: worlds, motors, safety signals and cameras."""

from embodied.simulators.bullet.arm import TableArm
from embodied.simulators.bullet.errors import SimulationError
from embodied.simulators.bullet.rigs import RIGS, Rig
from embodied.simulators.bullet.world import BodyBox, BulletWorld, SlidingPart

__all__ = ["RIGS", "BodyBox", "BulletWorld", "Rig", "SimulationError", "SlidingPart", "TableArm"]
