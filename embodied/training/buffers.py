"""Sequences of experience and how they are cut into minibatches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.policies.base import Arrays


@dataclass(frozen=True)
class RolloutBuffer:
    """T steps of N environments, time first.

    Attributes:
        features: (T, N, ...) what the policy saw.
        states: (T, N, H) its recurrent state before each step.
        episode_start: (T, N) an episode begins with this observation.
        valid: (T, N) false where the environment only reset and ignored the action.
        action, log_prob, value, reward: (T, N); `action` is the executed one.
        done: (T, N) the episode ended with this step.
        next_value: (T, N) value of what follows: 0 after a terminal step, the estimate for the
            cut-off rest after a truncation.
        expert_action: (T, N) the expert's action, or None.
    """

    features: Arrays
    states: NDArray[np.float32]
    episode_start: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    action: NDArray[np.int64]
    log_prob: NDArray[np.float32]
    value: NDArray[np.float32]
    reward: NDArray[np.float32]
    done: NDArray[np.bool_]
    next_value: NDArray[np.float32]
    expert_action: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class RolloutBatch:
    """A minibatch of whole sequences as tensors: (T, B, ...), the state (B, H)."""

    features: dict[str, Tensor]
    state: Tensor
    episode_start: Tensor
    valid: Tensor
    action: Tensor
    log_prob: Tensor
    value: Tensor
    advantage: Tensor
    value_target: Tensor
    expert_action: Tensor


def compute_advantages(
    rollout: RolloutBuffer, gamma: float, gae_lambda: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16) and value targets, each (T,
    N).

    `gamma` is the paper's gamma, `gae_lambda` its lambda. Invalid steps get 0 and pass nothing on.
    """
    result = np.zeros_like(rollout.value)
    following = np.zeros_like(rollout.value[0])
    for t in reversed(range(len(result))):
        delta = rollout.reward[t] + gamma * rollout.next_value[t] - rollout.value[t]
        following = delta + gamma * gae_lambda * following * ~rollout.done[t]
        following = following * rollout.valid[t]
        result[t] = following
    return result, result + rollout.value


def iter_minibatches(
    rollout: RolloutBuffer,
    advantage: NDArray[np.float32],
    value_target: NDArray[np.float32],
    num_minibatches: int,
    sequence_length: int,
    rng: np.random.Generator,
    device: torch.device | str = "cpu",
) -> Iterator[RolloutBatch]:
    """Yield `num_minibatches` minibatches of pieces of `sequence_length` steps, in random order.

    A piece starts from the recurrent state the policy had there when it acted; gradients do not
    reach further back. A remainder shorter than `sequence_length` is left out. Tensors lie on
    `device`.
    """
    steps, envs = rollout.episode_start.shape
    sequence_length = min(sequence_length, steps)
    starts = np.arange(0, steps - sequence_length + 1, sequence_length)
    pieces = np.stack(np.meshgrid(starts, np.arange(envs), indexing="ij"), -1).reshape(-1, 2)
    pieces = pieces[rng.permutation(len(pieces))]
    for chosen in np.array_split(pieces, min(num_minibatches, len(pieces))):
        time = chosen[:, 0] + np.arange(sequence_length)[:, None]  # (length, B)
        env = np.broadcast_to(chosen[:, 1], time.shape)

        def take(array: NDArray, time: NDArray = time, env: NDArray = env) -> Tensor:
            return torch.from_numpy(array[time, env]).to(device)

        expert = rollout.action if rollout.expert_action is None else rollout.expert_action
        yield RolloutBatch(
            features={key: take(value) for key, value in rollout.features.items()},
            state=torch.from_numpy(rollout.states[time[0], env[0]]).to(device),
            episode_start=take(rollout.episode_start),
            valid=take(rollout.valid),
            action=take(rollout.action),
            log_prob=take(rollout.log_prob),
            value=take(rollout.value),
            advantage=take(advantage),
            value_target=take(value_target),
            expert_action=take(expert),
        )
