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

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from embodied.errors import ConfigError
from embodied.training.checkpoint import get_optimizer_tensors, load_optimizer_tensors
from embodied.training.learner import StochasticActor
from embodied.training.replay import ReplayBuffer

OPTIMIZER_GROUPS = ("0", "1", "2")
"""Of the optimisers of actor, critics and alpha. Checkpoints call the groups by numbers, and what
came next "following", since the first of them; they go on doing so."""
WEIGHTS_GROUP, REPLAY_GROUP = "3", "4"
NEXT_ON_DISK = "following"

Effect = Callable[[Tensor, Tensor], Tensor]
"""(observations, what the actor says) -> the actions that are executed, which critics judge."""

Reward = Callable[[Mapping[str, Tensor]], Tensor]
"""Transitions -> their rewards (B, 1)."""


@dataclass(frozen=True)
class SacConfig:
    """Settings of soft actor-critic.

    Attributes:
        gamma: discount factor of rewards per step.
        tau: share of the way that target critics move towards the critics per update.
        batch_size: number of transitions per update.
        utd_ratio: number of updates of the critics per transition collected.
        actor_update_interval: number of updates of the critics per update of actor and alpha
            (policy delay).
        critic_lr, actor_lr, alpha_lr: learning rates of Adam for the critics, the actor and alpha.
        num_critics: number of critics; the minimum of their values is used.
        width: number of units in each hidden layer of a critic.
        layers: number of hidden layers of a critic.
        max_grad_norm: largest norm of the gradient; a longer one is scaled down to it.
        alpha: weight of entropy (the temperature) at the beginning; it is learned.
        target_entropy: entropy per number of an action that alpha is steered to [nat].
        buffer_size: number of transitions kept in the replay buffer.
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

    Transitions are "observation" (D), "action" (A, as executed), "reward" (1), "next_observation"
    (D), "terminated" (1): whether nothing follows, and `extra`. An episode that was only cut off is
    not terminated.

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
        owed: updates that are due for transitions collected, less than one.
        device: where all of them are: the actor's.
    """

    def __init__(
        self, actor: StochasticActor, observation: int, action: int, config: SacConfig,
        effect: Effect | None = None, extra: Sequence[str] = (), reward: Reward | None = None,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self.actor, self.config = actor, config
        self.effect = effect or (lambda observation, said: said)
        self.reward = reward or (lambda batch: batch["reward"])
        self._seen = actor.observation_size
        self._entropy = config.target_entropy * actor.action_size
        self.device = next(actor.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            critics = Critics(config.num_critics, observation + action, config.width,
                              config.layers)  # fmt: skip
        self.critics = critics.to(self.device)
        self._targets = deepcopy(self.critics).requires_grad_(False)
        self._updates, self.owed = 0, 0.0
        self._log_alpha = nn.Parameter(torch.tensor(math.log(config.alpha), device=self.device))
        self._parts: dict[str, list[nn.Parameter]] = {
            "actor": list(actor.parameters()),
            "critics": list(self.critics.parameters()),
            "temperature": [self._log_alpha],
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
            {"observation": observation, "action": action, "reward": 1,
             "next_observation": observation, "terminated": 1, **dict.fromkeys(extra, 1)},
        )  # fmt: skip

    @property
    def alpha(self) -> float:
        """How much entropy is worth, alpha."""
        return self._alpha.item()

    @property
    def _alpha(self) -> Tensor:
        return self._log_alpha.detach().exp()

    def learn_from(self, transitions: int, rng: np.random.Generator) -> list[dict[str, float]]:
        """Do the updates that are due after so many new transitions; return the figures of each."""
        self.owed += self.config.utd_ratio * transitions
        figures = []
        while self.owed >= 1:
            self.owed -= 1
            figures.append(self.update(rng))
        return figures

    def update(self, rng: np.random.Generator) -> dict[str, float]:
        """Let the critics learn from one batch, and the actor from the last of several.

        Returns:
            Losses and what they are made of: "critic_loss" and "value", and when the actor has
            learned, too, "actor_loss", "entropy", "temperature" and "said", the mean size of what
            the actor says.
        """
        drawn = self.replay.sample(self.config.batch_size, rng)
        batch = {name: values.to(self.device) for name, values in drawn.items()}
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
        self._descend("temperature", -self._log_alpha * excess)
        return {
            "actor_loss": loss.item(),
            "entropy": -density.mean().item(),
            "temperature": alpha.item(),
            "said": said.abs().mean().item(),
        }

    @torch.no_grad()
    def compute_target(self, batch: Mapping[str, Tensor], alpha: Tensor) -> Tensor:
        """Return what the critics should judge, (B,): equation 5."""
        following = batch["next_observation"]
        said, density = self.actor.sample(following[:, : self._seen])
        worth = self._targets(following, self.effect(following, said)).min(0).values
        ahead = self.config.gamma * (1 - batch["terminated"][:, 0])
        return self.reward(batch)[:, 0] + ahead * (worth - alpha * density)

    def get_tensor_groups(self) -> dict[str, dict[str, Tensor]]:
        """Return everything but the actor's weights."""
        weights = {f"critics.{k}": v for k, v in self.critics.state_dict().items()}
        weights |= {f"targets.{k}": v for k, v in self._targets.state_dict().items()}
        weights["log_temperature"] = self._log_alpha.data
        weights["updates"] = torch.tensor(self._updates)
        replay = self.replay.state_dict()
        replay[NEXT_ON_DISK] = replay.pop("next_observation")
        optimizers = zip(OPTIMIZER_GROUPS, self._optimizers.values(), strict=True)
        groups = {group: get_optimizer_tensors(optimizer) for group, optimizer in optimizers}
        return groups | {WEIGHTS_GROUP: weights, REPLAY_GROUP: replay}

    def load_tensor_groups(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what `get_tensor_groups` returned."""
        for group, optimizer in zip(OPTIMIZER_GROUPS, self._optimizers.values(), strict=True):
            load_optimizer_tensors(optimizer, groups.get(group, {}))
        weights = groups[WEIGHTS_GROUP]
        for start, module in (("critics.", self.critics), ("targets.", self._targets)):
            module.load_state_dict(
                {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
            )
        self._log_alpha.data.copy_(weights["log_temperature"])
        self._updates = int(weights["updates"])
        replay = dict(groups[REPLAY_GROUP])
        replay["next_observation"] = replay.pop(NEXT_ON_DISK)
        self.replay.load_state_dict(replay)

    def _descend(self, name: str, loss: Tensor) -> None:
        """Take one step for one of the three parts; the others get no gradient."""
        parameters = self._parts[name]
        found = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
        self._optimizers[name].step()
