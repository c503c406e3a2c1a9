"""Backbones behind one interface: the small one, and pretrained ones, frozen or tuned."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from reach_toy import CHUNK, INPUTS, STATISTICS, WORDS, fit, toy_batch
from safetensors.torch import load_file
from transformers import AutoModel

from embodied.errors import CheckpointError, ConfigError, EmbodiedError
from embodied.perception.vlm import VisionLanguageModel
from embodied.policies.chunk.backbones import BackboneConfig, make_backbone
from embodied.policies.chunk.backbones.base import TinyConfig, VlmConfig
from embodied.policies.chunk.backbones.tiny import TinyBackbone, spatial_softmax
from embodied.policies.chunk.factory import VisuomotorConfig, make_policy
from embodied.policies.chunk.sc_vla import ScVlaConfig
from embodied.training.checkpoint import CheckpointStore, load_policy
from tests.perception.tiny_vlms import FAMILIES, save_vlm

SMALL = ScVlaConfig(width=32, layers=2, tap=1, num_future_tokens=1)


def settings(folder: Path, **vlm) -> VisuomotorConfig:
    backbone = BackboneConfig(str(folder), vlm=VlmConfig(layers=2, **vlm))
    return VisuomotorConfig(chunk_size=CHUNK, n_action_steps=4, backbone=backbone, sc_vla=SMALL)


def images(batch: dict) -> dict:
    return {name: batch[f"observation.images.{name}"] for name in INPUTS.cameras}


def test_the_place_of_a_bright_spot_is_found() -> None:
    scores = torch.full((1, 2, 5, 9), -20.0)
    scores[0, 0, 0, 8] = scores[0, 1, 2, 4] = 20.0
    assert torch.allclose(spatial_softmax(scores), torch.tensor([[[1.0, -1.0], [0.0, 0.0]]]))
    scores[0, 0, 0, 6] = 20.0  # halfway between two equal ones
    assert spatial_softmax(scores)[0, 0].tolist() == pytest.approx([0.75, -1.0], abs=1e-5)


def test_the_instruction_steers_the_eyes() -> None:
    torch.manual_seed(0)
    backbone = TinyBackbone(TinyConfig(width=32, channels=(8, 16)), INPUTS.cameras, WORDS)
    batch = toy_batch(2, 0)
    found = [backbone(images(batch), [text] * 2) for text in ("red square", "blue square")]
    seen = [context.tokens[:, :4] for context in found]  # two tokens of each camera
    assert not torch.allclose(*seen, atol=1e-3)
    assert found[0].present.all()


def test_padding_of_the_words_is_not_read() -> None:
    torch.manual_seed(0)
    backbone = TinyBackbone(TinyConfig(width=32, channels=(8, 16)), INPUTS.cameras, WORDS)
    batch = toy_batch(2, 0)
    long, short = "go to the red square", "red"
    together, alone = (backbone(images(batch), texts) for texts in ([short, long], [short, short]))
    kept = alone.tokens.shape[1]
    assert torch.allclose(together.tokens[0, :kept], alone.tokens[0], atol=1e-5)
    assert together.present.sum(1).tolist() == [kept, together.tokens.shape[1]]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_model_gives_context_and_no_weights(tmp_path: Path, family: str) -> None:
    folder = save_vlm(family, tmp_path / family)
    policy = make_policy(INPUTS, settings(folder))
    policy.normalization = STATISTICS
    assert not any(name.startswith("backbone") for name, _ in policy.network.named_parameters())
    batch = toy_batch(4, 0)
    loss, _ = policy.forward(batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert policy.predict_action_chunk(batch).shape == (4, CHUNK, 7)


@pytest.mark.parametrize("family", FAMILIES)
def test_low_rank_updates_learn_and_the_model_stays(tmp_path: Path, family: str) -> None:
    folder = save_vlm(family, tmp_path / family)
    policy = make_policy(INPUTS, settings(folder, lora_rank=4))
    policy.normalization = STATISTICS
    context = policy.encode_observations(toy_batch(2, 0))[0]
    frozen = make_policy(INPUTS, settings(folder))
    assert torch.allclose(
        context.tokens,
        frozen.network.backbone(images(toy_batch(2, 0)), toy_batch(2, 0)["task"]).tokens,
    )
    fit(policy, 12, batch=4)
    ups = [p for name, p in policy.network.named_parameters() if name.endswith("up")]
    assert len(ups) == 4  # q_proj and v_proj of two layers
    assert all((up != 0).any() for up in ups)
    assert not torch.allclose(
        policy.encode_observations(toy_batch(2, 0))[0].tokens, context.tokens, atol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_adapter_is_one_that_peft_loads(tmp_path: Path, family: str) -> None:
    folder = save_vlm(family, tmp_path / family)
    backbone = make_policy(INPUTS, settings(folder, lora_rank=4)).network.backbone
    for part in backbone.updates.parameters():
        torch.nn.init.normal_(part, std=0.3)
    model = backbone._held[0]
    seen = [np.asarray(image) for image in images(toy_batch(2, 0)).values()]
    ours = model.encode(seen, ["go", "stop"], torch.device("cpu"), backbone._adapter()).tokens
    plain = model.encode(seen, ["go", "stop"], torch.device("cpu")).tokens
    saved = backbone.save_adapter(tmp_path / "adapter")
    fresh = VisionLanguageModel(folder, 2)
    fresh._model = PeftModel.from_pretrained(fresh._model, saved).base_model.model
    theirs = fresh.encode(seen, ["go", "stop"], torch.device("cpu")).tokens
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-2)
    AutoModel.from_pretrained(folder).load_adapter(str(saved))  # transformers' own way in
    with pytest.raises(ConfigError, match="no adapter"):
        make_policy(INPUTS, settings(folder)).network.backbone.save_adapter(tmp_path / "none")


def test_copies_have_updates_of_their_own_on_one_model(tmp_path: Path) -> None:
    policy = make_policy(INPUTS, settings(save_vlm("smolvlm", tmp_path / "m"), lora_rank=2))
    policy.normalization = STATISTICS
    learner = copy.deepcopy(policy)
    assert learner.network.backbone._held[0] is policy.network.backbone._held[0]
    batch = toy_batch(2, 0)
    before = policy.encode_observations(batch)[0].tokens
    for name, part in learner.network.named_parameters():
        if name.endswith("up"):
            torch.nn.init.normal_(part)
    assert torch.equal(policy.encode_observations(batch)[0].tokens, before)
    assert not torch.allclose(learner.encode_observations(batch)[0].tokens, before, atol=1e-5)


def test_a_checkpoint_needs_the_very_model_it_was_trained_on(tmp_path: Path) -> None:
    folder = save_vlm("smolvlm", tmp_path / "model")
    config = settings(folder, lora_rank=2)
    policy = make_policy(INPUTS, config)
    policy.normalization = STATISTICS
    fit(policy, 3, batch=4)

    @dataclasses.dataclass(frozen=True)
    class Run:
        policy: VisuomotorConfig

    optimizer = torch.optim.AdamW(policy.parameters())
    store = CheckpointStore(tmp_path / "checkpoints")
    saved = store.save(1, policy, optimizer, Run(config), {})
    again = load_policy(saved)
    batch = toy_batch(3, 5)
    policy.seed(0)
    again.seed(0)
    assert torch.equal(policy.predict_action_chunk(batch), again.predict_action_chunk(batch))
    kept = [name for name in load_file(saved / "model.safetensors") if "backbone" in name]
    assert kept
    assert all(name.startswith("backbone.updates.") for name in kept)
    save_vlm("smolvlm", folder, seed=1)  # other weights under the same name
    with pytest.raises(CheckpointError, match="trained on other observations"):
        load_policy(saved)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: VlmConfig(layers=-1), "must not be negative"),
        (lambda: VlmConfig(prompt="do it"), r"must contain \{task\}"),
        (lambda: TinyConfig(channels=(8,)), "at least two channels"),
        (
            lambda: make_backbone(BackboneConfig("no/such/model/here"), ("front",), WORDS),
            "no folder",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused(made, message: str) -> None:
    with pytest.raises(EmbodiedError, match=message):
        made()
