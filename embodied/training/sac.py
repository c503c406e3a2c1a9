"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905): one learning step and its state.

    y = r + gamma (1 - end) (min_k Q'_k(x', a') - alpha log p(a'|x'))            (their eq. 5)
    critics:      sum_k (Q_k(x, a) - y)^2
    actor:        alpha log p(a|x) - min_k Q_k(x, a)                             (their eq. 9)
    temperature:  -log alpha (log p(a|x) + H)                                    (their eq. 18)

The critics normalise their hidden layers, which keeps them from overrating what was never tried
(Ball et al. 2023, arXiv 2302.02948).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from embodied.errors import ConfigError
from embodied.policies.chunk.gaussian import SquashedGaussian
from embodied.training.replay import ReplayBuffer

Effect = Callable[[Tensor, Tensor], Tensor]
"""(observations, what the actor says) -> the actions that are executed, which critics judge."""

Reward = Callable[[Mapping[str, Tensor]], Tensor]
"""Transitions -> their rewards (B, 1)."""


@dataclass(frozen=True)
class SacConfig:
    """Settings of soft actor-critic.

    Attributes:
        gamma: gamma.
        tau: share by which the targets move towards the critics per update (tau).
        batch_size: transitions per update.
        utd_ratio: of the critics per transition collected.
        actor_update_interval: updates of the critics per update of actor and temperature.
        critic_lr, actor_lr, alpha_lr: learning rates.
        num_critics: how many; the lowest judgement counts.
        width: of the critics' hidden layers.
        layers: how many of them.
        max_grad_norm: largest norm of a gradient.
        alpha: alpha at the beginning.
        target_entropy: wanted of each number that the actor says (H).
        buffer_size: transitions kept.
    """

    gamma: float = 0.97
    tau: float = 0.01
    batch_size: int = 256
    utd_ratio: float = 0.5
    actor_update_interval: int = 2
    critic_lr: float = 1e-3
    actor_lr: float = 3e-4
    alpha_lr: float = 3e-4
    num_critics: int = 2
    width: int = 128
    layers: int = 2
    max_grad_norm: float = 50.0
    alpha: float = 0.1
    target_entropy: float = -1.0
    buffer_size: int = 200_000

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < 1 or not 0 < self.tau <= 1:
            raise ConfigError(
                f"sac.gamma {self.gamma} must lie in [0, 1), tau {self.tau} in (0, 1]"
            )
        for name in (
            "batch_size", "actor_update_interval", "num_critics", "width", "layers", "buffer_size",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"sac.{name} = {getattr(self, name)} must be at least 1")
        above = ("utd_ratio", "critic_lr", "actor_lr", "alpha_lr", "max_grad_norm", "alpha")
        for name in above:
            if not getattr(self, name) > 0:
                raise ConfigError(f"sac.{name} = {getattr(self, name)} must be above 0")


class Critics(nn.Module):
    """K networks of one size, evaluated together.

    Args:
        count: K.
        inputs: numbers they see.
        width: of the hidden layers.
        layers: how many of them.
    """

    def __init__(self, count: int, inputs: int, width: int, layers: int) -> None:
        super().__init__()
        sizes = [inputs, *[width] * layers, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(sizes):
            bound = 1 / math.sqrt(before)
            self.weights.append(torch.empty(count, before, after).uniform_(-bound, bound))
            self.biases.append(torch.zeros(count, 1, after))

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return the judgements (K, B) of actions (B, A) at observations (B, D)."""
        x = torch.cat([observation, action], dim=-1).expand(len(self.weights[0]), -1, -1)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if number:
                x = functional.relu(functional.layer_norm(x, x.shape[-1:]))
            x = torch.baddbmm(bias, x, weight)
        return x.squeeze(-1)


class Sac:
    """An actor, its critics, and what they learn from.

    Transitions are "observation" (D), "action" (A, as executed), "reward" (1), "following" (D),
    "terminated" (1): whether nothing follows, and `extra`. An episode that was only cut off is not
    terminated.

    Args:
        actor: sees the first numbers of an observation, as many as it takes; changed in place.
        observation: D; critics see all of it.
        action: A.
        config: settings.
        effect: what becomes of what the actor says; None executes just that.
        extra: names of further numbers of a transition.
        reward: what is learned from them, for rewards that change; None takes "reward".
        seed: of the critics' weights.

    Attributes:
        replay: what they learn from.
        critics: judge.
    """

    def __init__(
        self, actor: SquashedGaussian, observation: int, action: int, config: SacConfig,
        effect: Effect | None = None, extra: Sequence[str] = (), reward: Reward | None = None,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.actor, self.config = actor, config
        self.effect = effect or (lambda observation, said: said)
        self.reward = reward or (lambda batch: batch["reward"])
        first = next(actor.parameters())
        self._seen = first.shape[1]
        self._entropy = config.target_entropy * actor.output.out_features / 2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.critics = Critics(config.num_critics, observation + action, config.width,
                                   config.layers)  # fmt: skip
        self._targets = deepcopy(self.critics).requires_grad_(False)
        self._updates = 0
        self._log_temperature = nn.Parameter(torch.tensor(math.log(config.alpha)))
        self._parts: dict[str, list[nn.Parameter]] = {
            "actor": list(actor.parameters()),
            "critics": list(self.critics.parameters()),
            "temperature": [self._log_temperature],
        }
        rates = {
            "actor": config.actor_lr, "critics": config.critic_lr, "temperature": config.alpha_lr,
        }  # fmt: skip
        self._optimizers = {
            name: torch.optim.Adam(parameters, rates[name], fused=True)
            for name, parameters in self._parts.items()
        }
        self.replay = ReplayBuffer(
            config.buffer_size,
            {"observation": observation, "action": action, "reward": 1, "following": observation,
             "terminated": 1, **dict.fromkeys(extra, 1)},
        )  # fmt: skip

    @property
    def alpha(self) -> float:
        """How much entropy is worth, alpha."""
        return self._alpha.item()

    @property
    def _alpha(self) -> Tensor:
        return self._log_temperature.detach().exp()

    def update(self, rng: np.random.Generator) -> dict[str, float]:
        """Let the critics learn from one batch, and the actor from the last of several.

        Returns:
            Losses and what they are made of: "critic_loss" and "value", and when the actor has
            learned, too, "actor_loss", "entropy", "temperature" and "said", the mean size of what
            the actor says.
        """
        batch = self.replay.sample(self.config.batch_size, rng)
        judged = self.critics(batch["observation"], batch["action"])
        loss = (judged - self.compute_target(batch, self._alpha)).square().sum(0).mean()
        self._descend("critics", loss)
        with torch.no_grad():
            pairs = zip(self._targets.parameters(), self.critics.parameters(), strict=True)
            for target, critic in pairs:
                target.lerp_(critic, self.config.tau)
        figures = {"critic_loss": loss.item(), "value": judged.mean().item()}
        self._updates += 1
        if self._updates % self.config.actor_update_interval == 0:
            figures |= self._improve(batch["observation"])
        return figures

    def _improve(self, observation: Tensor) -> dict[str, float]:
        """Let actor and temperature learn from observations (B, D)."""
        alpha = self._alpha
        said, density = self.actor.sample(observation[:, : self._seen])
        value = self.critics(observation, self.effect(observation, said)).min(0).values
        loss = (alpha * density - value).mean()
        self._descend("actor", loss)
        excess = (density.detach() + self._entropy).mean()
        self._descend("temperature", -self._log_temperature * excess)
        return {
            "actor_loss": loss.item(),
            "entropy": -density.mean().item(),
            "temperature": alpha.item(),
            "said": said.abs().mean().item(),
        }

    @torch.no_grad()
    def compute_target(self, batch: Mapping[str, Tensor], alpha: Tensor) -> Tensor:
        """Return what the critics should judge, (B,): equation 5."""
        following = batch["following"]
        said, density = self.actor.sample(following[:, : self._seen])
        worth = self._targets(following, self.effect(following, said)).min(0).values
        ahead = self.config.gamma * (1 - batch["terminated"][:, 0])
        return self.reward(batch)[:, 0] + ahead * (worth - alpha * density)

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the actor's weights: tensors by name, in numbered groups."""
        state: dict[int, dict[str, Tensor]] = {
            number: {
                f"{index}.{key}": value
                for index, values in optimizer.state_dict()["state"].items()
                for key, value in values.items()
            }
            for number, optimizer in enumerate(self._optimizers.values())
        }
        weights = {f"critics.{k}": v for k, v in self.critics.state_dict().items()}
        weights |= {f"targets.{k}": v for k, v in self._targets.state_dict().items()}
        weights["log_temperature"] = self._log_temperature.data
        weights["updates"] = torch.tensor(self._updates)
        return {"state": {**state, len(state): weights, len(state) + 1: self.replay.state_dict()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        state = state_dict["state"]
        for number, optimizer in enumerate(self._optimizers.values()):
            tree = optimizer.state_dict()
            tree["state"] = {}
            for name, value in state.get(number, {}).items():
                index, _, key = name.partition(".")
                tree["state"].setdefault(int(index), {})[key] = value
            optimizer.load_state_dict(tree)
        last = len(self._optimizers)
        weights = state[last]
        for start, module in (("critics.", self.critics), ("targets.", self._targets)):
            module.load_state_dict(
                {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
            )
        self._log_temperature.data.copy_(weights["log_temperature"])
        self._updates = int(weights["updates"])
        self.replay.load_state_dict(state[last + 1])

    def _descend(self, name: str, loss: Tensor) -> None:
        """Take one step for one of the three parts; the others get no gradient."""
        parameters = self._parts[name]
        found = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
        self._optimizers[name].step()
