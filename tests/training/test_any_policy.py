"""Policies of somebody else train with PPO and with soft actor-critic as they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import nn

from embodied.policies.actor_critic import ActorCriticPolicy
from embodied.policies.chunk.gaussian import SquashedGaussian
from embodied.rollout import evaluate_policy
from embodied.simulators.base import CameraSpec
from embodied.tasks.navigation.config import SceneSource
from embodied.training import off_policy
from embodied.training.checkpoint import load_weights, open_checkpoint
from embodied.training.log import read_metrics
from embodied.training.navigation.config import LoopConfig, TrainConfig
from embodied.training.navigation.trainer import train
from embodied.training.off_policy import OffPolicyLoop, OffPolicyTraining
from embodied.training.ppo import PPOConfig
from embodied.training.sac import SacConfig

CLOCKS = ("cpu_seconds", "seconds", "play_seconds", "learn_seconds")


class Described(dict[str, Any]):
    def to_json(self) -> dict[str, Any]:
        return dict(self)


# --- the policies of somebody else ---


class CnnNetwork(nn.Module):
    def __init__(self, actions: int) -> None:
        super().__init__()
        self.eye = nn.Sequential(nn.Conv2d(1, 4, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 16))
        self.heads = nn.Linear(18, actions + 1)

    def forward(self, features, state, first, detach_critic=False):  # type: ignore[no-untyped-def]
        depth, goal = features["depth"].flatten(0, 1), features["goal"].flatten(0, 1)
        out = self.heads(torch.cat([self.eye(depth).relu(), goal], -1)).unflatten(0, first.shape)
        return out[..., :-1], out[..., -1], state


class CnnPolicy(ActorCriticPolicy):
    name, normalization = "cnn", {}

    def __init__(self, seed: int, env: gym.vector.VectorEnv) -> None:
        actions = int(env.single_action_space.n)  # type: ignore[attr-defined]
        self.inputs = Described(actions=actions)
        torch.manual_seed(seed)
        super().__init__(CnnNetwork(actions), seed=seed)

    def extract_features(self, observations, previous, first, peek=False):  # type: ignore[no-untyped-def]
        return {
            "depth": np.asarray(observations["depth"], np.float32)[:, None] / 10,
            "goal": np.asarray(observations["goal"], np.float32) / 10,
        }


class PixelActor(nn.Module):
    observation_size, action_size = 3 * 16 * 16 + 8, 7

    def __init__(self) -> None:
        super().__init__()
        self.eye = nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 16))
        self.head = SquashedGaussian(16 + 8, self.action_size, 32, 1)

    def look(self, seen: torch.Tensor) -> torch.Tensor:
        image, state = seen.split([3 * 16 * 16, 8], dim=-1)
        return torch.cat([self.eye(image.view(-1, 3, 16, 16)), state], -1)

    def sample(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.head.sample(self.look(seen))


class PixelPolicy:
    name, normalization, inputs = "pixels", {}, Described(image=16)

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = self.actor = PixelActor()

    def encode_observations(self, observations):  # type: ignore[no-untyped-def]
        image = np.asarray(observations["front"]).transpose(0, 3, 1, 2).reshape(-1, 768) / 255
        return torch.from_numpy(np.concatenate([image, observations["state"]], 1)).float()

    @torch.no_grad()
    def act(self, observations, first):  # type: ignore[no-untyped-def]
        seen = self.actor.look(self.encode_observations(observations))
        return self.actor.head.compute_mean_action(seen).numpy()


# --- and their trainings ---


def curve(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in read_metrics(run)]


def make_houses(config: TrainConfig, expert: bool) -> SyncVectorEnv:
    """Environments made by name, as anybody would make them."""
    camera = CameraSpec(outputs=("depth",), width=16, height=16)
    settings = {"camera": camera, "scene": SceneSource(rooms=(1, 1), count=2), "max_steps": 8}
    one = lambda: gym.make("embodied/PointNav-v0", **settings)  # noqa: E731
    return SyncVectorEnv([one] * config.train.envs, autoreset_mode=AutoresetMode.NEXT_STEP)


def changed(policy: Any, fresh: Any) -> bool:
    pairs = zip(policy.network.parameters(), fresh.network.parameters(), strict=True)
    return all(not torch.equal(a.cpu(), b.cpu()) for a, b in pairs)


def test_a_cnn_learns_point_navigation_with_ppo(tmp_path: Path) -> None:
    loop = LoopConfig(steps=128, imitation_steps=0, envs=2, ppo_rollout=16, checkpoint_every=1,
                      keep=9, score="return", device="cpu")  # fmt: skip
    config = TrainConfig(seed=1, train=loop, ppo=PPOConfig(minibatches=2, sequence_length=8))
    made: list[CnnPolicy] = []

    def make_policy(config: TrainConfig, env: Any) -> CnnPolicy:
        made.append(CnnPolicy(config.seed, env))
        return made[-1]

    run, again = tmp_path / "run", tmp_path / "again"
    train(config, run, make_env=make_houses, make_policy=make_policy, quiet=True)
    rows = curve(run)
    assert len(rows) == 4
    assert all(np.isfinite(row["policy_loss"] + row["value_loss"]) for row in rows)
    env = make_houses(config, False)
    assert changed(made[0], CnnPolicy(config.seed, env))
    shutil.copytree(run, again)
    (again / "checkpoints" / "latest").write_text("00000002\n")
    train(config, again, True, make_houses, make_policy, quiet=True)
    assert curve(again) == rows
    assert changed(made[1], CnnPolicy(config.seed, env))
    (episode,) = evaluate_policy(made[1], env, 1, progress=False)
    assert 0 <= episode["spl"] <= 1


def test_a_cnn_learns_to_reach_with_soft_actor_critic(tmp_path: Path) -> None:
    pytest.importorskip("pybullet", reason="the tasks need pybullet")
    from embodied.tasks.tabletop import TabletopConfig, TabletopVectorEnv

    task = TabletopConfig(
        task="reach", observation="rgb", width=16, height=16, level=0, max_steps=6
    )
    loop = OffPolicyLoop(steps=64, envs=2, learning_starts=16, log_every=16, checkpoint_every=1,
                         keep=9, device="cpu")  # fmt: skip
    sac = SacConfig(batch_size=8, buffer_size=100, width=16, layers=1)
    config = OffPolicyTraining(seed=2, train=loop, sac=sac)
    made: list[PixelPolicy] = []

    def make_policy(config: OffPolicyTraining, env: Any) -> PixelPolicy:
        made.append(PixelPolicy(config.seed))
        return made[-1]

    def make_env(config: OffPolicyTraining) -> TabletopVectorEnv:
        return TabletopVectorEnv(config.train.envs, task)

    run, again = tmp_path / "run", tmp_path / "again"
    off_policy.train(config, run, make_env, make_policy, quiet=True)
    rows = curve(run)
    assert [row["phase"] for row in rows] == ["exploration", "sac", "sac", "sac"]
    assert all(np.isfinite(row["critic_loss"] + row["actor_loss"]) for row in rows[1:])
    assert changed(made[0], PixelPolicy(config.seed))
    shutil.copytree(run, again)
    (again / "checkpoints" / "latest").write_text("00000002\n")
    off_policy.train(config, again, make_env, make_policy, resume=True, quiet=True)
    assert curve(again) == rows
    loaded = PixelPolicy(seed=9)
    load_weights(open_checkpoint(again), loaded)
    env = make_env(config)
    figures = [evaluate_policy(p, env, 2, seed=0, progress=False) for p in (loaded, made[1])]
    env.close()
    assert figures[0] == figures[1]
