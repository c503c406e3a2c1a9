"""What policies that predict chunks of actions share: batches, scaling, and acting chunk by chunk.

The interface is LeRobot's: `forward(batch) -> (loss, figures)`, `predict_action_chunk`,
`select_action` and `reset`; batched over environments, each of which replans when its own chunk is
used up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embodied.errors import ConfigError
from embodied.policies.chunk.backbones import Backbone, Context
from embodied.policies.chunk.robot_inputs import (
    ACTION,
    IMAGES,
    PADDED,
    STATE,
    TASK,
    Batch,
    RobotInputs,
    Scaling,
    to_pixels,
)


class ChunkNetwork(nn.Module):
    """A backbone and a head; what a checkpoint of a chunk policy holds."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head


class ChunkPolicy(ABC):
    """Predicts chunks of actions and plays them.

    Args:
        inputs: what it sees and commands.
        network: backbone and head.
        chunk_size: H, actions per prediction.
        n_action_steps: actions played before the next prediction.
        seed: of what is drawn when acting.

    Attributes:
        network: the weights.
        inputs: what it was made for.
        predictions: of each environment, what the prediction in use says beside its actions.
    """

    name: str
    config_class: ClassVar[type[Any]]
    """Dataclass of the method's settings."""
    acting_settings: ClassVar[tuple[str, ...]] = ()
    """Those of its settings that no weight depends on."""
    config: Any
    """Its settings."""

    def __init__(
        self,
        inputs: RobotInputs,
        network: ChunkNetwork,
        chunk_size: int,
        n_action_steps: int,
        seed: int = 0,
    ) -> None:
        self.inputs, self.network = inputs, network
        self.chunk_size, self.n_action_steps = chunk_size, n_action_steps
        self._normalization: dict[str, Any] = {}
        self._scaling: Scaling | None = None
        self._generator = torch.Generator().manual_seed(seed)
        self.predictions: dict[str, NDArray[np.float32]] = {}
        self.reset()

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a training batch and its parts."""

    @abstractmethod
    def predict_scaled(self, context: Context, state: Tensor) -> dict[str, Tensor]:
        """Return "action" (B, H, A), scaled, and what else the head says of B observations.

        Args:
            context: of the backbone.
            state: (B, F) features of `Scaling.scale_state`.
        """

    def parameters(self) -> list[nn.Parameter]:
        """Return what is trained."""
        return [p for p in self.network.parameters() if p.requires_grad]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    @property
    def normalization(self) -> dict[str, Any]:
        """Statistics of the data it learns from: "observation.state" and "action"."""
        return self._normalization

    @normalization.setter
    def normalization(self, statistics: Mapping[str, Any]) -> None:
        self.set_normalization(statistics)

    def set_normalization(self, statistics: Mapping[str, Any]) -> None:
        """Take the statistics of the data; what assigning `normalization` does."""
        self._normalization = dict(statistics)
        self._scaling = Scaling(statistics, self.inputs) if statistics else None

    @property
    def scaling(self) -> Scaling:
        """How states and actions are scaled.

        Raises:
            ConfigError: the statistics of the data were never given.
        """
        if self._scaling is None:
            raise ConfigError(
                "the policy does not know the range of its data: set `normalization` to the "
                "statistics of the data set"
            )
        return self._scaling

    def encode_observations(self, batch: Batch) -> tuple[Context, Tensor]:
        """Run the backbone; return its context and the features (B, F) of the state."""
        images = {name: to_pixels(batch[IMAGES + name]) for name in self.inputs.cameras}
        context = self.network.backbone(images, batch[TASK])
        return context, self.scaling.scale_state(batch[STATE])

    def prepare_targets(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return the scaled actions (B, H, A) of a training batch and which steps are padding.

        Raises:
            ConfigError: chunks of another length or size.
        """
        action, shape = batch[ACTION], (self.chunk_size, self.inputs.action)
        if tuple(action.shape[1:]) != shape:
            raise ConfigError(f"actions {tuple(action.shape)} must be (B, {shape[0]}, {shape[1]})")
        return self.scaling.scale_action(action), batch.get(PADDED)

    @torch.no_grad()
    def predict_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return "action" (B, H, A) in the units of the environment, and what else is predicted."""
        found = self.predict_scaled(*self.encode_observations(batch))
        return found | {"action": self.scaling.unscale_action(found["action"])}

    def predict_action_chunk(self, batch: Batch) -> Tensor:
        """Return the next H actions (B, H, A) of each environment, drawn anew."""
        return self.predict_outputs(batch)["action"]

    def reset(self, rows: Sequence[int] | NDArray[np.bool_] | None = None) -> None:
        """Forget the chunks of some environments, or of all."""
        if rows is None:
            self._queue = np.zeros((0, self.chunk_size, self.inputs.action), np.float32)
            self._next = np.zeros(0, np.int64)
            self.predictions = {}
        else:
            self._next[rows] = self.n_action_steps

    def select_action(self, batch: Batch) -> Tensor:
        """Return the next action (B, A) of each environment; those at their chunk's end replan."""
        self._expect(len(batch[TASK]))
        rows = self.find_due_rows()
        if len(rows):
            self._renew(rows, _rows(batch, rows))
        return torch.from_numpy(self._play(batch[STATE].cpu().numpy()))

    def act(self, observations: Mapping[str, Any], first: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Choose one action per environment; see `embodied.policies.base.Policy`."""
        self.refill_chunks(observations, first)
        return self._play(np.asarray(observations["state"], np.float32))

    def refill_chunks(self, observations: Mapping[str, Any], first: NDArray[np.bool_]) -> None:
        """See to it that every environment has a next action: replan where the chunk is used up.

        Args:
            observations: (N, ...) each; only the rows that replan are read.
            first: (N,) whose episode begins: these replan, too.
        """
        self._expect(len(first))
        self.reset(first)
        rows = self.find_due_rows()
        if len(rows):
            seen = {
                name: observations[name]
                for name in self.inputs.observation_keys
                if name in observations
            }
            self.replan_chunks(rows, _rows(seen, rows))

    def replan_chunks(self, rows: NDArray[np.int64], observations: Mapping[str, Any]) -> None:
        """Predict new chunks.

        Args:
            rows: the M environments they are for.
            observations: (M, ...) each, of these environments.
        """
        self._renew(rows, self.inputs.build_batch(observations, self.device))

    def find_due_rows(self) -> NDArray[np.int64]:
        """Return the environments whose chunk is used up."""
        return np.flatnonzero(self._next >= self.n_action_steps)

    def peek_actions(self) -> NDArray[np.float32]:
        """Return the next action (N, A) of each environment, which stays the next one.

        An environment that is due shows its last one.
        """
        steps = np.minimum(self._next, self.n_action_steps - 1)
        actions: NDArray[np.float32] = self._queue[np.arange(len(steps)), steps]
        return actions

    def pop_actions(self) -> NDArray[np.float32]:
        """Return the next action (N, A) of each environment and count it as played."""
        actions = self.peek_actions()
        self._next += 1
        return actions

    def get_chunks(self) -> NDArray[np.float32]:
        """Return the chunks in use, (N, H, A)."""
        return self._queue

    def count_played_actions(self) -> NDArray[np.int64]:
        """Return how many actions of its chunk each environment has played, (N,)."""
        return self._next

    def sample_noise(self, *shape: int) -> Tensor:
        """Draw standard normal numbers with the policy's own generator."""
        return torch.randn(*shape, generator=self._generator).to(self.device)

    def seed(self, seed: int) -> None:
        """Fix what is drawn from now on."""
        self._generator.manual_seed(seed)

    def _play(self, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the actions (N, A) to play in states (N, S), and count them as played."""
        return self.pop_actions()

    def _expect(self, count: int) -> None:
        """Begin afresh when the number of environments has changed."""
        if len(self._next) != count:
            self.reset()
            self._queue = np.zeros((count, *self._queue.shape[1:]), np.float32)
            self._next = np.full(count, self.n_action_steps)

    def _renew(self, rows: NDArray[np.int64], batch: Batch) -> None:
        """Predict new chunks for some environments from a batch of these."""
        for name, values in self.predict_outputs(batch).items():
            fresh = values.float().cpu().numpy()
            if name == "action":
                self._queue[rows] = fresh
                continue
            if name not in self.predictions:
                self.predictions[name] = np.zeros((len(self._next), *fresh.shape[1:]), np.float32)
            self.predictions[name][rows] = fresh
        self._next[rows] = 0


def _rows(batch: Batch, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return some rows of a batch or of observations."""
    return {
        name: [values[row] for row in rows] if isinstance(values, (list, tuple)) else values[rows]
        for name, values in batch.items()
    }
