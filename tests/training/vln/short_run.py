"""A small training run as a process of its own, for tests that kill it: python short_run.py DATA
RUN.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from embodied import config as configuration  # noqa: E402
from embodied.training.vln.config import VLNTrainConfig  # noqa: E402
from embodied.training.vln.trainer import train  # noqa: E402


def settings(data: str) -> VLNTrainConfig:
    """Six updates of pre-training, eight of fine-tuning, dropout on."""
    return configuration.override(
        VLNTrainConfig(seed=3),
        [
            "task={dataset: reverie, max_objects: 4, max_candidates: 4}",
            f"task.data={data}",
            "policy={dropout: 0.1, max_decisions: 6}",
            "pretrain={steps: 6, batch: 3}",
            "finetune={steps: 8, batch: 2, max_decisions: 6}",
            "train={checkpoint_every: 3, keep: 99}",
            "validation={worlds: 1, episodes: 4, every: 4, envs: 4}",
        ],
    )


if __name__ == "__main__":
    train(settings(sys.argv[1]), sys.argv[2], resume=True, quiet=True)
