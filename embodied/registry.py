"""One table of every name a recipe or a command may use, resolved to code only when asked for."""

from __future__ import annotations

import importlib
from typing import Any

from embodied.errors import ConfigError, suggest_nearest
from embodied.extras import require_extra

# kind -> name -> "module:attribute". A test imports every row.
TABLE: dict[str, dict[str, str]] = {
    "policy": {  # walk; a class with its `config_class` and `from_config`
        "random": "embodied.policies.random:RandomPolicy",
        "expert": "embodied.policies.expert:ExpertPolicy",
        "frontier": "embodied.policies.mapping.frontier:FrontierPolicy",
        "map_planner": "embodied.policies.mapping.map_planner:MapPlannerPolicy",
        "objectnav_frontier": "embodied.policies.mapping.object_frontier:ObjectFrontierPolicy",
        "recurrent": "embodied.policies.recurrent:RecurrentPolicy",
    },
    "chunk_policy": {  # `policy.method` of the recipes manip/...: subclasses of ChunkPolicy
        "sc_vla": "embodied.policies.chunk.sc_vla:ScVlaPolicy",
        "act": "embodied.policies.chunk.act:ActPolicy",
        "diffusion": "embodied.policies.chunk.diffusion:DiffusionPolicy",
    },
    "restore": {  # policy name of a checkpoint -> function(inputs, configuration, source)
        "recurrent": "embodied.policies.recurrent:restore_policy",
        "dual_scale": "embodied.training.vln.agent:restore_policy",
        "sc_vla": "embodied.policies.chunk.factory:restore_policy",
        "act": "embodied.policies.chunk.factory:restore_policy",
        "diffusion": "embodied.policies.chunk.factory:restore_policy",
        "residual": "embodied.policies.chunk.residual:restore_policy",
    },
    "evaluator": {  # `embodied eval` of the recipes and runs of the trainer of that name
        "ppo": "embodied.evaluation.navigation:NavigationEvaluator",
        "vln": "embodied.evaluation.vln:VLNEvaluator",
        "vlnce": "embodied.evaluation.vln_continuous:ContinuousEvaluator",
        "manipulation": "embodied.evaluation.manipulation:ManipulationEvaluator",
        "mobile_pick": "embodied.evaluation.mobile_pick:MobilePickEvaluator",
        "refinement": "embodied.evaluation.manipulation:RefinementEvaluator",
    },
    "vln_dataset": {  # data sets of instructions -> function(VLNConfig) that opens a split
        "r2r": "embodied.tasks.datasets.r2r:open_r2r",
        "reverie": "embodied.tasks.datasets.reverie:open_reverie",
        "soon": "embodied.tasks.datasets.soon:open_soon",
        "houses": "embodied.tasks.vln.houses:open_houses",
    },
    "vln_phase": {  # what `train.phases` of a vln recipe may name
        "pretrain": "embodied.training.vln.pretraining:Pretraining",
        "finetune": "embodied.training.vln.finetuning:Finetuning",
        "mode": "embodied.training.vln.mode:ModePhase",
    },
    "vln_policy": {  # walk on a graph of places as they are told to, likewise
        "dual_scale": "embodied.policies.vln.dual_scale:DualScalePolicy",
        "meta_explore": "embodied.policies.vln.meta_explore:MetaExplorePolicy",
        "random": "embodied.policies.vln.baselines:RandomPlacePolicy",
        "blind": "embodied.policies.vln.baselines:BlindPolicy",
        "detector": "embodied.policies.vln.baselines:DetectorPolicy",
    },
    "segmenter": {  # what `houses.semantics` may name a run folder of
        "panorama": "embodied.perception.segmenter:Segmenter",
    },
    "sensors": {  # what `embodied deploy --sensors` may name; others are module:function
        "tabletop": "embodied.tasks.tabletop.mirror:TableSensors",
    },
    "trainer": {
        "ppo": "embodied.training.navigation.trainer:train",
        "vln": "embodied.training.vln.trainer:train",
        "segmenter": "embodied.training.segmenter:train",
        "manipulation": "embodied.training.manipulation.trainer:train",
        "refinement": "embodied.training.manipulation.refinement:train",
    },
    "completion": {  # trainer -> function(tree): what its recipes take over from other runs
        "refinement": "embodied.training.manipulation.refinement:complete_config",
    },
}


def list_names(kind: str) -> list[str]:
    """Return the names registered under a kind, sorted.

    Raises:
        ConfigError: unknown kind.
    """
    if kind not in TABLE:
        raise ConfigError(f"unknown registry table '{kind}': {suggest_nearest(kind, TABLE)}")
    return sorted(TABLE[kind])


def resolve(kind: str, name: str) -> Any:
    """Import and return what a name stands for.

    Args:
        kind: the table, e.g. "policy".
        name: the row, e.g. "random"; or "module:attribute" for code outside this package.

    Raises:
        ConfigError: unknown table or name, or a "module:attribute" that does not exist.
    """
    known = list_names(kind)
    if name in known:
        target = TABLE[kind][name]
    elif ":" in name:
        target = name
    else:
        own = ". One of your own is written module:attribute" if "." in name else ""
        raise ConfigError(f"unknown {kind} '{name}': {suggest_nearest(name, known)}{own}")
    module, _, attribute = target.partition(":")
    try:
        with require_extra(f"The {kind} '{name}'"):
            return getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if target != name:  # a row of our own table: its failure is a bug or a missing dependency
            raise
        raise ConfigError(
            f"{kind} '{name}' cannot be imported ({error}). Write it as module:attribute, and run "
            "the command in the folder of the module, or put that folder on PYTHONPATH."
        ) from error
