"""The tabletop tasks as Gymnasium environments; `import embodied` registers them.

>>> env = gymnasium.make("embodied/PandaPick-v0", observation="rgb", level=2)
>>> observation, info = env.reset(seed=0)

Observation: "state" (8,): position of the tool centre point in the arm's base frame [m], its
orientation as a quaternion xyzw (w >= 0; the identity points straight down) and the gripper's
opening in [0, 1]; "instruction"; with `observation="rgb"` also "front" and "wrist" images; with
`privileged=True` also "objects". Action of the default control: way of the tool (3, base frame, in
`position_step`), its turn (3, rotation vector, in `rotation_step`), gripper (+1 open, -1 closed).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embodied.tasks.env_base import BatchEnv, override_config
from embodied.tasks.tabletop.batch import TabletopBatch
from embodied.tasks.tabletop.config import RATE, TabletopConfig
from embodied.tasks.tabletop.workcell import WorkcellSnapshot


class TabletopEnv(BatchEnv):
    """One arm at one table: the view of a batch of one.

    Args:
        config: the task; keyword overrides are laid over it (`level=2`).
        render_mode: None or "rgb_array" (the front camera).

    Attributes:
        batch: the workcell.

    Raises:
        ConfigError: an unknown or unusable setting.
        SimulationError: unknown robot, or a URDF that cannot be loaded.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": RATE}  # noqa: RUF012
    batch: TabletopBatch

    def __init__(
        self,
        config: TabletopConfig | None = None,
        *,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        self.config = override_config(config or TabletopConfig(), overrides)
        super().__init__(TabletopBatch(self.config, 1), render_mode)
        self._next: int | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start the episode of a seed; without one, of the number after the last."""
        super().reset(seed=seed)
        if seed is not None or self._next is None:
            self._next = seed if seed is not None else int(self.np_random.integers(2**31))
        self.batch.begin_episodes([0], [self._next])
        self._next += 1
        return self._observe(), self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """Return what the front camera sees, (H, W, 3) uint8, in mode "rgb_array"."""
        if self.render_mode != "rgb_array":
            return None
        image = self.batch.views.render_images(("front",))["front"]["rgb"][0]
        return np.asarray(image, np.uint8)

    def save_state(self) -> WorkcellSnapshot:
        """Return the state of the episode."""
        return self.batch.cells[0].save_state()

    def restore_state(self, state: WorkcellSnapshot) -> None:
        """Return to a state: the same actions lead to the same continuation.

        Raises:
            SimulationError: a state of another task or robot.
        """
        self.batch.restore_state(0, state)

    def close(self) -> None:
        """Close the world."""
        self.batch.close()

    def _info(self) -> dict[str, Any]:
        return _single(self.batch.collect_info())


def _single(info: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _single(values) if isinstance(values, dict) else values[0].item()
        for name, values in info.items()
    }
