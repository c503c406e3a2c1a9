"""The policies that `embodied eval` plays on language-guided tasks, built from its settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from embodied.errors import CheckpointError
from embodied.policies.base import Policy
from embodied.policies.vln.baselines import BlindPolicy, DetectorPolicy, RandomPlacePolicy
from embodied.policies.vln.dual_scale.policy import DualScalePolicy
from embodied.policies.vln.meta_explore import MetaExplorePolicy

if TYPE_CHECKING:
    from embodied.evaluation.vln import VLNEvalConfig


def make_dual_scale(settings: VLNEvalConfig, which: str) -> Policy:
    """The plain dual-scale agent of a run, acting as `settings.agent` says."""
    agent = _agent(settings, which)
    return DualScalePolicy(
        agent.inputs.widths, agent.inputs.vocabulary, settings.agent, settings.evaluation.seed,
        agent.network.eval(),
    )  # fmt: skip


def make_meta_explore(settings: VLNEvalConfig, which: str) -> Policy:
    """Meta-Explore on the network of a run, acting as `settings.meta` says."""
    seed = settings.meta.seed + settings.evaluation.seed
    return MetaExplorePolicy(_agent(settings, which).network, replace(settings.meta, seed=seed))


def make_random(settings: VLNEvalConfig, which: str) -> Policy:
    """Random neighbours, a random number of them."""
    return RandomPlacePolicy(settings.evaluation.seed)


def make_blind(settings: VLNEvalConfig, which: str) -> Policy:
    """Shortest paths away from the start, as long as training paths are."""
    return BlindPolicy(settings.evaluation.seed)


def make_detector(settings: VLNEvalConfig, which: str) -> Policy:
    """Nearest frontier until an object of the named category is in view."""
    return DetectorPolicy(settings.detector, settings.evaluation.seed)


def _agent(settings: VLNEvalConfig, which: str) -> Any:
    from embodied.training.checkpoint import load_policy
    from embodied.training.vln.agent import DualScaleAgent

    if not settings.checkpoint:
        raise CheckpointError(
            f"the policy '{settings.policy}' is a trained one: give the folder of its run, "
            "or set checkpoint=runs/..."
        )
    agent = load_policy(settings.checkpoint, which)
    if not isinstance(agent, DualScaleAgent):
        raise CheckpointError(
            f"{settings.checkpoint} holds the policy '{getattr(agent, 'name', '?')}', which cannot "
            "follow instructions. Give a run of a recipe vln/..."
        )
    return agent
