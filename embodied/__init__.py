"""Embodied: agents that perceive, remember, navigate and manipulate, simulated and real."""

from embodied.tasks.registration import register_environments

__version__ = "0.2.0"

register_environments()
