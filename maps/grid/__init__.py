"""What a robot draws of the floor: occupancy, frontiers, layers of classes and values."""
