"""Robot data sets in LeRobot's format: v3.0 and v2.x are read, v3.0 is written."""

from embodied.tasks.datasets.lerobot.reader import LeRobotSet, read_set
from embodied.tasks.datasets.lerobot.writer import Recorded, write_set
from robots.lerobot_layout import INFO, LayoutError

__all__ = ["INFO", "LayoutError", "LeRobotSet", "Recorded", "read_set", "write_set"]
