"""Settings of language-guided navigation. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field

from embodied import registry
from embodied.errors import ConfigError, suggest_nearest
from embodied.tasks.vln.houses_config import HousesConfig

SPLITS = ("train", "val_seen", "val_unseen", "test")


@dataclass(frozen=True)
class VLNConfig:
    """One language-guided navigation task.

    Attributes:
        dataset: a row of the registry's table "vln_dataset" (set by the environment id), or
            "module:function" of your own.
        data: folder the data sets lie in; where it does not exist, ../shared/data is tried.
        split: "train", "val_seen", "val_unseen" or "test"; SOON's own names work, too, and so do
            those of a data set of your own.
        version: of REVERIE's annotations, "v2" (cleaned) or "v1".
        scans: keep only episodes of these worlds; empty: all.
        episodes: keep only so many, taken evenly over the split; 0: all.
        max_steps: an episode is cut off after so many moves along an edge.
        max_candidates: C, rows for neighbouring places.
        max_objects: O, rows for visible objects; of more, those of largest area are kept.
        canvas: observe the category canvas.
        privileged: observe the truth the expert and the losses need; never for an agent.
        oracle_canvas: observe the canvas of every neighbour, an upper bound only.
        features: .safetensors or .npz file of image features per viewpoint, (36, D) under
            "<world>_<viewpoint>", that replace "views".
        strict_categories: an object name without a category is an error, not a warning.
        houses: which scenes and instructions, when `dataset` is "houses".
        success_reward: for ending at the goal; besides, each metre of progress earns 1.
    """

    dataset: str = "reverie"
    data: str = "data"
    split: str = "val_unseen"
    version: str = "v2"
    scans: tuple[str, ...] = ()
    episodes: int = 0
    max_steps: int = 60
    max_candidates: int = 16
    max_objects: int = 60
    canvas: bool = False
    privileged: bool = False
    oracle_canvas: bool = False
    features: str = ""
    strict_categories: bool = False
    houses: HousesConfig = field(default_factory=HousesConfig)
    success_reward: float = 2.5

    def __post_init__(self) -> None:
        known, own = registry.list_names("vln_dataset"), ":" in self.dataset
        if self.dataset not in known and not own:
            raise ConfigError(
                f"unknown dataset '{self.dataset}': {suggest_nearest(self.dataset, known)}"
            )
        if self.dataset != "soon" and not own and self.split not in SPLITS:
            raise ConfigError(
                f"unknown split '{self.split}': {suggest_nearest(self.split, SPLITS)}"
            )
        if self.version not in ("v1", "v2"):
            raise ConfigError(f"version = '{self.version}' of REVERIE must be v1 or v2")
        for name in ("max_steps", "max_candidates", "max_objects"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.episodes < 0:
            raise ConfigError(f"episodes = {self.episodes} must not be negative; 0 means all")
