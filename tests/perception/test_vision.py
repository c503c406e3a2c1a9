from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from embodied.errors import ConfigError, SensorError
from embodied.perception.features import FeatureCache, hash_image
from embodied.perception.pretrained import WeightsError, find_weights
from embodied.perception.vision import PretrainedVision, SmallVisionEncoder, VisionEncoder
from tests.perception.tiny_models import PATCH, SIDE, WIDTH, save_vision

FAMILIES = ("clip", "siglip", "siglip2", "dinov2", "dinov2_with_registers", "dinov3", "vit")
DIM = {"clip": 20}
PATCHES = (SIDE // PATCH) ** 2


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vision")
    for family in FAMILIES:
        save_vision(family, root / family)
    return root


@pytest.mark.parametrize("family", FAMILIES)
def test_every_architecture_gives_pooled_and_patch_features(
    models: Path, images: np.ndarray, family: str
) -> None:
    encoder = VisionEncoder.load(models / family)
    found = encoder.encode(images)
    # SigLIP 2 keeps the aspect ratio: at most 16 patches of a 3:4 image are 3 x 4.
    patches = 12 if family == "siglip2" else PATCHES
    assert found.pooled.shape == (5, DIM.get(family, WIDTH)) == (5, encoder.dim)
    assert found.patches.shape == (5, patches, WIDTH)
    assert found.pooled.dtype == found.patches.dtype == torch.float32
    again = VisionEncoder.load(models / family)
    assert torch.equal(again.encode(images).pooled, found.pooled)
    assert again.digest == encoder.digest
    again.batch = 2
    parts = again.encode(images)
    torch.testing.assert_close(parts.pooled, found.pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts.patches, found.patches, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(encoder.encode(images[2:3]).pooled, found.pooled[2:3])


@pytest.mark.parametrize("family", ["clip", "dinov3"])
def test_half_precision_is_close_and_has_its_own_digest(
    models: Path, images: np.ndarray, family: str
) -> None:
    whole = VisionEncoder.load(models / family)
    half = VisionEncoder.load(models / family, dtype="bfloat16")
    expected, found = whole.encode(images).pooled, half.encode(images).pooled
    cosine = torch.nn.functional.cosine_similarity(expected, found)
    assert found.dtype == torch.float32
    assert cosine.min() > 0.99
    assert not torch.equal(expected, found)
    assert half.digest != whole.digest


def test_clip_features_are_transformers_own(models: Path, images: np.ndarray) -> None:
    from transformers import AutoImageProcessor, CLIPModel

    model = CLIPModel.from_pretrained(models / "clip").eval()
    inputs = AutoImageProcessor.from_pretrained(models / "clip")(list(images), return_tensors="pt")
    with torch.inference_mode():
        vision = model.vision_model(**inputs)
        pooled = model.visual_projection(vision.pooler_output)
    found = VisionEncoder.load(models / "clip").encode(images)
    torch.testing.assert_close(found.pooled, pooled)
    torch.testing.assert_close(found.patches, vision.last_hidden_state[:, 1:])


def test_registers_and_class_token_are_no_patches(models: Path, images: np.ndarray) -> None:
    from transformers import AutoImageProcessor, Dinov2WithRegistersModel

    folder = models / "dinov2_with_registers"
    model = Dinov2WithRegistersModel.from_pretrained(folder).eval()
    inputs = AutoImageProcessor.from_pretrained(folder)(list(images), return_tensors="pt")
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state
    found = VisionEncoder.load(folder).encode(images)
    assert states.shape[1] == 1 + 3 + PATCHES
    torch.testing.assert_close(found.patches, states[:, 4:])
    torch.testing.assert_close(found.pooled, states[:, 0])


def test_dinov3_images_are_prepared_as_its_settings_say(models: Path) -> None:
    encoder = VisionEncoder.load(models / "dinov3")
    assert isinstance(encoder, PretrainedVision)
    flat = np.full((1, SIDE, SIDE, 3), (124, 0, 255), np.uint8)
    pixels = encoder._processor(list(flat), return_tensors="pt")["pixel_values"][0]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (torch.tensor([124, 0, 255]) / 255 - mean) / std
    assert pixels.shape == (3, SIDE, SIDE)
    torch.testing.assert_close(pixels[:, 3, 5], expected, atol=1e-5, rtol=1e-5)


def test_the_cache_answers_without_the_model(
    models: Path, images: np.ndarray, tmp_path: Path
) -> None:
    encoder = VisionEncoder.load(models / "clip", cache=tmp_path, batch=2)
    assert isinstance(encoder, PretrainedVision)
    runs: list[int] = []
    encoder._model.register_forward_hook(lambda *_: runs.append(1))
    twice = np.concatenate([images[:3], images[:1]])
    first = encoder.encode(twice)
    assert len(runs) == 2  # three different images in batches of two
    assert torch.equal(first.pooled[0], first.pooled[3])
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    assert len(files) == 3
    second = encoder.encode(twice)
    assert len(runs) == 2
    assert torch.equal(second.pooled, first.pooled)
    assert torch.equal(second.patches, first.patches)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")} == files
    encoder.encode(images)  # two images are new
    assert len(runs) == 3
    fresh = VisionEncoder.load(models / "clip").encode(images)
    torch.testing.assert_close(encoder.encode(images).pooled, fresh.pooled, atol=1e-5, rtol=1e-5)


def test_a_damaged_cache_file_is_written_anew(tmp_path: Path, images: np.ndarray) -> None:
    encoder = VisionEncoder.load("small", cache=tmp_path)
    expected = encoder.encode(images).pooled
    file = FeatureCache(tmp_path, encoder.digest).get_path(images[1])
    file.write_bytes(file.read_bytes()[:-7])
    torch.testing.assert_close(encoder.encode(images).pooled, expected, atol=1e-5, rtol=1e-5)
    assert FeatureCache(tmp_path, encoder.digest).read_features(file) is not None


def test_the_cache_tells_encoders_and_images_apart(tmp_path: Path, images: np.ndarray) -> None:
    one = SmallVisionEncoder(seed=1, cache=tmp_path)
    two = SmallVisionEncoder(seed=2, cache=tmp_path)
    assert not torch.equal(one.encode(images).pooled, two.encode(images).pooled)
    before = one.digest
    with torch.no_grad():
        one.network.project.bias += 1.0
    assert one.digest != before
    torch.testing.assert_close(
        one.encode(images).pooled, SmallVisionEncoder(seed=1).encode(images).pooled + 1.0
    )
    assert hash_image(images[0]) != hash_image(images[0].reshape(64, 48, 3))


def test_the_small_encoder_is_seeded_saved_and_trainable(
    tmp_path: Path, images: np.ndarray
) -> None:
    encoder = VisionEncoder.load("small")
    assert isinstance(encoder, SmallVisionEncoder)
    found = encoder.encode(images)
    assert found.pooled.shape == (5, 128)
    assert found.patches.shape == (5, 6 * 8, 128)
    torch.testing.assert_close(found.patches.mean(dim=1), found.pooled)
    assert torch.equal(VisionEncoder.load("small").encode(images).pooled, found.pooled)
    optimizer = torch.optim.Adam(encoder.network.parameters(), 1e-2)
    shades = images // np.arange(1, 6, dtype=np.uint8)[:, None, None, None]
    pixels = torch.from_numpy(shades).permute(0, 3, 1, 2) / 255
    losses = []
    for _ in range(60):  # learn to say where an image is in the batch
        pooled = encoder.network(pixels).pooled
        loss = torch.nn.functional.cross_entropy(pooled[:, :5], torch.arange(5))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    encoder.save(tmp_path / "kept")
    kept = VisionEncoder.load(tmp_path / "kept")
    assert torch.equal(kept.encode(images).pooled, encoder.encode(images).pooled)
    assert kept.digest == encoder.digest


def test_bad_images_and_options_are_named(images: np.ndarray) -> None:
    encoder = VisionEncoder.load("small")
    for bad in (images[0], images.astype(np.float32), images[..., :2]):
        with pytest.raises(SensorError, match=r"give \(N, H, W, 3\) uint8"):
            encoder.encode(bad)
    with pytest.raises(ConfigError, match="no image"):
        encoder.encode(images[:0])
    with pytest.raises(ConfigError, match="batch = 0"):
        VisionEncoder.load("small", batch=0)
    with pytest.raises(ConfigError, match="unknown dtype 'int8'"):
        VisionEncoder.load("small", dtype="int8")


def test_a_missing_weight_is_an_error(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_vision("dinov2", tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    lost = "encoder.layer.1.mlp.fc1.weight"
    assert lost in weights
    save_file({k: v for k, v in weights.items() if k != lost}, folder / "model.safetensors",
              {"format": "pt"})  # fmt: skip
    with pytest.raises(WeightsError, match=rf"missing: {lost}.*random"):
        VisionEncoder.load(folder)


def test_a_weight_of_another_shape_is_an_error(tmp_path: Path) -> None:
    import json

    folder = save_vision("dinov2", tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config["patch_size"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError):
        VisionEncoder.load(folder)


@pytest.mark.parametrize("damage", ["cut", "noise", "config", "no weights", "no processor"])
def test_damaged_folders_are_named(tmp_path: Path, damage: str) -> None:
    folder = save_vision("clip", tmp_path / "m")
    weights = folder / "model.safetensors"
    expected = "damaged"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:2000])
    elif damage == "noise":
        weights.write_bytes(os.urandom(5000))
    elif damage == "config":
        (folder / "config.json").write_text("{")
        expected = r"config\.json cannot be read"
    elif damage == "no weights":
        weights.rename(folder / "pytorch_model.bin")
        expected = r"no \*\.safetensors.*Pickled"
    else:
        for name in ("preprocessor_config.json", "processor_config.json"):
            (folder / name).unlink(missing_ok=True)
        expected = "no usable image processor"
    with pytest.raises(WeightsError, match=expected) as caught:
        VisionEncoder.load(folder)
    assert str(folder) in str(caught.value)


def test_a_model_without_patches_is_refused(tmp_path: Path) -> None:
    from tests.perception.tiny_models import save_bert

    with pytest.raises(ConfigError, match="'bert' model.*Use CLIP"):
        VisionEncoder.load(save_bert(tmp_path / "bert"))


def test_absent_weights_say_how_to_get_them_and_do_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    # A server that takes the connection and never answers: the worst a network can do.
    server = socket.create_server(("127.0.0.1", 0))
    endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    begin = time.monotonic()
    with server, pytest.raises(WeightsError) as caught:
        VisionEncoder.load("some-group/some-model")
    assert time.monotonic() - begin < 10
    text = str(caught.value)
    assert "hf download some-group/some-model" in text
    assert str(tmp_path) in text
    assert "HF_HOME" in text


def test_wrong_names_and_folders(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no config\.json"):
        find_weights(tmp_path)
    with pytest.raises(WeightsError, match="there is no folder"):
        find_weights(tmp_path / "absent")
    with pytest.raises(WeightsError, match="no model name"):
        find_weights("what is this")


def test_a_model_in_the_hubs_cache_is_found_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: np.ndarray
) -> None:
    import huggingface_hub

    # The layout that the hub's own download leaves behind.
    repo = tmp_path / "models--group--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    save_vision("dinov2", repo / "snapshots" / ("0" * 40))
    real = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *a, **k: real(*a, cache_dir=tmp_path, **k)
    )
    encoder = VisionEncoder.load("group/tiny")
    assert encoder.encode(images).pooled.shape == (5, WIDTH)
