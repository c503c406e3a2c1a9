"""Embodied: agents that perceive, remember, navigate and manipulate, simulated and real.

What a first program needs stands here and is loaded when it is used; the list is in `__init__.pyi`.
Importing registers the environments: `gymnasium.make("embodied/PointNav-v0")`.

>>> simulator = embodied.Simulator(embodied.generate_house(seed=7), embodied.CameraSpec())
>>> env = gymnasium.make_vec("embodied/PointNav-v0", num_envs=4)
>>> episodes = embodied.evaluate_policy(embodied.load_policy("runs/pointnav_ppo"), env, episodes=8)
"""

from typing import Any

import lazy_loader

from embodied.extras import require_extra
from embodied.tasks.registration import register_environments

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.2.0"

register_environments()


def __getattr__(name: str) -> Any:
    with require_extra(f"embodied.{name}"):
        return _load(name)
