"""AdamW as language-guided agents are trained with it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from embodied.training.vln.config import AdamConfig


def make_optimizer(
    modules: Iterable[nn.Module] | nn.Module, config: AdamConfig
) -> torch.optim.AdamW:
    """Build AdamW over all parameters of some modules.

    Weight decay pulls at matrices of linear layers only: not at biases, norms and embeddings, as is
    usual for transformers (DUET's released settings do the same).
    """
    modules = [modules] if isinstance(modules, nn.Module) else list(modules)
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    known: set[int] = set()
    for module in modules:
        for part in module.modules():
            for name, parameter in part.named_parameters(recurse=False):
                if id(parameter) in known or not parameter.requires_grad:
                    continue
                known.add(id(parameter))
                matrix = isinstance(part, nn.Linear) and name == "weight"
                (decayed if matrix else free).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)


def step_optimizer(
    optimizer: torch.optim.Optimizer, loss: Tensor, config: AdamConfig, done: int, total: int
) -> float:
    """Take one step down a loss.

    Args:
        optimizer: over the parameters.
        loss: a scalar.
        config: learning rate and clipping.
        done: updates of this phase already done.
        total: all of them.

    Returns:
        The norm of the gradient before clipping.
    """
    for group in optimizer.param_groups:
        group["lr"] = config.get_learning_rate(done, total)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
    optimizer.step()
    return float(norm)
