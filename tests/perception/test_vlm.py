"""Vision-language models as encoders, on tiny models of the real architectures."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf

from embodied.errors import ConfigError
from embodied.perception.pretrained import WeightsError
from embodied.perception.vlm import VisionLanguageModel
from tests.perception.tiny_vlms import FAMILIES, SIDE, WIDTH, save_vlm

CPU = torch.device("cpu")
TEXTS = ("pick up the red cube", "go to the blue square and hold it")
IMAGE_TOKENS = {"smolvlm": 4, "qwen3_vl": 4, "paligemma": 16}
MARKS = {"smolvlm": 3, "qwen3_vl": 2, "paligemma": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: save_vlm(family, root / family) for family in FAMILIES}


def pictures(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (2, SIDE, SIDE, 3), dtype=np.uint8) for _ in range(2)]


@pytest.mark.parametrize("family", FAMILIES)
def test_two_cameras_and_a_text_become_tokens(folders: dict[str, Path], family: str) -> None:
    model = VisionLanguageModel(folders[family])
    found = model.encode(pictures(), TEXTS, CPU)
    shown = 2 * (IMAGE_TOKENS[family] + MARKS[family])
    assert found.tokens.shape == (2, shown + 8, WIDTH)
    assert found.mask.sum(1).tolist() == [shown + 5, shown + 8]
    assert found.tokens.dtype == torch.float32
    assert model.width == WIDTH


@pytest.mark.parametrize("family", FAMILIES)
def test_it_sees_both_cameras_and_reads(folders: dict[str, Path], family: str) -> None:
    model = VisionLanguageModel(folders[family])
    base = model.encode(pictures(), TEXTS, CPU)
    for camera in (0, 1):
        other = pictures()
        other[camera] = pictures(1)[camera]
        assert not torch.allclose(model.encode(other, TEXTS, CPU).tokens, base.tokens, atol=1e-4)
    said = model.encode(pictures(), ("pick up the blue cube", TEXTS[1]), CPU)
    assert not torch.allclose(said.tokens[0], base.tokens[0], atol=1e-4)
    assert torch.allclose(said.tokens[1], base.tokens[1], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_is_its_rows(folders: dict[str, Path], family: str) -> None:
    model = VisionLanguageModel(folders[family])
    together = model.encode(pictures(), TEXTS, CPU)
    for row in (0, 1):
        alone = model.encode([image[row : row + 1] for image in pictures()], TEXTS[row : row + 1],
                             CPU)  # fmt: skip
        kept = together.tokens[row][together.mask[row]]
        assert torch.allclose(alone.tokens[0], kept, atol=1e-4)


def test_the_states_are_those_of_the_model_itself(folders: dict[str, Path]) -> None:
    """One image and a text through PaliGemma as transformers runs it."""
    family = "paligemma"
    image = pictures()[0][:1]
    ours = VisionLanguageModel(folders[family]).encode([image], TEXTS[:1], CPU)
    model = tf.AutoModel.from_pretrained(folders[family]).eval()
    processor = tf.SiglipImageProcessorPil.from_pretrained(folders[family])
    tokens = tf.AutoTokenizer.from_pretrained(folders[family])
    ids = tokens("<image>" * IMAGE_TOKENS[family] + TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        theirs = model(
            input_ids=ids["input_ids"], attention_mask=ids["attention_mask"],
            pixel_values=processor(image[0], return_tensors="pt")["pixel_values"],
            token_type_ids=torch.zeros_like(ids["input_ids"]),
        ).last_hidden_state  # fmt: skip
    assert torch.allclose(ours.tokens, theirs, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_fewer_layers_are_another_encoder(folders: dict[str, Path], family: str) -> None:
    whole, cut = VisionLanguageModel(folders[family]), VisionLanguageModel(folders[family], 2)
    found = [m.encode(pictures(), TEXTS, CPU).tokens for m in (whole, cut)]
    assert found[0].shape == found[1].shape
    assert not torch.allclose(*found, atol=1e-4)
    assert whole.digest != cut.digest
    with pytest.raises(ConfigError, match="9 layers are to be kept"):
        VisionLanguageModel(folders[family], 9)


def test_nothing_is_learned_and_copies_are_the_same_object(folders: dict[str, Path]) -> None:
    model = VisionLanguageModel(folders["smolvlm"])
    assert copy.deepcopy(model) is model
    assert not model.encode(pictures(), TEXTS, CPU).tokens.requires_grad


def test_an_adapter_acts_where_it_was_added_and_only_when_given(folders: dict[str, Path]) -> None:
    model = VisionLanguageModel(folders["smolvlm"])
    base = model.encode(pictures(), TEXTS, CPU).tokens
    with pytest.raises(ConfigError, match="ends in no_such"):
        model.add_adapter(["no_such"], 2, 4.0)
    fresh = model.add_adapter(["q_proj"], 2, 4.0)
    assert len(fresh) == 3
    assert torch.equal(base, model.encode(pictures(), TEXTS, CPU, fresh).tokens)
    layer, (down, up) = next(iter(fresh.items()))
    up = torch.ones_like(up).requires_grad_()
    changed = model.encode(pictures(), TEXTS, CPU, {**fresh, layer: (down, up)}).tokens
    assert not torch.allclose(base, changed, atol=1e-5)
    changed.square()[0, 0, 0].backward()
    assert up.grad is not None
    assert up.grad.any()
    assert torch.equal(base, model.encode(pictures(), TEXTS, CPU).tokens)


def test_other_models_are_refused(tmp_path: Path) -> None:
    from tests.perception.tiny_models import save_vision

    with pytest.raises(WeightsError, match="family 'vit'"):
        VisionLanguageModel(save_vision("vit", tmp_path / "vit"))
