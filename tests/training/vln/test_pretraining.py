"""The four tasks of pre-training: paths that end where they should, losses that fall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from short_run import settings

from embodied import config as configuration
from embodied.policies.vln.dual_scale import DualScaleInputs
from embodied.policies.vln.dual_scale.policy import DualScalePolicy
from embodied.training.vln.data import TrainingData
from embodied.training.vln.pretraining import Pretraining


def phase(miniature: Path, *overrides: str) -> Pretraining:
    config = configuration.override(
        settings(str(miniature)), ["policy.dropout=0.0", "pretrain.batch_size=6", *overrides]
    )
    data = TrainingData(config)
    inputs = DualScaleInputs.from_spaces(data.observation_space)
    return Pretraining(config, DualScalePolicy(inputs, data.vocabulary, config.policy), data)


def test_paths_are_walkable_and_end_as_often_as_asked(miniature: Path) -> None:
    made = phase(miniature, "pretrain.ends=[1, 0, 0]")
    walkers = made.data.get_walkers(6)
    walkers.begin_episodes(range(6), made.data.draw_episodes(0, 6))
    rng = np.random.default_rng(0)
    for row in range(6):
        episode = made.data.get_episode(int(walkers.current[row]))
        world = walkers.get_world(row)
        for task in ("mlm", "og", "sap"):
            path = made._path(walkers, row, task, rng)
            assert path[0] == episode.start
            assert path[-1] in episode.goals
            assert all(b in world.neighbours[a] for a, b in zip(path, path[1:], strict=False))
    elsewhere = phase(miniature, "pretrain.ends=[0, 0, 1]")
    walkers = elsewhere.data.get_walkers(6)
    walkers.begin_episodes(range(6), elsewhere.data.draw_episodes(0, 6))
    ends = {elsewhere._path(walkers, 0, "sap", rng)[-1] for _ in range(200)}
    assert ends == set(range(12))


@pytest.mark.parametrize("task", ["mlm", "mrc", "sap", "og"])
def test_each_task_is_learnt(miniature: Path, task: str) -> None:
    """On six paths over and over the loss must fall well below where it began."""
    made = phase(miniature, f"pretrain.tasks=[{task}]", "pretrain.steps=60")
    made.data.draw_episodes = lambda update, count: list(range(count))  # type: ignore[method-assign]
    torch.manual_seed(0)
    made.network.train()
    optimizer = made.build_optimizer()
    losses = [made.run_update(optimizer, done, 1)["loss"] for done in range(30)]
    assert losses[0] > 0.1
    assert np.mean(losses[-3:]) < 0.7 * losses[0]


def test_nothing_is_grounded_without_targets(miniature: Path) -> None:
    made = phase(miniature)
    assert made.tasks == ("mlm", "mrc", "sap", "og")
    made.data.source.episodes[:] = [
        type(e)(**{**vars(e), "target": -1}) for e in made.data.source.episodes
    ]
    without = Pretraining(made.data.config, DualScalePolicy(
        made.network.inputs, made.data.vocabulary, made.data.config.policy), made.data)  # fmt: skip
    assert without.tasks == ("mlm", "mrc", "sap")
