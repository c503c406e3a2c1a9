from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from embodied.categories import MPCAT40
from embodied.errors import CheckpointError, ConfigError
from embodied.perception.segmenter import Segmenter, SegmenterConfig
from embodied.tasks.navigation.config import SceneSource
from embodied.tasks.panoramas import PanoramaConfig, Panoramas, PanoramaSource
from embodied.training import segmenter as training
from embodied.training.log import read_metrics
from embodied.training.segmenter import (
    IGNORED,
    SegmenterLoop,
    SegmenterTraining,
    augment_panoramas,
    class_weights,
    confusion_matrix,
    evaluate_segmenter,
    intersection_over_union,
    train,
)

SCENE = SceneSource(count=2, rooms=(1, 2), textures=False)
TINY = SegmenterTraining(
    data=PanoramaConfig(scene=SCENE),
    network=SegmenterConfig(width=8),
    train=SegmenterLoop(
        updates=4, houses=1, places=8, passes=1, batch_size=4, checkpoint_every=2, val_houses=1,
        val_places=2,
    ),
)  # fmt: skip


def test_panoramas_agree_with_the_scene() -> None:
    source = PanoramaSource(TINY.data)
    found = source.draw_panoramas(np.random.default_rng(5), 2, 3)
    again = source.draw_panoramas(np.random.default_rng(5), 2, 3)
    assert found.rgb.shape == (6, 96, 192, 3)
    assert found.depth.shape == found.classes.shape == (6, 96, 192)
    np.testing.assert_array_equal(found.classes, again.classes)
    assert (found.classes[:, -1] == MPCAT40.index("floor")).mean() > 0.9  # straight down
    heights = found.depth[:, -1].mean(axis=1)
    assert ((heights > 1.05) & (heights < 1.75)).all()
    with pytest.raises(ConfigError, match="3 scenes"):
        source.draw_panoramas(np.random.default_rng(5), 3, 1)


def test_a_few_updates_teach_something_and_are_kept(tmp_path: Path) -> None:
    loop = replace(
        TINY.train, updates=6, passes=2, batch_size=2, learning_rate=5e-3, checkpoint_every=6
    )
    config = replace(TINY, train=loop)
    row = train(config, tmp_path / "run", quiet=True)
    rows = read_metrics(tmp_path / "run")
    assert len(rows) == 6
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    segmenter = Segmenter.load(tmp_path / "run")
    unseen = PanoramaSource(replace(TINY.data, scene=replace(SCENE, split="val", count=10_000)))
    found = evaluate_segmenter(segmenter, unseen.draw_panoramas(np.random.default_rng(0), 1, 2))
    assert found["accuracy"] == pytest.approx(row["accuracy"])
    assert found["miou_all"] == pytest.approx(row["miou_all"])


def test_a_killed_run_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(TINY, tmp_path / "whole", quiet=True)
    real, calls = training._Run.run_update, []

    def die(run: training._Run) -> dict[str, object]:
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("killed")
        return real(run)

    monkeypatch.setattr(training._Run, "run_update", die)
    with pytest.raises(RuntimeError, match="killed"):
        train(TINY, tmp_path / "cut", quiet=True)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="--resume"):
        train(TINY, tmp_path / "cut", quiet=True)
    train(TINY, tmp_path / "cut", resume=True, quiet=True)
    names = [tmp_path / run / "checkpoints/00000004/model.safetensors" for run in ("whole", "cut")]
    whole, cut = (load_file(name) for name in names)
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    losses = [[r["loss"] for r in read_metrics(tmp_path / run)] for run in ("whole", "cut")]
    assert losses[0] == losses[1]


def test_training_on_the_measured_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="measured on"):
        replace(TINY, data=PanoramaConfig(scene=SceneSource(split="val")))
    with pytest.raises(ConfigError, match="works on 192"):
        replace(TINY, data=PanoramaConfig(width=96))
    with pytest.raises(ConfigError, match=r"train\.batch_size = 0"):
        SegmenterLoop(batch_size=0)


def test_intersection_over_union_by_hand() -> None:
    truth = np.array([0, 0, 0, 1, 1, 2])
    guess = np.array([0, 0, 1, 1, 1, 3])
    table = confusion_matrix(truth, guess, 5)
    assert table[0].tolist() == [2, 1, 0, 0, 0]
    iou = intersection_over_union(table)
    np.testing.assert_allclose(iou[:3], [2 / 3, 2 / 3, 0])
    assert np.isnan(iou[3:]).all()  # predicted only, or nowhere


def test_nameless_pixels_are_not_measured() -> None:
    segmenter = Segmenter(SegmenterConfig(width=4))
    rgb, depth = np.zeros((1, 96, 192, 3), np.uint8), np.ones((1, 96, 192), np.float32)
    answer = segmenter.segment(rgb, depth)
    truth = answer.copy()
    truth[:, :, :90] = MPCAT40.index("unlabeled")
    found = evaluate_segmenter(segmenter, Panoramas(rgb, depth, truth))
    assert found["accuracy"] == found["miou_all"] == 1.0


def test_rare_classes_weigh_more_and_the_mean_is_one() -> None:
    classes = torch.tensor([1] * 90 + [3] * 10 + [IGNORED] * 50)
    weights = class_weights(classes)
    assert weights[3] / weights[1] == pytest.approx(3.0, rel=1e-4)
    assert 0.9 * weights[1] + 0.1 * weights[3] == pytest.approx(1.0, rel=1e-4)


def test_variation_moves_image_depth_and_classes_together() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(192).repeat(2, 64, 1)
    depth = classes.float()
    rgb = torch.full((2, 64, 192, 3), 128, dtype=torch.uint8)
    seen = set()
    for _ in range(8):
        colour, far, kinds = augment_panoramas(rgb, depth, classes, generator)
        assert torch.equal(far.long(), kinds)
        assert sorted(kinds[0, 0].tolist()) == list(range(192))
        assert 0 <= colour.min() <= colour.max() <= 1
        seen.add((int(kinds[0, 0, 0]), int(kinds[0, 0, 1] - kinds[0, 0, 0]) % 192))
    assert {step for _, step in seen} == {1, 191}  # mirrored or not
    assert len(seen) > 4
