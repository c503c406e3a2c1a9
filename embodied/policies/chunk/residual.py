"""A frozen chunk policy and a small actor that corrects it at every step.

    a_t = clip(b_t + rho * c * r(x_t), -1, 1)

b_t is the base's action, r in [-1, 1] the actor's answer to what it sees, c the most it may change,
rho in [0, 1] how far it may go by now. The actor sees the state of the arm, what the base imagines
if it does, how old the chunk is, and b_t (SC-VLA, arXiv 2602.21633, section 3.3; a bounded residual
as in Policy Decorator, Yuan et al., arXiv 2412.13630).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from embodied import config as configuration
from embodied.errors import ConfigError
from embodied.policies.chunk import factory as visuomotor
from embodied.policies.chunk.backbones import Context
from embodied.policies.chunk.base import Batch, ChunkNetwork, ChunkPolicy
from embodied.policies.chunk.gaussian import SquashedGaussian
from embodied.policies.chunk.robot_inputs import STATE
from embodied.policies.chunk.sc_vla import ScVlaPolicy
from embodied.policies.chunk.sc_vla.labels import DELTA_SIZE, SCALES, compute_imagined_position

ACTION_SIZE = 7
"""Way (3), turn (3) and gripper (1) of the control "ee_delta"."""

_CALM = 0.2  # share of `SCALES` at which imagined changes over some steps are about 1


@dataclass(frozen=True)
class ResidualConfig:
    """The actor, and how far it may go.

    Attributes:
        position_scale: most that the actor adds to each direction of the way, in units of the
            action (c).
        rotation_scale: most that it adds to the turn, likewise.
        gripper_scale: most that it adds to the gripper, likewise.
        imagination: whether it sees what the base imagines, where that does.
        width: number of units in each of its hidden layers.
        layers: number of its hidden layers.
    """

    position_scale: float = 0.3
    rotation_scale: float = 0.1
    gripper_scale: float = 0.0
    imagination: bool = True
    width: int = 128
    layers: int = 2

    def __post_init__(self) -> None:
        reach = (self.position_scale, self.rotation_scale, self.gripper_scale)
        if min(reach) < 0 or max(reach) > 2 or max(reach) == 0:
            raise ConfigError(
                f"residual.position_scale, rotation_scale and gripper_scale = {reach} must lie "
                f"in [0, 2] and not all "
                "be 0: the actions they are added to lie in [-1, 1]"
            )
        if self.width < 1 or self.layers < 1:
            raise ConfigError("residual.width and layers must be at least 1")

    def build_action_scale(self) -> NDArray[np.float32]:
        """Return (R, 7): what each number that the actor says adds to an action at most."""
        most = np.repeat([self.position_scale, self.rotation_scale, self.gripper_scale], (3, 3, 1))
        return np.diag(most)[most > 0].astype(np.float32)


class ResidualNetwork(ChunkNetwork):
    """The base's weights, the actor's, and rho."""

    amplitude: Tensor

    def __init__(self, base: ChunkNetwork, actor: SquashedGaussian) -> None:
        super().__init__(base.backbone, base.head)
        self.actor = actor
        self.register_buffer("amplitude", torch.zeros(()))


class ResidualPolicy(ChunkPolicy):
    """Plays the chunks of a base policy, each action corrected by the actor.

    It acts without exploring; training draws from `network.actor` itself.

    Args:
        base: nothing here changes it.
        config: of the actor.
        seed: of the actor's weights.

    Attributes:
        base: as given.
        imagines: the base imagines.
        base_columns: where in the features the base's action stands.
        features_size: F, numbers the actor sees.
        imagined_position: (N, 3) where the base imagines the gripper to be soon, in the frame of
            the arm's base [m]; fixed when it replans.

    Raises:
        ConfigError: the base does not move a tool.
    """

    name = "residual"
    config_class = ResidualConfig

    def __init__(self, base: ChunkPolicy, config: ResidualConfig, seed: int = 0) -> None:
        if base.inputs.action != ACTION_SIZE:
            raise ConfigError(
                f"residuals are added to way, turn and gripper of a tool ({ACTION_SIZE} numbers); "
                f"the base commands {base.inputs.action}"
            )
        self.base, self.config = base, config
        self.imagines = isinstance(base, ScVlaPolicy) and base.config.imagination
        self._shown = self.imagines and config.imagination
        self.action_scale = torch.from_numpy(config.build_action_scale())
        extra = DELTA_SIZE + 1 if self._shown else 0
        start = base.inputs.state_features + extra + 1
        self.base_columns = slice(start, start + ACTION_SIZE)
        self.features_size = start + ACTION_SIZE
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            actor = SquashedGaussian(
                self.features_size, len(self.action_scale), config.width, config.layers
            )
        self.imagined_position = np.zeros((0, 3))
        network = ResidualNetwork(base.network, actor.to(base.device))
        super().__init__(base.inputs, network, base.chunk_size, base.n_action_steps)
        self.network: ResidualNetwork = network
        if base.normalization:
            self.normalization = base.normalization

    @property
    def actor(self) -> SquashedGaussian:
        """What corrects."""
        return self.network.actor

    @property
    def amplitude(self) -> float:
        """How far the actor may go by now, rho in [0, 1]."""
        return self.network.amplitude.item()

    @amplitude.setter
    def amplitude(self, share: float) -> None:
        self.network.amplitude.fill_(share)

    def set_normalization(self, statistics: Mapping[str, Any]) -> None:
        """Take the statistics of the data that the base has learned from."""
        super().set_normalization(statistics)
        self.base.set_normalization(statistics)

    def parameters(self) -> list[nn.Parameter]:
        """Return what is trained: the actor's weights alone."""
        return list(self.actor.parameters())

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the base's loss and its parts."""
        return self.base.forward(batch)

    @torch.no_grad()
    def predict_action_chunk(self, batch: Batch) -> Tensor:
        """Return the next actions (B, H, A) of an arm that cannot ask before every step.

        The first `execute` are corrected, all of them for the state of now, and the rest are the
        base's: an actor was never asked about older chunks. `act` corrects each in its own state.
        """
        found = {name: x.float().cpu().numpy() for name, x in self.predict_outputs(batch).items()}
        state, actions = batch[STATE].cpu().numpy(), found["action"].copy()
        place = compute_imagined_position(state, found["delta_state"]) if self.imagines else None
        for age in range(self.n_action_steps):
            ages = np.full(len(state), age)
            seen = self._seen(state, actions[:, age], ages, found, place)
            actions[:, age] = self._corrected(seen).cpu().numpy()
        return torch.from_numpy(actions).to(self.device)

    def combine_actions(self, base: Tensor, residual: Tensor) -> Tensor:
        """Return the actions (B, A) that are executed: the equation of this module.

        Args:
            base: actions of the base (B, A).
            residual: answers of the actor (B, R).
        """
        return (
            base + self.network.amplitude * (residual @ self.action_scale.to(residual.device))
        ).clamp(-1.0, 1.0)

    def build_actor_features(
        self, state: NDArray[np.float32], rows: NDArray[np.int64] | None = None
    ) -> Tensor:
        """Return what the actor sees, (M, F); the base's next action comes last.

        Args:
            state: (M, S) of the arm now.
            rows: the M environments; None means all.
        """
        chosen = slice(None) if rows is None else rows
        imagined = {name: values[chosen] for name, values in self.predictions.items()}
        place = self.imagined_position[chosen] if self.imagines else None
        return self._seen(
            state, self.peek_actions()[chosen], self.count_played_actions()[chosen], imagined, place
        )

    def seed(self, seed: int) -> None:
        """Fix what the base draws from now on."""
        self.base.seed(seed)

    def _play(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            actions: NDArray[np.float32] = (
                self._corrected(self.build_actor_features(state)).cpu().numpy()
            )
        self.pop_actions()
        return actions

    def _renew(self, rows: NDArray[np.int64], batch: Batch) -> None:
        """Note where the gripper is imagined to be soon, too."""
        super()._renew(rows, batch)
        if self.imagines:
            if len(self.imagined_position) != len(self._next):
                self.imagined_position = np.zeros((len(self._next), 3))
            delta = self.predictions["delta_state"][rows]
            self.imagined_position[rows] = compute_imagined_position(
                batch[STATE].cpu().numpy(), delta
            )

    def _corrected(self, seen: Tensor) -> Tensor:
        """Return the actions (B, A) for what the actor sees, without exploring."""
        return self.combine_actions(
            seen[:, self.base_columns], self.actor.compute_mean_action(seen)
        )

    def _seen(
        self, state: NDArray[np.float32], base: NDArray[np.float32], age: NDArray[np.number],
        imagined: Mapping[str, NDArray[np.float32]], place: NDArray[np.float64] | None,
    ) -> Tensor:  # fmt: skip
        """Put together what the actor sees.

        Args:
            state: (M, S).
            base: (M, A) next actions of the base.
            age: (M,) actions of their chunks that were played.
            imagined: beside those, "delta_state" (M, 7) and "progress" (M,) where it imagines.
            place: (M, 3) where the gripper is imagined to be soon.
        """
        parts = [self.scaling.scale_state(torch.from_numpy(state).to(self.device)).cpu().numpy()]
        if self._shown and place is not None:
            way = Rotation.from_quat(state[:, 3:7]).inv().apply(place - state[:, :3])
            ahead = np.concatenate([way, imagined["delta_state"][:, 3:]], axis=1) * SCALES * _CALM
            parts += [np.clip(ahead, -2.0, 2.0), 2 * imagined["progress"][:, None] - 1]
        parts += [2 * age[:, None] / self.n_action_steps - 1, base]
        return torch.from_numpy(np.concatenate(parts, axis=1, dtype=np.float32)).to(self.device)

    def predict_scaled(self, context: Context, state: Tensor) -> dict[str, Tensor]:
        """Return what the base predicts."""
        return self.base.predict_scaled(context, state)


def restore_policy(
    inputs: Mapping[str, Any], tree: Mapping[str, Any], source: str = "configuration"
) -> ResidualPolicy:
    """Rebuild the policy of a checkpoint, without its weights.

    Args:
        inputs: what `RobotInputs.to_json` wrote.
        tree: configuration of its run; the parts "policy", which is the base, and "residual" are
            read.
        source: where that stands, for messages.
    """
    config = configuration.build(ResidualConfig, tree["residual"], source=source)
    policy = ResidualPolicy(visuomotor.restore_policy(inputs, tree, source), config)
    policy.network.eval()
    return policy
