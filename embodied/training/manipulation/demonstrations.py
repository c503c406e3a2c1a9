"""Demonstrations in memory, and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embodied.errors import ConfigError
from embodied.perception.vocabulary import Vocabulary
from embodied.policies.chunk.factory import VisuomotorConfig
from embodied.policies.chunk.robot_inputs import ACTION, IMAGES, PADDED, STATE, TASK, RobotInputs
from embodied.policies.chunk.sc_vla.labels import compute_progress, compute_state_delta
from embodied.tasks.datasets.lerobot import LayoutError, LeRobotSet, read_dataset

QUATERNION = ("qx", "qy", "qz", "qw")


@dataclass(frozen=True)
class Demonstrations:
    """All frames of some data sets, one episode after the other.

    Attributes:
        images: camera -> (N, H, W, 3) uint8.
        state: (N, S) float32.
        action: (N, A) float32.
        frame_index: (N,) number of a frame in its episode.
        episode_end: (N,) row after the last of its episode.
        episode_index: (N,) number of its episode.
        instructions: of each episode.
        orientation: where in the state a quaternion begins; -1: nowhere.
        fps: frames per second.
    """

    images: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    frame_index: NDArray[np.int64]
    episode_end: NDArray[np.int64]
    episode_index: NDArray[np.int64]
    instructions: tuple[str, ...]
    orientation: int
    fps: int

    def describe_inputs(self, control: str) -> RobotInputs:
        """Describe what a policy that learns from them sees and commands."""
        first = next(iter(self.images.values()))
        return RobotInputs(
            cameras=tuple(self.images),
            image=(first.shape[1], first.shape[2]),
            state=self.state.shape[1],
            action=self.action.shape[1],
            orientation=self.orientation,
            fps=self.fps,
            control=control,
            words=Vocabulary.from_texts(self.instructions).words,
        )

    def compute_statistics(self) -> dict[str, Any]:
        """Return range, mean and deviation of states and actions, as plain lists."""
        return {
            name: {
                "min": values.min(0).tolist(),
                "max": values.max(0).tolist(),
                "mean": values.mean(0).tolist(),
                "std": values.std(0).tolist(),
                "count": [len(values)],
            }
            for name, values in ((STATE, self.state), (ACTION, self.action))
        }

    def split_rows(self, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows to learn from and rows held out: every so-manieth whole episode."""
        rows = np.arange(len(self.state))
        if not share:
            return rows, rows[:0]
        held = self.episode_index % max(2, round(1 / share)) == 1
        return rows[~held], rows[held]

    def make_batch(
        self, rows: NDArray[np.int64], config: VisuomotorConfig, rng: np.random.Generator | None
    ) -> dict[str, Any]:
        """Return a training batch of some frames.

        Args:
            rows: (B,) which.
            config: of the policy: length of its chunks, horizon of what it imagines.
            rng: draws how far ahead the imagined change looks; None: exactly the horizon.
        """
        last = self.episode_end[rows] - 1
        ahead = rows[:, None] + np.arange(config.chunk_size)
        padded = ahead > last[:, None]
        made: dict[str, Any] = {
            IMAGES + name: torch.from_numpy(images[rows]) for name, images in self.images.items()
        }
        made[STATE] = torch.from_numpy(self.state[rows])
        made[TASK] = [self.instructions[episode] for episode in self.episode_index[rows]]
        made[ACTION] = torch.from_numpy(self.action[np.minimum(ahead, last[:, None])])
        made[PADDED] = torch.from_numpy(padded)
        if config.method == "sc_vla" and config.sc_vla.imagination:
            made |= self._imagined(rows, last, config, rng)
        return made

    def _imagined(
        self, rows: NDArray[np.int64], last: NDArray[np.int64], config: VisuomotorConfig,
        rng: np.random.Generator | None,
    ) -> dict[str, Tensor]:  # fmt: skip
        horizon, jitter = config.sc_vla.imagination_horizon, config.sc_vla.jitter
        steps = np.full(len(rows), horizon)
        if rng is not None:
            steps += rng.integers(-jitter, jitter + 1, len(rows))
        later = np.minimum(rows + steps, last)
        length = last + 1 - rows + self.frame_index[rows]
        return {
            "delta_state": torch.from_numpy(
                compute_state_delta(self.state[rows], self.state[later])
            ),
            "progress": torch.from_numpy(compute_progress(self.frame_index[rows], length)),
        }


