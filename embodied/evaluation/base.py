"""What every kind of `embodied eval` offers, how it is found, and the file of single episodes."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from embodied import config as configuration
from embodied import registry
from embodied.errors import ConfigError
from embodied.evaluation.settings import refuse_untrained
from embodied.files import write_text
from embodied.results import Metric, build_metric, paired_metric

Episodes = Sequence[Mapping[str, float]]


class Evaluator(ABC):
    """One kind of evaluation; built by ``(what, overrides, which)``, a row of the registry's table
    "evaluator".

    Args:
        settings: the whole configuration, with the parts `key` and `evaluation`.
        which: checkpoint of a run folder, "latest" or "best".

    Attributes:
        settings: as given, or as `use_scene` changed it.
        shown_metrics: names of the figures printed, in order.
        published_names: metric name -> its name in the JSON file, where it differs.
    """

    settings: Any
    shown_metrics: Sequence[str] = ()
    published_names: Mapping[str, str] = MappingProxyType({})

    def __init__(self, settings: Any, which: str) -> None:
        self.settings, self.which = settings, which

    @property
    def key(self) -> str:
        """Start of the published names."""
        return str(self.settings.key)

    @property
    def seed(self) -> int:
        """Of the environments, or the number of the first episode."""
        return int(self.settings.evaluation.seed)

    def use_scene(self, scene: Path, episodes: int) -> None:
        """Play in one scene file, at most so many episodes.

        Raises:
            ConfigError: the tasks play somewhere of their own.
        """
        evaluation = self.settings.evaluation
        self.settings = dataclasses.replace(
            self.settings,
            task=self.place_task(scene),
            evaluation=dataclasses.replace(
                evaluation, episodes=min(evaluation.episodes or episodes, episodes)
            ),
        )

    def place_task(self, scene: Path) -> Any:
        """Return the settings of the task in another scene.

        Raises:
            ConfigError: it plays somewhere of its own.
        """
        raise ConfigError(f"--scene {scene}: these tasks play in their own scenes")

    @abstractmethod
    def play_episodes(self, explain: Path | None = None) -> Episodes:
        """Play the episodes; `explain` is a folder for what the policy thought."""

    def write_page(self, folder: Path, line: str) -> Path:
        """Draw what `play_episodes` left in the folder of explanations; return the page's path.

        Raises:
            ConfigError: there is nothing to explain.
        """
        raise ConfigError(f"--explain {folder}: these policies record no decisions ({line})")

    def list_episode_names(self, count: int) -> Sequence[str]:
        """Return a name for each of the first `count` episodes, the same for every policy."""
        wanted = self.settings.evaluation
        return [f"{wanted.split}-{wanted.seed}-{number}" for number in range(count)]


GAIN = "gain"
"""The part of an evaluation that holds what each episode gained over another agent's."""


@runtime_checkable
class FilmedEvaluator(Protocol):
    """What evaluations of arms offer beside that."""

    def group_episodes(self) -> Mapping[str, Episodes]:
        """Return the episodes of each task played, where there are several."""
        ...

    def write_film(self, path: Path) -> int:
        """Write a film of some episodes; return the number of its frames."""
        ...


def open_evaluator(what: str, overrides: Sequence[str], which: str = "latest") -> Evaluator:
    """Build the evaluation of a recipe, a YAML file, or the folder of a trained policy.

    Its kind is the recipe's `evaluator`, else that of its `trainer`; navigation without either.

    Raises:
        ConfigError: unknown recipe, kind or key.
        CheckpointError: a folder without a usable checkpoint.
    """
    if Path(what).is_dir():
        from embodied.training.checkpoint import open_checkpoint

        tree = open_checkpoint(what, which).load_config()
    else:
        tree = configuration.read_recipe(what)
    trainer = str(tree.get("trainer", "ppo"))
    if ":" in trainer and "evaluator" not in tree:
        if not Path(what).is_dir():
            raise refuse_untrained(what)
        raise ConfigError(
            f"nothing says which evaluation plays the episodes of {what}, trained by '{trainer}'. "
            'Give its settings a field, e.g. evaluator: str = "ppo"; there are '
            f"{', '.join(registry.list_names('evaluator'))}, and module:Class of yours"
        )
    kind = str(tree.get("evaluator", trainer))
    if kind == "segmenter":
        raise ConfigError(
            f"{what} is a segmenter, which no episode tests by itself: its training measures it in "
            "unseen houses (metrics.jsonl). To test an agent that sees through it: "
            f"embodied eval RUN task.houses.semantics={what}"
        )
    made: Evaluator = registry.resolve("evaluator", kind)(what, overrides, which)
    return made


def summarise_metrics(
    episodes: Episodes, command: str, prefix: str = "", differences: bool = False
) -> dict[str, Metric]:
    """Average every metric over the episodes; those undefined in some episode are left out.

    Args:
        episodes: figures of each.
        command: the command line that makes them again.
        prefix: of the names.
        differences: between two agents in the same episodes: a gain of 0 or 1 is no success flag.
    """
    found: dict[str, Metric] = {}
    for name in sorted(episodes[0]):
        values = np.array([e.get(name, np.nan) for e in episodes])
        if name not in ("episode", "collided") and np.isfinite(values).all():
            of = (
                paired_metric(values, 0 * values, command)
                if differences
                else build_metric(values, command)
            )
            found[f"{prefix}.{name}" if prefix else name] = of
    return found


def write_episodes(path: Path, names: Sequence[str], episodes: Episodes) -> None:
    """Write one JSON line per episode: its name and its figures; those undefined are null."""
    lines = []
    for name, episode in zip(names, episodes, strict=True):
        finite = {k: v if np.isfinite(v) else None for k, v in sorted(episode.items())}
        lines.append(json.dumps({"id": name} | finite, allow_nan=False) + "\n")
    write_text(path, "".join(lines))


def read_episodes(path: str | Path) -> dict[str, dict[str, float]]:
    """Return the figures of each episode of a file of `write_episodes`, by its name.

    Raises:
        ConfigError: not such a file, or a name twice.
    """
    found: dict[str, dict[str, float]] = {}
    try:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            name = row.pop("id")
            if name in found:
                raise ConfigError(f"{path}: episode '{name}' occurs twice")
            found[name] = {k: np.nan if v is None else float(v) for k, v in row.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"cannot read episodes from {path} ({error}): "
            "give a file written by embodied eval --episodes"
        ) from error
    return found
