"""Record demonstrations of an expert as a LeRobot data set.

Finished episodes are kept one by one beside the data set to be, so that a recording that was
stopped goes on where it was; the data set itself appears as a whole. Every episode follows from its
own number alone: batches of any size, and any number of interruptions, record the same. Settings
that decide what comes out are kept with it, and others are not mixed in.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from embodied.errors import EmbodiedError
from embodied.files import atomic_write, ensure_folder, write_text
from embodied.policies.chunk.robot_inputs import IMAGES
from embodied.rollout import Rollout
from embodied.tasks.datasets.lerobot import INFO, LeRobotEpisode, write_dataset
from embodied.tasks.tabletop import RATE, TabletopConfig, TabletopVectorEnv, make_expert
from embodied.tasks.tabletop.views import CAMERAS
from embodied.training.manipulation.config import DEMONSTRATIONS_FROM, DemonstrationConfig
from embodied.types import Observations

Array = NDArray[np.float32]

COLUMNS = {
    "observation.state": "state",
    "action": "action",
    "next.reward": "reward",
    "next.done": "done",
    "next.success": "success",
}
"""Columns of the data set, and what the recording calls them."""
KEPT_KEYS = (*CAMERAS, *COLUMNS.values(), "instruction")
COLUMN_NAMES: dict[str, tuple[str, ...] | None] = {
    "observation.state": ("x", "y", "z", "qx", "qy", "qz", "qw", "gripper"),
    "action": ("dx", "dy", "dz", "drx", "dry", "drz", "gripper"),
    "next.reward": None,
    "next.done": None,
    "next.success": None,
}

SETTINGS_FILE = "recording.json"
"""File that says how a set was recorded; among the episodes, then in the set's folder "meta"."""
NOISE_SWITCH_CHANCE = 0.05
"""Chance per step that the noise begins or pauses."""


class RecordingError(EmbodiedError):
    """An expert that does not succeed often enough, or demonstrations of other settings."""


class ActionNoise:
    """Noise on the actions of one episode, and pushes now and then.

    How strong the noise is differs from episode to episode, and it pauses from time to time: tasks
    that end at rest could not be finished otherwise.

    Args:
        config: how much.
        seed: of the episode.
    """

    def __init__(self, config: DemonstrationConfig, seed: int) -> None:
        self._config = config
        self._rng = np.random.default_rng([seed, 1])
        self._scale = config.noise * self._rng.uniform()
        self._drift = np.zeros(6)
        self._noisy = True
        self._push, self._left = np.zeros(3), 0

    def perturb_action(self, action: Array) -> Array:
        """Return what is done instead of an action (7,); the gripper is left alone."""
        config, rng = self._config, self._rng
        if rng.random() < NOISE_SWITCH_CHANCE:
            self._noisy = not self._noisy
        # An Ornstein-Uhlenbeck process of 5 steps: independent noise would average out.
        fresh = rng.standard_normal(6) * self._scale * self._noisy
        self._drift = 0.8 * self._drift + 0.6 * fresh
        if rng.random() < config.push:
            way = rng.standard_normal(3)
            self._push, self._left = way / np.linalg.norm(way), config.push_steps
        done = np.array(action, np.float64)
        if self._left:
            self._left -= 1
            done[:3] = self._push
        done[:6] += self._drift * [1, 1, 1, 0.5, 0.5, 0.5]
        return np.clip(done, -1.0, 1.0).astype(np.float32)


def record_demonstrations(task: TabletopConfig, config: DemonstrationConfig, folder: Path) -> Path:
    """Record demonstrations of one task, or do nothing where they are already.

    Args:
        task: with images.
        config: how many, and how much the expert is disturbed.
        folder: of the data set.

    Raises:
        RecordingError: too few episodes succeed, there are demonstrations of other settings, or no
            film can be made of such images.
        UnwritableError: the folder cannot be written to.
    """
    settings = json.dumps(_settings(task, config), indent=2)
    wanted = json.loads(settings)  # where tuples are lists, as in what was kept
    if (folder / INFO).is_file():
        _require(folder / "meta" / SETTINGS_FILE, wanted, folder)
        return folder
    if task.width % 2 or task.height % 2:
        raise RecordingError(
            f"task.width = {task.width} and task.height = {task.height} must be even: "
            "demonstrations are kept as films"
        )
    spool = Spool(folder.parent / f".{folder.name}.episodes")
    # More of the same may be wanted than when it was stopped.
    alike = {name: value for name, value in wanted.items() if name != "demonstrations.episodes"}
    _require(spool.folder / SETTINGS_FILE, alike, spool.folder)
    limit = int(config.attempts * config.episodes)
    env = TabletopVectorEnv(config.envs, task)
    try:
        write_text(spool.folder / SETTINGS_FILE, settings)
        _play(env, spool, config, limit)
    finally:
        env.close()
    kept = spool.list_successes()[: config.episodes]
    if len(kept) < config.episodes:
        raise RecordingError(
            f"the expert of '{task.task}' succeeded in {len(kept)} of {limit} episodes, "
            f"{config.episodes} are wanted: more demonstrations.attempts, or less noise or push in "
            "another folder"
        )
    cameras = [IMAGES + name for name in CAMERAS]
    notes = {f"meta/{SETTINGS_FILE}": settings}
    write_dataset(
        folder, map(spool.read_episode, kept), RATE, task.robot, COLUMN_NAMES, cameras, notes
    )
    rmtree(spool.folder)
    return folder


