"""A tiny training run as a process of its own, for tests that kill it: python resumable.py
FOLDER.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

from toy import planes  # noqa: E402

from embodied.policies.recurrent import RecurrentConfig  # noqa: E402
from embodied.training.loop import TrainingInterrupted  # noqa: E402
from embodied.training.navigation.config import LoopConfig, TrainConfig  # noqa: E402
from embodied.training.navigation.trainer import train  # noqa: E402

CONFIG = TrainConfig(
    seed=4,
    policy=RecurrentConfig(width=16, hidden_size=16),
    train=LoopConfig(
        steps=4 * 16 * 60, imitation_steps=4 * 16 * 30, envs=4, rollout=16, ppo_rollout=16,
        checkpoint_every=5, normalization_updates=8,
    ),
)  # fmt: skip

if __name__ == "__main__":
    try:
        train(CONFIG, sys.argv[1], resume=True, make_env=planes, quiet=True)
    except TrainingInterrupted as stop:
        print(stop)
        sys.exit(stop.exit_code)
