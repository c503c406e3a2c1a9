"""`embodied eval` of manipulation policies: success by task, and a film of some episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from embodied import config as configuration
from embodied.cli.evaluators import Episodes
from embodied.errors import CheckpointError, ConfigError
from embodied.policies.chunked import ChunkPolicy
from embodied.training.checkpoint import load_policy, open_checkpoint
from embodied.training.manipulation.config import ManipulationTraining
from embodied.training.manipulation.validation import play, require_fit

FILMED = 9


class ManipulationEvaluator:
    """Manipulation; see `embodied.cli.evaluators.Evaluator`.

    Args:
        what: folder of a trained policy.
        overrides: key.path=value; `evaluation.level`, `task.max_steps` or `policy.execute`, say.
        which: checkpoint of a run folder, "latest" or "best".
    """

    shown = ("success", "steps", "return", "violations_force", "violations_workspace",
             "violations_velocity")  # fmt: skip
    published: ClassVar[Mapping[str, str]] = {}

    def __init__(self, what: str, overrides: Sequence[str], which: str) -> None:
        if not Path(what).is_dir():
            raise ConfigError(
                f"recipe {what} trains a policy, and there is nothing to evaluate yet. First: "
                f"embodied train {what}   Then: embodied eval runs/{Path(what).stem}"
            )
        checkpoint = open_checkpoint(what, which)
        source = f"{checkpoint.path}/config.yaml"
        trained = configuration.build(ManipulationTraining, checkpoint.config(), source=source)
        self.settings = configuration.override(trained, overrides)
        if not self.settings.tasks:
            raise ConfigError(
                f"{what} learned from data sets of a robot that is not simulated here: name a task "
                "it can play, e.g. tasks=[pick], or run it on the robot"
            )
        self._folder, self._which = what, which
        self._names: list[str] = []
        self._parts: dict[str, Episodes] = {}

    @property
    def key(self) -> str:
        """Start of the published names."""
        tasks = self.settings.tasks
        return self.settings.key or (tasks[0] if len(tasks) == 1 else "multitask")

    @property
    def seed(self) -> int:
        """Number of the first episode."""
        return self.settings.evaluation.seed

    def use_scene(self, scene: Path, episodes: int) -> None:
        """Refuse: the tasks have their own table.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"--scene {scene}: tabletop tasks play on their own table")

    def identities(self, count: int) -> Sequence[str]:
        """Name the episodes by task, level and number: the same for every policy."""
        return self._names[:count]

    def play(self, explain: Path | None = None) -> Episodes:
        """Play the episodes of every task.

        Raises:
            ConfigError: explanations are asked for.
            CheckpointError: the policy was made for other observations or actions.
        """
        if explain:
            raise ConfigError(
                f"--explain {explain}: use --video FILE to see what a policy imagines"
            )
        policy, wanted = self._policy(), self.settings.evaluation
        self._names, self._parts = [], {}
        for name in self.settings.tasks:
            task = self.settings.of(name, wanted.level)
            episodes = play(policy, task, wanted.episodes, wanted.envs, wanted.seed)
            self._parts[name] = episodes
            self._names += [
                f"{task.robot}-{name}-{task.level}-{wanted.seed + number}"
                for number in range(len(episodes))
            ]
        return [episode for episodes in self._parts.values() for episode in episodes]

    def parts(self) -> Mapping[str, Episodes]:
        """Return the episodes of each task, where there are several."""
        return self._parts if len(self._parts) > 1 else {}

    def film(self, path: Path) -> int:
        """Film episodes of all tasks in a grid; return the number of frames."""
        from embodied.cli.filming import film

        policy, wanted = self._policy(), self.settings.evaluation
        tasks = [self.settings.of(name, wanted.level) for name in self.settings.tasks]
        return film(path, policy, tasks, min(FILMED, wanted.episodes), wanted.seed)

    def write_page(self, folder: Path, line: str) -> Path:
        """Draw explanations: never reached, for `play` makes none."""
        raise ConfigError(f"--explain {folder}: no explanations of manipulation policies ({line})")

    def _policy(self) -> ChunkPolicy:
        import torch

        torch.set_num_threads(1)
        policy = load_policy(self._folder, self._which)
        if not isinstance(policy, ChunkPolicy):
            raise CheckpointError(
                f"{self._folder} holds the policy '{getattr(policy, 'name', '?')}', which does not "
                "command an arm. Give a run of a recipe manip/..."
            )
        trained = self.settings.policy
        policy.execute = trained.execute
        for name in self.settings.tasks:
            require_fit(policy, self.settings.of(name))
        return policy
