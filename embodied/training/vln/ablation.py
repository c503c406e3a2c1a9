"""Play the variants of Meta-Explore on the same episodes and compare them in pairs.

A0 to A7 are those of the paper's ablation as far as it is known: explore only, and a correction by
backtracking one place, a random, the nearest place, a bag of objects, the spectra's S_nav, their
largest cosine, and the oracle. Beside them stand a trained ranker, the network's own logits, and
two agents without any mode selector: the global planner (DUET-class) and an explorer that avoids
loops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embodied import config as configuration
from embodied.errors import ConfigError, suggest_nearest
from embodied.policies.vln.dual_scale import DualScaleNetwork
from embodied.policies.vln.meta_explore import MetaExploreConfig, MetaExplorePolicy
from embodied.results import Metric, build_metric, paired_metric
from embodied.rollout import EpisodeMetrics, evaluate_policy
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.source import VLNSource
from embodied.tasks.vln.vector import VLNVectorEnv
from embodied.training.checkpoint import load_policy, open_checkpoint
from embodied.training.vln.config import VLNTrainConfig

BASE = "explore_only"
CODES = {
    "A1": "backtrack",
    "A2": "random",
    "A3": "nearest",
    "A4": "bag",
    "A5": "sos",
    "A6": "sos_cosine",
    "A7": "oracle",
}
"""Local goal rule of each ablation; A0 is `BASE`."""

COMPARED = ("success", "spl")
SHOWN = ("success", "spl", "oracle_success", "path_length", "steps")


def list_variants(base: MetaExploreConfig) -> dict[str, MetaExploreConfig]:
    """Return the variants by name; what they do not fix is taken from `base`.

    Names are `<rule>.<mode>`, e.g. "sos.learned"; the mode "oracle" and the rule "oracle" read
    privileged observations, `sos_oracle_view` masks of unvisited places: upper bounds all three.
    """
    plain = replace(base, oracle_sos=False, anti_loop=0.0)
    found = {BASE: replace(plain, mode="never")}
    for mode in ("learned", "oracle"):
        for rule in (*CODES.values(), "bag_cosine", "goal_only", "learned", "network"):
            found[f"{rule}.{mode}"] = replace(plain, mode=mode, local_goal=rule)
        found[f"sos_oracle_view.{mode}"] = replace(
            plain, mode=mode, local_goal="sos", oracle_sos=True
        )
    found["network.fused"] = replace(plain, mode="fused", local_goal="network")
    found["global"] = replace(plain, mode="global")
    found["explore_back"] = replace(plain, mode="never", steps_back=True)
    # Our choice of strength: a visit costs one unit of logit, a tenth is forgotten per decision.
    found["anti_loop"] = replace(
        plain, mode="never", steps_back=True, anti_loop=1.0, memory_decay=0.9
    )
    return found


@dataclass(frozen=True)
class VariantOutcome:
    """One variant's episodes, in the same order for all variants.

    Attributes:
        name: of the variant.
        episodes: metrics of each.
        costs: decisions, milliseconds, share of corrections, AUC: see
            `DecisionCounters.compute_metrics`.
    """

    name: str
    episodes: Sequence[EpisodeMetrics]
    costs: dict[str, float]

    def get_values(self, name: str) -> np.ndarray:
        """Return one metric of every episode."""
        return np.array([episode[name] for episode in self.episodes])


def run_ablation(
    network: DualScaleNetwork,
    task: VLNConfig,
    source: VLNSource,
    chosen: dict[str, MetaExploreConfig],
    envs: int = 32,
    seed: int = 0,
) -> Iterator[VariantOutcome]:
    """Play every variant on all episodes of a source, one after the other.

    Args:
        network: trained explorer, mode selector and ranker.
        task: observations beyond the usual ones are switched on for the variants that need them.
        source: worlds and episodes.
        chosen: the variants.
        envs: episodes played as one batch.
        seed: of the rules that draw.

    Raises:
        ConfigError: episodes whose goal is held back.
    """
    if not all(episode.has_truth for episode in source.episodes):
        raise ConfigError("these episodes come without goals: use a train or val split")
    for name, config in chosen.items():
        # Whether a correction was right is only asked where somebody decided about corrections.
        measured = config.mode in ("learned", "oracle")
        policy = MetaExplorePolicy(network, replace(config, seed=seed, measure=measured))
        needed = set(policy.observation_keys)
        seen = replace(
            task,
            canvas="canvas" in needed,
            oracle_canvas="candidate_canvas" in needed,
            privileged="goal_distance" in needed,
        )
        env = VLNVectorEnv(min(envs, len(source.episodes)), seen, source=source)
        try:
            episodes = evaluate_policy(policy, env, len(source.episodes), seed)
        finally:
            env.close()
        yield VariantOutcome(name, episodes, policy.counters.compute_metrics())


def compute_figures(outcomes: Sequence[VariantOutcome], command: str = "") -> dict[str, Metric]:
    """Return all figures: `<variant>.<metric>`, costs, and `<variant>.gain.<metric>`, the paired
    difference to explore-only with its bootstrap interval over episodes.
    """
    found: dict[str, Metric] = {}
    base = next((outcome for outcome in outcomes if outcome.name == BASE), None)
    for outcome in outcomes:
        for name in outcome.episodes[0]:
            values = outcome.get_values(name)
            if name != "episode" and np.isfinite(values).all():
                found[f"{outcome.name}.{name}"] = build_metric(values, command)
        for name, value in outcome.costs.items():
            if np.isfinite(value):
                count = int(outcome.costs["decisions"])
                found[f"{outcome.name}.{name}"] = Metric(value, count, (value, value), command)
        if base is not None and outcome is not base:
            for name in COMPARED:
                pair = outcome.get_values(name), base.get_values(name)
                found[f"{outcome.name}.gain.{name}"] = paired_metric(*pair, command)
    return found


def select_variants(names: str, known: dict[str, Any]) -> dict[str, Any]:
    """Return the variants named in a comma-separated list, explore-only always first; a name
    without mode stands for both.

    Raises:
        ConfigError: an unknown name.
    """
    wanted = [BASE]
    for name in filter(None, (part.strip() for part in names.split(","))):
        rule = CODES.get(name, BASE if name == "A0" else name)
        found = [rule] if rule in known else [k for k in known if k.startswith(f"{rule}.")]
        if not found:
            raise ConfigError(
                f"unknown variant '{name}': {suggest_nearest(name, [*known, *CODES])}"
            )
        wanted += found
    return {name: known[name] for name in dict.fromkeys(wanted)}


def open_agent(
    folder: str, which: str, overrides: Sequence[str]
) -> tuple[DualScaleNetwork, VLNTrainConfig]:
    """Load the network of a run, and its settings with overrides laid over them.

    Raises:
        ConfigError: a policy without variants of Meta-Explore, or a wrong override.
        CheckpointError: no usable checkpoint.
    """
    checkpoint = open_checkpoint(folder, which)
    network = getattr(load_policy(folder, which), "network", None)
    if not isinstance(network, DualScaleNetwork):
        raise ConfigError(
            f"{folder} holds the policy '{checkpoint.meta.get('policy')}', which has no "
            "variants of Meta-Explore. Train one with: embodied train vln/meta_explore_houses"
        )
    source = f"{checkpoint.path}/config.yaml"
    settings = configuration.build(VLNTrainConfig, checkpoint.load_config(), source=source)
    return network, configuration.override(settings, overrides)
