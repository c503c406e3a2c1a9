from __future__ import annotations

import numpy as np
import pytest
from toy import planes

from embodied.errors import ConfigError
from embodied.policies.recurrent import RecurrentConfig
from embodied.rollout import evaluate_policy
from embodied.training.checkpoint import load_policy
from embodied.training.imitation import ImitationConfig
from embodied.training.log import read_metrics
from embodied.training.navigation.config import LoopConfig, TrainConfig
from embodied.training.navigation.trainer import train

LOOP = LoopConfig(
    steps=8_000, imitation_steps=6_000, envs=8, rollout=32, ppo_rollout=32, checkpoint_every=50
)
CONFIG = TrainConfig(
    train=LOOP,
    imitation=ImitationConfig(epochs=4),
    policy=RecurrentConfig(width=32, hidden_size=32),
)


def test_imitation_then_ppo_learns_to_reach_goals(tmp_path) -> None:
    train(CONFIG, tmp_path, make_env=planes, quiet=True)
    rows = read_metrics(tmp_path)
    assert [row["phase"] for row in rows] == ["imitation"] * 24 + ["ppo"] * 8
    assert rows[0]["agreement"] < 0.8 < rows[23]["agreement"]
    episodes = evaluate_policy(load_policy(tmp_path), planes(CONFIG, False), 50, seed=7)
    assert np.mean([e["success"] for e in episodes]) > 0.8


def test_the_expert_hands_over_gradually() -> None:
    settings = ImitationConfig(expert_share=0.6, expert_until=0.5)
    assert [round(settings.get_expert_share(p), 3) for p in (0.0, 0.25, 0.5, 1.0)] == [
        0.6,
        0.3,
        0.0,
        0.0,
    ]


def test_imitation_without_an_expert_says_what_to_set(tmp_path) -> None:
    with pytest.raises(ConfigError, match="expert_action"):
        train(CONFIG, tmp_path, make_env=lambda c, _: planes(c, False), quiet=True)
