"""Habitat, both ways: our simulator inside stock habitat-lab, and habitat-sim behind our interface.

Importing this package needs neither; `register_with_habitat` needs habitat-lab, `HabitatSimulator`
habitat-sim.
"""

from embodied.simulators.habitat.registration import register_with_habitat
from embodied.simulators.habitat.sim import HabitatSimMissingError, HabitatSimulator

__all__ = ["HabitatSimMissingError", "HabitatSimulator", "register_with_habitat"]
