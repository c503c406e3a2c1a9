"""Write the runs that tests/training/test_old_runs.py reads: python write_runs.py OLD, in this
folder.

They were written by the code before the names of settings changed (commit 2b84908), which this
script fits: OLD and PYTHONPATH name a checkout of that commit. Each run goes to its end and keeps
its checkpoint from the middle, so that a test can go on from there and compare.
"""

import shutil
import sys
from pathlib import Path

OLD = Path(sys.argv[1])
sys.path[:0] = [str(OLD), str(OLD / "tests" / "training")]

from embodied.policies.backbones import BackboneConfig  # noqa: E402
from embodied.policies.backbones.base import TinyConfig  # noqa: E402
from embodied.policies.sc_vla import ScVlaConfig  # noqa: E402
from embodied.policies.visuomotor import VisuomotorConfig  # noqa: E402
from embodied.training.trainer import LoopConfig, TrainConfig, train  # noqa: E402
from toy import planes  # noqa: E402

from embodied import config as configuration  # noqa: E402
from embodied.policies.recurrent import RecurrentConfig  # noqa: E402
from embodied.tasks.tabletop import TabletopConfig  # noqa: E402
from embodied.training.imitation import ImitationConfig  # noqa: E402
from embodied.training.manipulation import refinement, trainer  # noqa: E402
from embodied.training.manipulation.config import (  # noqa: E402
    DemonstrationConfig,
    ManipulationEvaluation,
    ManipulationLoop,
    ManipulationTraining,
)
from embodied.training.manipulation.refinement_config import RefinementTraining  # noqa: E402
from embodied.training.ppo import PPOConfig  # noqa: E402

PPO = TrainConfig(
    seed=4,
    policy=RecurrentConfig(width=8, hidden=8),
    train=LoopConfig(
        steps=4 * 16 * 8, imitation_steps=4 * 16 * 2, envs=4, rollout=16, ppo_rollout=16,
        checkpoint_every=2, normalization_updates=3, keep=99,
    ),
    ppo=PPOConfig(discount=0.98, trace=0.9, clip=0.25, max_gradient=0.4, target_divergence=0.2,
                  sequence=8, value_clip=0.5),
    imitation=ImitationConfig(discount=0.98, trace=0.9, max_gradient=0.7, sequence=8),
)  # fmt: skip

BASE = ManipulationTraining(
    tasks=("reach",),
    task=TabletopConfig(task="reach", observation="rgb", width=16, height=16, level=0,
                        max_steps=12),
    demonstrations=DemonstrationConfig(episodes=2, envs=2, noise=0.0, push=0.0, attempts=20),
    policy=VisuomotorConfig(
        chunk=4, execute=2, backbone=BackboneConfig(tiny=TinyConfig(width=16, channels=(2, 4))),
        sc_vla=ScVlaConfig(width=16, layers=1, tap=1, future=0, horizon=3),
    ),
    train=ManipulationLoop(steps=4, batch=4, warmup=2, clip=0.9, average=0.9, final_rate=0.1,
                           log_every=2, validate_every=2, validate_episodes=1, validate_envs=1,
                           held_out=0.5, keep=99),
    evaluation=ManipulationEvaluation(episodes=1, envs=1),
)  # fmt: skip

REFINEMENT = {
    "refinement": {"steps": 96, "envs": 2, "warmup": 12, "ramp": 20, "weight": 0.5, "fades": 40,
                   "violation": 0.9, "log_every": 12, "validate_every": 48,
                   "validate_episodes": 1, "validate_envs": 1, "keep": 9},
    "sac": {"discount": 0.96, "tracking": 0.02, "batch": 8, "updates": 0.5, "patience": 3,
            "critics_rate": 0.002, "actor_rate": 0.01, "temperature_rate": 0.001, "critics": 3,
            "width": 8, "layers": 1, "clip": 40.0, "temperature": 0.2, "entropy": -0.8,
            "capacity": 40},
    "residual": {"width": 8, "layers": 1, "position": 0.5, "rotation": 0.05},
    "evaluation": {"episodes": 1, "envs": 1},
}  # fmt: skip


def keep(run: Path, update: int) -> None:
    """Leave what a run stopped after `update` needs, and the curve of all of it."""
    shutil.rmtree(run / "tensorboard")
    for folder in (run / "checkpoints").iterdir():
        if folder.is_dir() and folder.name != f"{update:08d}":
            shutil.rmtree(folder)
    for pointer in ("latest", "best"):
        (run / "checkpoints" / pointer).write_text(f"{update:08d}\n")


if __name__ == "__main__":
    folder = Path()
    train(PPO, folder / "pointnav", make_env=planes, quiet=True)
    trainer.train(BASE, folder / "reach", quiet=True)
    tree = configuration.merge({"base": str(folder / "reach")}, REFINEMENT)
    refined = configuration.build(RefinementTraining, refinement.complete(tree))
    refinement.train(refined, folder / "refine", quiet=True)
    keep(folder / "pointnav", 4)
    keep(folder / "reach", 2)
    keep(folder / "refine", 4)
