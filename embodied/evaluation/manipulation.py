"""`embodied eval` of manipulation policies: success by task and level, a film, a page."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from embodied import config as configuration
from embodied.errors import CheckpointError, ConfigError
from embodied.evaluation import level_page
from embodied.evaluation.base import GAIN, Episodes, Evaluator
from embodied.evaluation.level_page import LEVELS, join_episodes
from embodied.evaluation.settings import refuse_untrained
from embodied.policies.chunk.base import ChunkPolicy
from embodied.policies.chunk.factory import VisuomotorConfig, apply_acting_settings
from embodied.policies.chunk.residual import ResidualPolicy
from embodied.training.checkpoint import load_policy, open_checkpoint
from embodied.training.manipulation.config import ManipulationTraining
from embodied.training.manipulation.refinement_config import RefinementTraining
from embodied.training.manipulation.validation import play_episodes, require_fit
from embodied.viz import report
from embodied.viz.report_text import list_facts

FILMED_EPISODES = 9


class ManipulationEvaluator(Evaluator):
    """Manipulation; see `embodied.evaluation.base.Evaluator`.

    Args:
        what: folder of a trained policy.
        overrides: key.path=value; `evaluation.level`, `task.disturbance`, `task.robot` or
            `policy.n_action_steps` or `policy.sc_vla.temperature`, say.
        which: checkpoint of a run folder, "latest" or "best".
    """

    shown_metrics = ("success", "steps", "return", "violations_force", "violations_workspace",
             "violations_velocity")  # fmt: skip
    configured: ClassVar[type] = ManipulationTraining
    """What the config.yaml of its runs holds."""

    def __init__(self, what: str, overrides: Sequence[str], which: str) -> None:
        if not Path(what).is_dir():
            raise refuse_untrained(what)
        checkpoint = open_checkpoint(what, which)
        source = f"{checkpoint.path}/config.yaml"
        trained: Any = configuration.build(self.configured, checkpoint.load_config(), source=source)
        super().__init__(configuration.override(trained, overrides), which)
        self._trained: VisuomotorConfig = trained.policy
        if not self.settings.tasks:
            raise ConfigError(
                f"{what} learned from data sets of a robot that is not simulated here: name a task "
                "it can play, e.g. tasks=[pick], or run it on the robot"
            )
        self._folder = what
        self._levels: dict[int, dict[str, Episodes]] = {}
        self._begun = 0.0

    @property
    def key(self) -> str:
        """Start of the published names; ends in the disturbance where there is one."""
        tasks, wrong = self.settings.tasks, self.settings.task.disturbance
        name = self.settings.key or (tasks[0] if len(tasks) == 1 else "multitask")
        return name if wrong == "none" else f"{name}.{wrong}"

    def place_task(self, scene: Path) -> Any:
        """Refuse: the tasks have their own table.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"--scene {scene}: tabletop tasks play on their own table")

    def list_episode_names(self, count: int) -> Sequence[str]:
        """Name the episodes by task, level and number: the same for every policy."""
        first, each = self.settings.evaluation.seed, self.settings.evaluation.episodes
        task = self.settings.task
        return [
            f"{task.robot}-{name}-{self._level}-{number}"
            for name in self.settings.tasks
            for number in range(first, first + each)
        ][:count]

    def play_episodes(self, explain: Path | None = None) -> Episodes:
        """Play the episodes of every task; to explain them, at all levels of randomisation.

        Raises:
            CheckpointError: the policy was made for other observations or actions.
        """
        self._begun = time.monotonic()
        policy, chosen = self._policy(), self._level
        self._levels = {chosen: self._at(policy, chosen)}
        if explain:
            others = {level: self._at(policy, level) for level in LEVELS if level != chosen}
            self._levels = dict(sorted((self._levels | others).items()))
        return join_episodes(self._levels[chosen])

    @property
    def _level(self) -> int:
        return self.settings.get_task_config(
            self.settings.tasks[0], self.settings.evaluation.level
        ).level

    def _at(self, policy: ChunkPolicy, level: int) -> dict[str, Episodes]:
        """Play every task at a level."""
        wanted, tasks = self.settings.evaluation, self.settings.tasks
        return {
            name: play_episodes(
                policy,
                self.settings.get_task_config(name, level),
                wanted.episodes,
                wanted.envs,
                wanted.seed,
            )
            for name in tasks
        }

    def group_episodes(self) -> Mapping[str, Episodes]:
        """Return the episodes of each task, where there are several, and of each level."""
        tasks = self._levels[self._level]
        levels = {f"level_{level}": join_episodes(played) for level, played in self._levels.items()}
        return {
            **(tasks if len(tasks) > 1 else {}),
            **(levels if len(levels) > 1 else {}),
        }

    def write_film(self, path: Path) -> int:
        """Film episodes of all tasks in a grid; return the number of frames."""
        from embodied.evaluation.film import write_film

        policy, wanted = self._policy(), self.settings.evaluation
        tasks = [self.settings.get_task_config(name, wanted.level) for name in self.settings.tasks]
        return write_film(path, policy, tasks, min(FILMED_EPISODES, wanted.episodes), wanted.seed)

    def write_page(self, folder: Path, line: str) -> Path:
        """Show a film, and success by level, on a page of its own."""
        film = folder / "film.mp4"
        self.write_film(film)
        minutes = (time.monotonic() - self._begun) / 60
        configuration.save(self.settings, folder / "config.yaml")
        facts = list_facts(self.settings, line, minutes, str(self.seed))
        title = Path(self._folder).name
        page = level_page.build_level_page(title, self._level, self._levels, film, facts)
        return report.write_report(page, folder / "report.html")

    def _policy(self) -> ChunkPolicy:
        import torch

        torch.set_num_threads(1)
        policy = load_policy(self._folder, self.which)
        if not isinstance(policy, ChunkPolicy):
            raise CheckpointError(
                f"{self._folder} holds the policy '{getattr(policy, 'name', '?')}', which does not "
                "command an arm. Give a run of a recipe manip/..."
            )
        base = policy.base if isinstance(policy, ResidualPolicy) else policy
        apply_acting_settings(base, self._trained, self.settings.policy)
        policy.n_action_steps = base.n_action_steps
        for name in self.settings.tasks:
            require_fit(policy, self.settings.get_task_config(name))
        return policy


class RefinementEvaluator(ManipulationEvaluator):
    """Refined policies, beside their base on the same initial states."""

    configured: ClassVar[type] = RefinementTraining
    _amplitude = 1.0

    def play_episodes(self, explain: Path | None = None) -> Episodes:
        """Play the episodes with the refined policy and, if that is wanted, with its base.

        Raises:
            CheckpointError: the policy was made for other observations or actions.
        """
        refined = super().play_episodes(explain)
        self._base: Episodes = []
        if self.settings.evaluation.base:
            self._amplitude = 0.0
            self._base = join_episodes(self._at(self._policy(), self._level))
            self._amplitude = 1.0
        return refined

    def group_episodes(self) -> Mapping[str, Episodes]:
        """Return in addition the base's episodes, and what was gained in each."""
        if not self._base:
            return super().group_episodes()
        gains = [
            {name: one[name] - other[name] for name in ("success", "steps")}
            for one, other in zip(join_episodes(self._levels[self._level]), self._base, strict=True)
        ]
        return {**super().group_episodes(), "base": self._base, GAIN: gains}

    def _policy(self) -> ChunkPolicy:
        policy = super()._policy()
        if isinstance(policy, ResidualPolicy):
            policy.amplitude *= self._amplitude
        return policy
