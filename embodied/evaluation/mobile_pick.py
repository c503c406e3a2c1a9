"""`embodied eval` of agents that find, reach and pick: success by phase, traces, a film."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embodied import config as configuration
from embodied.evaluation.base import Episodes, Evaluator
from embodied.evaluation.mobile_pick_episode import (
    MobilePickEvalConfig,
    PickStep,
    build_policy,
    iter_steps,
    task_of,
)
from embodied.evaluation.mobile_pick_film import Stills, write_film
from embodied.evaluation.settings import build_settings
from embodied.files import write_text
from embodied.policies.mapping.mobile_pick import APPROACH, FAILED, MANIPULATE, PHASES
from embodied.tasks.mobile_pick import MobilePickConfig, MobilePickEnv

FILMED_EPISODES = 2

_NUMBERS = ("steps", "seconds", "collisions", "docks", "path_length", "geodesic", "spl")


class MobilePickEvaluator(Evaluator):
    """Mobile picks; see `embodied.evaluation.base.Evaluator`.

    Args:
        what: recipe.
        overrides: key.path=value; `arm=runs/...` names a trained policy of the arm.
        which: its checkpoint, "latest" or "best".
    """

    shown_metrics = (
        "success", "found", "docked", "spl", "attempts", "path_length", "collisions", "steps",
        "seconds", *(f"seconds_{phase}" for phase in PHASES[:4]),
        *(f"failed_in_{phase}" for phase in PHASES[:4]),
        "dock_error", "violations_force", "violations_workspace", "violations_velocity",
    )  # fmt: skip

    def __init__(self, what: str, overrides: Sequence[str], which: str) -> None:
        tree = configuration.merge(
            configuration.read_recipe(what), configuration.parse_overrides(overrides)
        )
        settings = build_settings(MobilePickEvalConfig, tree, f"recipe {what}", key="search")
        super().__init__(settings, which)

    def place_task(self, scene: Path) -> MobilePickConfig:
        """Return the task in one scene file."""
        task = self.settings.task
        source = dataclasses.replace(
            task.navigation.scene, files=(str(scene),), episodes="", count=1
        )
        navigation = dataclasses.replace(task.navigation, scene=source)
        return dataclasses.replace(task, navigation=navigation)

    def list_episode_names(self, count: int) -> Sequence[str]:
        """Number the episodes: the same for every policy."""
        wanted = self.settings.evaluation
        return [f"{wanted.split}-{wanted.seed + number}" for number in range(count)]

    def play_episodes(self, explain: Path | None = None) -> Episodes:
        """Play the episodes; `explain` is a folder for the changes of phase, told and shown.

        Raises:
            ConfigError: unknown policy.
            CheckpointError: a policy of the arm that was made for another task.
        """
        policy = build_policy(self.settings, self.which)
        env = MobilePickEnv(task_of(self.settings))
        wanted, episodes = self.settings.evaluation, []
        try:
            for number in range(wanted.episodes):
                meter, stills = _Meter(), Stills()
                for moment in iter_steps(env, policy, wanted.seed + number):
                    meter.add(moment)
                    if explain is not None:
                        stills.add_step(moment)
                episodes.append(meter.figures())
                if explain is not None:
                    name = self.list_episode_names(number + 1)[-1]
                    text = json.dumps(meter.story(), indent=1)
                    write_text(explain / f"{name}.json", text + "\n")
                    stills.write(explain / f"{name}.jpg")
        finally:
            env.close()
        return episodes

    def group_episodes(self) -> Mapping[str, Episodes]:
        """Return nothing: there is one task."""
        return {}

    def write_film(self, path: Path) -> int:
        """Film some episodes one after the other; return the number of frames."""
        count = min(FILMED_EPISODES, self.settings.evaluation.episodes)
        return write_film(path, self.settings, self.which, count)

    def write_page(self, folder: Path, line: str) -> Path:
        """Gather the changes of phase of all episodes in one text; return its path."""
        stories = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
        lines = [f"{line}\n"]
        for story in stories:
            end = "picked up" if story["success"] else "failed"
            lines.append(f"\nepisode {story['seed']} ({story['room']}): {end}")
            lines += [
                f"  {t['step']:4d}  {t['before']:>10} -> {t['after']:<10}  {t['reason']}"
                for t in story["trace"]
            ]
        write_text(folder / "phases.txt", "\n".join(lines) + "\n")
        return folder / "phases.txt"


class _Meter:
    """Measures one episode."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._before = 0.0
        self._errors: list[float] = []
        self._docks = 0
        self._last: PickStep | None = None

    def add(self, moment: PickStep) -> None:
        """Take in one step."""
        now = float(moment.info["seconds"])
        self._spent[moment.agent.phase] += now - self._before
        self._before, self._last = now, moment
        if moment.info["docks"] > self._docks:
            self._docks = moment.info["docks"]
            true = np.array([moment.info["dock_ahead"], moment.info["dock_aside"]])
            self._errors.append(float(np.linalg.norm(moment.agent.docked - true)))

    def figures(self) -> dict[str, float]:
        """Return the figures of the episode.

        "found": the thing was seen; "docked": the arm was brought where it reaches the thing, with
        SPL of the way there; "dock_error": of where the thing was believed to be when the arm took
        over [m]; "seconds_<phase>": simulated time; "failed_in_<phase>": the phase that an episode
        without success ended in, or gave up in.
        """
        moment = self._moment
        info, agent = moment.info, moment.agent
        failed = "" if info["success"] else self._failing()
        return {
            "success": float(info["success"]),
            "found": float(any(step.after == APPROACH for step in agent.trace)),
            "docked": float(info["docked"]),
            "attempts": float(sum(step.after == MANIPULATE for step in agent.trace)),
            "dock_error": self._errors[0] if self._errors else np.nan,
            **{name: float(info[name]) for name in _NUMBERS},
            **{f"seconds_{phase}": self._spent[phase] for phase in PHASES[:4]},
            **{f"failed_in_{phase}": float(failed == phase) for phase in PHASES[:4]},
            **{f"violations_{name}": float(n) for name, n in info["violations"].items()},
        }

    def story(self) -> dict[str, Any]:
        """Return what happened, in plain values."""
        info, trace = self._moment.info, self._moment.agent.trace
        return {
            "seed": info["episode_seed"],
            "room": info["room"],
            "success": info["success"],
            "trace": [dataclasses.asdict(step) for step in trace],
        }

    @property
    def _moment(self) -> PickStep:
        assert self._last is not None  # noqa: S101
        return self._last

    def _failing(self) -> str:
        agent = self._moment.agent
        gave_up = [step.before for step in agent.trace if step.after == FAILED]
        return gave_up[-1] if gave_up else agent.phase