def load_demonstrations(folders: Sequence[Path]) -> Demonstrations:
    """Read data sets of one robot into memory.

    Raises:
        LayoutError: one is damaged, or lacks states, actions or cameras.
        ConfigError: they do not fit together.
    """
    sets = [read_dataset(folder) for folder in folders]
    for one in sets:
        one.require_columns(STATE, ACTION)
    states, actions = ([_vectors(one, name) for one in sets] for name in (STATE, ACTION))
    kinds = [
        (one.cameras, state.shape[1], action.shape[1], one.fps)
        for one, state, action in zip(sets, states, actions, strict=True)
    ]
    for one, kind in zip(sets, kinds, strict=True):
        if kind != kinds[0]:
            raise ConfigError(
                f"{sets[0].folder} and {one.folder} do not fit together: cameras, sizes of state "
                f"and action, frames per second are {kinds[0]} and {kind}"
            )
    cameras = [key for key in sets[0].cameras if key.startswith(IMAGES)]
    if not cameras:
        raise ConfigError(f"{sets[0].folder} has no camera: policies learn from images")
    images = {key.removeprefix(IMAGES): _film(sets, key) for key in cameras}
    sizes = {name: film.shape[1:3] for name, film in images.items()}
    if len(set(sizes.values())) > 1:
        raise ConfigError(f"the cameras' images differ in size ({sizes}): scale them to one")
    lengths = np.concatenate([np.diff(one.offsets) for one in sets])
    ends = np.cumsum(lengths)
    return Demonstrations(
        images=images,
        state=np.concatenate(states),
        action=np.concatenate(actions),
        frame_index=np.concatenate([np.arange(n) for n in lengths]),
        episode_end=np.repeat(ends, lengths),
        episode_index=np.repeat(np.arange(len(lengths)), lengths),
        instructions=tuple(
            one.get_instruction(number) for one in sets for number in range(len(one.episodes))
        ),
        orientation=_orientation(sets[0]),
        fps=sets[0].fps,
    )


def _vectors(one: LeRobotSet, name: str) -> NDArray[np.float32]:
    """Return a column as (N, D); single numbers, which LeRobot keeps bare, have D = 1."""
    try:
        values = np.asarray(one.columns[name], np.float32)
    except (TypeError, ValueError) as error:
        raise LayoutError(
            f"{one.folder}: '{name}' must have equally many numbers in every row ({error}): leave "
            "out the episodes that have not, or record them again"
        ) from error
    vectors = values.reshape(len(values), -1)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        episode = int(np.searchsorted(one.offsets, np.argmin(finite), side="right")) - 1
        raise LayoutError(
            f"{one.folder}: '{name}' of episode {one.episodes[episode].number} holds NaN or "
            "infinity: leave that episode out, or record it again"
        )
    return vectors


def _film(sets: Sequence[LeRobotSet], key: str) -> NDArray[np.uint8]:
    """Decode all images of a camera into one array, which is made once."""
    film, at = np.zeros((0, 0, 0, 3), np.uint8), 0
    total = sum(int(one.offsets[-1]) for one in sets)
    for one in sets:
        for images in one.iter_videos(key):
            if not film.size:
                film = np.empty((total, *images.shape[1:]), np.uint8)
            if images.shape[1:] != film.shape[1:]:
                raise ConfigError(
                    f"{one.folder} has images of {images.shape[1:]}, others {film.shape[1:]}"
                )
            film[at : at + len(images)] = images
            at += len(images)
    return film


def _orientation(one: LeRobotSet) -> int:
    """Return where in the state the names say that a quaternion begins; -1: nowhere."""
    names = one.features[STATE].get("names") or ()
    listed = [str(name) for name in names] if isinstance(names, (list, tuple)) else []
    for start in range(len(listed) - 3):
        if tuple(listed[start : start + 4]) == QUATERNION:
            return start
    return -1
