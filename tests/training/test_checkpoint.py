from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from toy import planes

from embodied.errors import CheckpointError
from embodied.files import UnwritableError
from embodied.policies.recurrent import RecurrentConfig, RecurrentPolicy
from embodied.policies.recurrent_features import PolicyInputs
from embodied.training.checkpoint import (
    CheckpointStore,
    find_checkpoint,
    load_policy,
    open_checkpoint,
)
from embodied.training.navigation.config import LoopConfig, TrainConfig

CONFIG = TrainConfig(policy=RecurrentConfig(width=16, hidden_size=16), train=LoopConfig(envs=3))


@pytest.fixture
def policy() -> RecurrentPolicy:
    env = planes(CONFIG, True)
    inputs = PolicyInputs.from_spaces(env.single_observation_space, env.single_action_space)
    policy = RecurrentPolicy(inputs, CONFIG.policy, seed=1)
    policy.network.vector_mean.fill_(0.25)
    policy.network.vector_std.fill_(2.0)
    with torch.no_grad():
        policy.network.actor.weight.normal_()
    return policy


@pytest.fixture
def saved(policy, tmp_path):
    optimizer = torch.optim.Adam(policy.network.parameters())
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    return store.save(7, policy, optimizer, CONFIG, {"row": {}}, score=0.5)


def test_a_loaded_policy_acts_like_the_saved_one(policy, saved, tmp_path) -> None:
    loaded = load_policy(tmp_path)
    env = planes(CONFIG, False)
    observations, _ = env.reset(seed=0)
    first = np.ones(3, bool)
    for _ in range(10):
        a = policy.sample_actions(observations, first, temperature=0.0)
        b = loaded.sample_actions(observations, first, temperature=0.0)
        np.testing.assert_array_equal(a.action, b.action)
        np.testing.assert_array_equal(a.value, b.value)
        observations, _, ended, cut, _ = env.step(a.action)
        first = ended | cut
    assert sorted(p.name for p in saved.iterdir()) == [
        "config.yaml", "meta.json", "model.safetensors", "normalization.json",
        "optimizer.safetensors",
    ]  # fmt: skip


def test_the_newest_and_the_best_are_kept(policy, tmp_path) -> None:
    optimizer = torch.optim.Adam(policy.network.parameters())
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    for update, score in enumerate([0.1, 0.9, 0.2, 0.3, None], start=1):
        store.save(update, policy, optimizer, CONFIG, {}, score)
    names = sorted(p.name for p in store.folder.iterdir() if p.is_dir())
    assert names == ["00000002", "00000004", "00000005"]
    assert find_checkpoint(tmp_path).name == "00000005"
    assert find_checkpoint(tmp_path, "best").name == "00000002"


@pytest.mark.parametrize(
    "name", ["model.safetensors", "normalization.json", "config.yaml", "optimizer.safetensors"]
)
def test_a_damaged_file_is_named(saved, tmp_path, name: str) -> None:
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=f"{name}.*digest"):
        load_policy(tmp_path)
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}.*missing"):
        load_policy(saved)


def test_a_broken_meta_file_is_named(saved) -> None:
    (saved / "meta.json").write_text("{")
    with pytest.raises(CheckpointError, match="meta.json"):
        load_policy(saved)


def test_nothing_there_says_how_to_train(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="embodied train"):
        load_policy(tmp_path / "nothing")


def test_a_pointer_to_a_removed_folder_is_explained(saved, tmp_path) -> None:
    shutil.rmtree(saved)
    with pytest.raises(CheckpointError, match="not there"):
        load_policy(tmp_path)


def test_the_checkpoint_of_another_policy_is_refused(saved) -> None:
    meta = json.loads((saved / "meta.json").read_text())
    meta["policy"] = "walker"
    (saved / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="belongs to the policy 'walker'"):
        load_policy(saved)


def test_other_observations_are_refused(saved) -> None:
    from embodied.training.checkpoint import load_weights

    other = RecurrentPolicy(PolicyInputs({"goal": (3,)}, {}, 4), CONFIG.policy)
    with pytest.raises(CheckpointError, match="other observations"):
        load_weights(open_checkpoint(saved), other)


def test_another_size_is_refused(saved, policy) -> None:
    from embodied.training.checkpoint import load_weights

    other = RecurrentPolicy(policy.inputs, RecurrentConfig(width=8, hidden_size=8))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_weights(open_checkpoint(saved), other)


def test_a_failed_save_leaves_the_old_checkpoint(saved, policy, tmp_path, monkeypatch) -> None:
    def fail(*args) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("embodied.training.checkpoint.save_file", fail)
    store = CheckpointStore(tmp_path / "checkpoints")
    with pytest.raises(UnwritableError, match="disk full"):
        store.save(8, policy, torch.optim.Adam(policy.network.parameters()), CONFIG, {}, 1.0)
    assert find_checkpoint(tmp_path) == saved
    load_policy(tmp_path)
    assert [p.name for p in store.folder.iterdir() if p.is_dir()] == ["00000007"]