def _settings(task: TabletopConfig, config: DemonstrationConfig) -> dict[str, Any]:
    """Return what decides which demonstrations come out."""
    seen = asdict(replace(task, privileged=False))
    del seen["safety"]["force"]  # is counted, no more
    names = ("episodes", "noise", "push", "push_steps")
    return {f"task.{name}": value for name, value in seen.items()} | {
        f"demonstrations.{name}": getattr(config, name) for name in names
    }


def _require(file: Path, wanted: dict[str, Any], folder: Path) -> None:
    """Refuse demonstrations of other settings than those wanted; older ones do not say theirs."""
    if not file.is_file():
        return
    try:
        made = json.loads(file.read_text(encoding="utf-8"))
        other = {n: made[n] for n in wanted if n in made and made[n] != wanted[n]}
    except (OSError, ValueError, TypeError) as error:
        raise RecordingError(f"cannot read {file}: {error}. Remove {folder}") from error
    if other:
        now = ", ".join(f"{name} = {value}" for name, value in other.items())
        instead = ", ".join(str(wanted[name]) for name in other)
        raise RecordingError(
            f"{folder} holds demonstrations with {now}, and wanted are {instead}: set these as "
            "they were, give another demonstrations.folder, or remove that one"
        )


class Spool:
    """Finished episodes by their number, from 0: a file each, an empty one for a failure.

    Args:
        folder: where they are kept.

    Attributes:
        complete: all episodes below this number were played.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = ensure_folder(folder)
        self._done = {int(file.stem): file.suffix == ".npz" for file in folder.glob("[0-9]*.*")}
        self.complete = 0
        self._advance()

    def list_successes(self) -> list[int]:
        """Return the successful ones among the complete episodes."""
        return [number for number in range(self.complete) if self._done[number]]

    def keep_episode(self, number: int, tape: list[dict[str, Any]], success: bool) -> None:
        """Write an episode, unless it is there."""
        if number in self._done:
            return
        suffix = ".npz" if success else ".failed"
        with atomic_write(self.folder / f"{number:08d}{suffix}") as file, file.open("wb") as stream:
            if success:
                arrays: dict[str, Any] = {
                    n: np.array([step[n] for step in tape]) for n in KEPT_KEYS
                }
                np.savez(stream, **arrays)
        self._done[number] = success
        self._advance()

    def read_episode(self, number: int) -> LeRobotEpisode:
        """Return an episode."""
        with np.load(self.folder / f"{number:08d}.npz", allow_pickle=False) as arrays:
            columns = {column: arrays[name] for column, name in COLUMNS.items()}
            films = {IMAGES + name: arrays[name] for name in CAMERAS}
            return LeRobotEpisode(columns, films, str(arrays["instruction"][0]))

    def _advance(self) -> None:
        while self.complete in self._done:
            self.complete += 1


def _play(env: TabletopVectorEnv, spool: Spool, config: DemonstrationConfig, limit: int) -> None:
    """Play until enough episodes succeeded, or `limit` were tried."""
    numbers = [spool.complete + row for row in range(env.num_envs)]
    demonstrator = _Demonstrator(env, config, numbers)
    rollout = Rollout(env, demonstrator)
    rollout.reset(seed=DEMONSTRATIONS_FROM + numbers[0])
    tapes: list[list[dict[str, Any]]] = [[] for _ in numbers]
    bar = tqdm(
        total=config.episodes, unit="episode", desc=f"{env.config.task}: demonstrations",
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        while spool.complete < limit and len(spool.list_successes()) < config.episodes:
            step = rollout.play_step()
            for row, tape in enumerate(tapes):
                over, success = bool(step.done[row]), bool(step.get_info(row)["success"])
                kept = {n: step.observations[n][row] for n in (*CAMERAS, "state", "instruction")}
                kept |= {
                    "action": demonstrator.intended[row],
                    "reward": np.float32(step.reward[row]),
                }
                tape.append(kept | {"done": over, "success": success})
                if over:
                    spool.keep_episode(numbers[row], tape, success)
                    numbers[row] += env.num_envs
                    tapes[row] = []
                    demonstrator.begin_episode(row, numbers[row])
            bar.update(len(spool.list_successes()) - bar.n)


class _Demonstrator:
    """The expert, disturbed.

    Args:
        env: what it looks at.
        config: how much it is disturbed.
        numbers: of the first episodes.

    Attributes:
        intended: (N, 7) what it would have done last without disturbance.
    """

    intended: Array

    def __init__(
        self, env: TabletopVectorEnv, config: DemonstrationConfig, numbers: list[int]
    ) -> None:
        self._env, self._config = env, config
        self._expert = make_expert(env.config.task)
        self._noise = [ActionNoise(config, number) for number in numbers]

    def begin_episode(self, row: int, number: int) -> None:
        """Begin the episode of a number in one environment."""
        self._noise[row] = ActionNoise(self._config, number)
        self._expert.reset([row])

    def act(self, observations: Observations, first: NDArray[np.bool_]) -> Array:
        """Return the disturbed actions (N, 7)."""
        self.intended = self._expert.act(self._env)
        pairs = zip(self._noise, self.intended, strict=True)
        return np.stack([noise.perturb_action(action) for noise, action in pairs])
