"""Robot data sets in LeRobot's format: v3.0 and v2.x are read, v3.0 is written."""

from embodied.tasks.datasets.lerobot.reader import LeRobotSet, read_dataset
from embodied.tasks.datasets.lerobot.writer import LeRobotEpisode, write_dataset
from robots.lerobot_layout import INFO, LayoutError

__all__ = ["INFO", "LayoutError", "LeRobotSet", "LeRobotEpisode", "read_dataset", "write_dataset"]
