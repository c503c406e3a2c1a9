from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from embodied.categories import MPCAT40, VOID
from embodied.errors import CheckpointError, SensorError
from embodied.perception.segmenter import STRIP, Segmenter, SegmenterConfig, prepare_images


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(SegmenterConfig(width=4), seed=1)


def _images(count: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return rgb, rng.uniform(0.5, 6, (count, height, width)).astype(np.float32)


def test_classes_have_the_images_size_and_stay_inside_the_strip(segmenter: Segmenter) -> None:
    rgb, depth = _images(3, 96, 192)
    found = segmenter.segment(rgb, depth)
    assert found.shape == (3, 96, 192)
    assert found.dtype == np.int64
    assert (found[:, :16] == VOID).all()
    assert (found[:, 80:] == VOID).all()
    assert 0 <= found.min() <= found.max() < len(MPCAT40)
    np.testing.assert_array_equal(segmenter.segment(rgb[1:2], depth[1:2])[0], found[1])
    np.testing.assert_array_equal(segmenter.segment(rgb, depth, batch=2), found)
    np.testing.assert_array_equal(
        segmenter.segment(rgb[:, 16:80], depth[:, 16:80]), found[:, 16:80]
    )


def test_turning_the_panorama_turns_the_answer(segmenter: Segmenter) -> None:
    # Columns wrap round, so a turn by a multiple of the coarsest cell (16 columns) changes nothing.
    rgb, depth = _images(1, 64, 192)
    found = segmenter.segment(rgb, depth)
    turned = segmenter.segment(np.roll(rgb, 48, axis=2), np.roll(depth, 48, axis=2))
    assert (turned == np.roll(found, 48, axis=2)).mean() > 0.999


def test_other_resolutions_are_sampled(segmenter: Segmenter) -> None:
    rgb, depth = _images(1, 96, 192)
    double = segmenter.segment(rgb.repeat(2, 1).repeat(2, 2), depth.repeat(2, 1).repeat(2, 2))
    expected = segmenter.segment(rgb, depth).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(double, expected)


def test_geometry_enters_as_height_and_distance() -> None:
    depth = torch.full((1, *STRIP), 2.0)
    depth[0, 0, 0] = 0
    planes = prepare_images(torch.zeros((1, *STRIP, 3), dtype=torch.uint8), depth)[0]
    top = np.pi / 3 * (1 - 1 / STRIP[0])
    assert planes.shape == (8, *STRIP)
    assert planes[5, 0, 1].item() == pytest.approx(2 * np.sin(top), abs=1e-5)  # above the camera
    assert planes[6, 0, 1].item() == pytest.approx(2 * np.cos(top) / 4 - 0.5, abs=1e-5)
    assert planes[4, 0, :2].tolist() == [0.0, 1.0]  # whether the depth is known


def test_bad_images_and_folders_are_named(segmenter: Segmenter, tmp_path: Path) -> None:
    rgb, depth = _images(1, 64, 100)
    with pytest.raises(SensorError, match="100 x 64 pixels: give the full sphere"):
        segmenter.segment(rgb, depth)
    with pytest.raises(SensorError, match="does not match rgb"):
        segmenter.segment(np.zeros((1, 64, 192, 3), np.uint8), depth)
    with pytest.raises(CheckpointError, match="embodied train vln/segmenter_houses"):
        Segmenter.load(tmp_path)


def test_checkpoints_of_others_are_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    from embodied.training.checkpoint import CheckpointStore

    optimizer = torch.optim.SGD(segmenter.network.parameters(), 0.1)
    folder = CheckpointStore(tmp_path / "checkpoints").save(
        1, segmenter, optimizer, SegmenterConfig(), {}, score=0.5
    )
    loaded = Segmenter.load(tmp_path)
    rgb, depth = _images(1, 64, 192)
    np.testing.assert_array_equal(loaded.segment(rgb, depth), segmenter.segment(rgb, depth))
    meta = json.loads((folder / "meta.json").read_text())
    for change, expected in (
        ({"policy": "recurrent"}, "belongs to 'recurrent'"),
        ({"inputs": {"categories": ["chair"]}}, "other categories"),
    ):
        (folder / "meta.json").write_text(json.dumps(meta | change))
        with pytest.raises(CheckpointError, match=expected):
            Segmenter.load(tmp_path)
    (folder / "meta.json").write_text(json.dumps(meta))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match="damaged.*digest"):
        Segmenter.load(tmp_path)


def test_the_best_class_is_that_of_the_full_logits(segmenter: Segmenter) -> None:
    rgb, depth = _images(2, *STRIP)
    segmenter.network.eval()
    with torch.inference_mode():
        logits = segmenter.network(prepare_images(torch.from_numpy(rgb), torch.from_numpy(depth)))
    assert logits.shape == (2, len(MPCAT40), *STRIP)
    assert (segmenter.segment(rgb, depth) == logits.argmax(dim=1).numpy()).mean() > 0.9999
