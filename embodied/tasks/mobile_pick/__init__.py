"""Navigation and manipulation in one episode: find a cube in a house and pick it up."""

from embodied.tasks.mobile_pick.config import CATEGORIES, CUBE_COLORS, MobilePickConfig
from embodied.tasks.mobile_pick.env import ARM, DRIVE, MobilePickEnv

__all__ = ["ARM", "CATEGORIES", "CUBE_COLORS", "DRIVE", "MobilePickConfig", "MobilePickEnv"]
