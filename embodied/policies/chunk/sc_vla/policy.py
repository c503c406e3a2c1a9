"""SC-VLA, the base policy (Liu et al., arXiv 2602.21633, section 3.1 and 3.2).

Actions, progress p and change of state d are noised with one flow time and denoised together:

    x_t = (1 - t) e + t x,   v = x - e,   L = MSE(v_a) + 0.1 MSE(v_d) + 0.1 MSE(v_p)

where e is noise and x is the scaled action chunk, `labels.compute_state_delta`, and 2p - 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from embodied.errors import ConfigError
from embodied.nn import flow
from embodied.policies.chunk.backbones import Backbone, Context
from embodied.policies.chunk.base import Batch, ChunkNetwork, ChunkPolicy
from embodied.policies.chunk.robot_inputs import RobotInputs, masked_mean
from embodied.policies.chunk.sc_vla.config import ScVlaConfig
from embodied.policies.chunk.sc_vla.head import FlowHead
from embodied.policies.chunk.sc_vla.labels import SCALES, STATE_SIZE


class ScVlaPolicy(ChunkPolicy):
    """Flow matching over action chunks, with sparse world imagination.

    Args:
        inputs: what it sees and commands.
        config: of the head.
        backbone: sees and reads.
        chunk_size: actions per prediction.
        n_action_steps: actions played before the next one.
        seed: of what is drawn when acting.

    Raises:
        ConfigError: a chunk that cannot be packed, or imagination without the pose of a gripper.
    """

    name = "sc_vla"
    config_class = ScVlaConfig
    acting_settings = ("num_inference_steps", "temperature")

    def __init__(
        self, inputs: RobotInputs, config: ScVlaConfig, backbone: Backbone,
        chunk_size: int = 16, n_action_steps: int = 5, seed: int = 0,
    ) -> None:  # fmt: skip
        if chunk_size % config.pack:
            raise ConfigError(f"chunk {chunk_size} must be a multiple of sc_vla.pack {config.pack}")
        if config.imagination and (inputs.state, inputs.orientation) != (STATE_SIZE, 3):
            raise ConfigError(
                f"imagination needs states of {STATE_SIZE} numbers (position, quaternion, "
                f"gripper); these have {inputs.state}. Set policy.sc_vla.imagination=false"
            )
        self.config = config
        self.head = FlowHead(
            config, inputs.state_features, inputs.action, chunk_size, backbone.width
        )
        super().__init__(
            inputs, ChunkNetwork(backbone, self.head), chunk_size, n_action_steps, seed
        )

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its parts.

        Args:
            batch: beside what `ChunkPolicy` reads, with imagination "progress" (B,) in 0 to 1 and
                "delta_state" (B, 7), scaled.
        """
        action, padded = self.prepare_targets(batch)
        data = {"action": action}
        if self.config.imagination:
            data["progress"] = 2 * batch["progress"].reshape(-1, 1, 1) - 1
            data["delta_state"] = batch["delta_state"][:, None]
        draws = self.config.draws
        data = {name: x.repeat_interleave(draws, dim=0) for name, x in data.items()}
        padded = None if padded is None else padded.repeat_interleave(draws, dim=0)
        time = flow.sample_times(len(data["action"]), device=action.device)
        noise = {name: torch.randn_like(x) for name, x in data.items()}
        noisy = {name: flow.interpolate_path(noise[name], x, time) for name, x in data.items()}
        given = self.head.encode_condition(*self.encode_observations(batch)).repeat_rows(draws)
        found = self.head(given, noisy, time)
        errors = {
            name: masked_mean(
                (found[name].float() - flow.compute_velocity(noise[name], x)).square(),
                padded if name == "action" else None,
            )
            for name, x in data.items()
        }
        weights = {"action": 1.0, "progress": self.config.progress_weight,
                   "delta_state": self.config.delta_weight}  # fmt: skip
        loss = sum((weights[name] * e for name, e in errors.items()), start=action.new_zeros(()))
        return loss, {f"{name}_loss": e.item() for name, e in errors.items()}

    def imagine_future(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the policy imagines.

        Returns:
            "progress" (B,) in 0 to 1 and "delta_state" (B, 7): change over the next
            `config.imagination_horizon` steps in the gripper's frame [m, rad, opening].

        Raises:
            ConfigError: it was built without imagination.
        """
        if not self.config.imagination:
            raise ConfigError("this policy was trained with sc_vla.imagination=false")
        found = self.predict_outputs(batch)
        return {name: found[name] for name in ("progress", "delta_state")}

    def predict_scaled(self, context: Context, state: Tensor) -> dict[str, Tensor]:
        """Follow the flow from noise to actions and to what is imagined."""
        count, head = len(state), self.head
        warm = self.config.temperature
        noise = {
            name: warm * self.sample_noise(count, *shape) for name, shape in head.shapes.items()
        }
        given = head.encode_condition(context, state)
        found = flow.integrate_velocity(
            lambda x, t: head(given, x, t), noise, self.config.num_inference_steps
        )
        if self.config.imagination:
            found["progress"] = ((found["progress"].flatten() + 1) / 2).clamp(0.0, 1.0)
            scales = torch.from_numpy(SCALES).to(found["delta_state"])
            found["delta_state"] = found["delta_state"][:, 0] / scales
        return found
