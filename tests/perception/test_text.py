from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from embodied.errors import ConfigError
from embodied.perception.pretrained import WeightsError
from embodied.perception.text import PretrainedText, SmallTextEncoder, TextEncoder
from embodied.perception.vocabulary import Vocabulary
from tests.perception.tiny_models import WIDTH, save_bert, save_contrastive

FAMILIES = ("clip", "siglip", "siglip2", "bert")
TEXTS = ["go to the red chair", "the kitchen next to a table and a lamp", "sofa"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("text")
    for family in FAMILIES[:3]:
        save_contrastive(family, root / family)
    save_bert(root / "bert")
    return root


@pytest.mark.parametrize("family", FAMILIES)
def test_every_architecture_gives_pooled_and_token_features(models: Path, family: str) -> None:
    encoder = TextEncoder.load(models / family)
    found = encoder.encode(TEXTS)
    count = found.mask.sum(dim=1)
    # SigLIP is trained on texts padded to full length.
    length = 16 if family.startswith("siglip") else int(count.max())
    assert found.pooled.shape == (3, 20 if family == "clip" else WIDTH) == (3, encoder.dim)
    assert found.tokens.shape == (3, length, WIDTH)
    assert found.mask.dtype == torch.bool
    assert count[2] < count[0] < count[1]
    assert torch.equal(TextEncoder.load(models / family).encode(TEXTS).pooled, found.pooled)
    encoder.batch = 1
    parts = encoder.encode(TEXTS)
    torch.testing.assert_close(parts.pooled, found.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        parts.tokens[found.mask], found.tokens[found.mask], atol=1e-5, rtol=1e-5
    )
    assert torch.equal(parts.mask, found.mask)


def test_bert_features_are_transformers_own(models: Path) -> None:
    from transformers import AutoTokenizer, BertModel

    words = AutoTokenizer.from_pretrained(models / "bert")(TEXTS, padding=True, return_tensors="pt")
    model = BertModel.from_pretrained(models / "bert", add_pooling_layer=False).eval()
    with torch.inference_mode():
        states = model(
            input_ids=words["input_ids"], attention_mask=words["attention_mask"]
        ).last_hidden_state
    found = TextEncoder.load(models / "bert").encode(TEXTS)
    torch.testing.assert_close(found.tokens, states)
    torch.testing.assert_close(found.pooled, states[:, 0])


def test_clip_texts_and_images_share_a_space(models: Path) -> None:
    from transformers import AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(models / "clip").eval()
    words = AutoTokenizer.from_pretrained(models / "clip")(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        output = model.text_model(
            input_ids=words["input_ids"], attention_mask=words["attention_mask"]
        )
        expected = model.text_projection(output.pooler_output)
    found = TextEncoder.load(models / "clip").encode(TEXTS)
    torch.testing.assert_close(found.pooled, expected)


def test_long_texts_lose_their_end(models: Path) -> None:
    encoder = TextEncoder.load(models / "clip")
    assert isinstance(encoder, PretrainedText)
    found = encoder.encode(["go to the red chair " * 30, "sofa"])
    assert found.tokens.shape[1] == 16


def test_half_precision_is_close(models: Path) -> None:
    whole = TextEncoder.load(models / "bert")
    half = TextEncoder.load(models / "bert", dtype="bfloat16")
    cosine = torch.nn.functional.cosine_similarity(
        whole.encode(TEXTS).pooled, half.encode(TEXTS).pooled
    )
    assert cosine.min() > 0.99
    assert whole.digest != half.digest


def test_the_small_encoder_reads_its_words_and_is_kept(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_texts(TEXTS)
    encoder = TextEncoder.load("small", vocabulary=vocabulary)
    assert isinstance(encoder, SmallTextEncoder)
    found = encoder.encode(TEXTS)
    assert found.pooled.shape == (3, 128)
    assert found.tokens.shape[:2] == found.mask.shape == (3, 11)
    torch.testing.assert_close(
        (found.tokens[2] * found.mask[2, :, None]).sum(dim=0) / found.mask[2].sum(),
        found.pooled[2],
    )
    alone = encoder.encode([TEXTS[2]])
    torch.testing.assert_close(alone.pooled[0], found.pooled[2], atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        encoder.network.words.weight[7] += 1.0
    encoder.save(tmp_path / "kept")
    kept = TextEncoder.load(tmp_path / "kept")
    assert torch.equal(kept.encode(TEXTS).pooled, encoder.encode(TEXTS).pooled)
    assert kept.digest == encoder.digest
    settings = json.loads((tmp_path / "kept" / "config.json").read_text())
    settings["words"] = settings["words"][:-1]
    (tmp_path / "kept" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="damaged"):
        TextEncoder.load(tmp_path / "kept")


def test_bad_texts_and_options_are_named(models: Path) -> None:
    encoder = TextEncoder.load("small", vocabulary=Vocabulary.from_texts(TEXTS))
    for bad in ([], ["a chair", "  "]):
        with pytest.raises(ConfigError, match="none of them empty"):
            encoder.encode(bad)
    with pytest.raises(ConfigError, match=r"vocabulary=Vocabulary\.build"):
        TextEncoder.load("small")
    with pytest.raises(WeightsError, match="no usable tokenizer"):
        TextEncoder.load(_without_tokenizer(models / "clip"))


def _without_tokenizer(source: Path) -> Path:
    import shutil

    target = source.with_name("bare")
    shutil.copytree(source, target)
    for file in target.glob("*token*"):
        file.unlink()
    return target
