from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from embodied.categories import SOS_INDEX
from embodied.errors import ConfigError, SensorError
from embodied.perception.detection import Detections, Detector, detect_ground_truth
from embodied.perception.panorama import (
    find_canvas_row,
    group_detections,
    observation_from_panorama,
    observation_from_views,
)
from maps.panorama.views import IMAGE_HEIGHT, IMAGE_WIDTH, angles_to_pixels, compute_view_angles
from tests.perception.tiny_models import save_contrastive, save_grounding_dino, save_owlv2

LABELS = ["red chair", "table"]
SAVE = {"owlv2": save_owlv2, "grounding": save_grounding_dino}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("detectors")
    for family, save in SAVE.items():
        save(root / family)
    return root


@pytest.mark.parametrize("family", SAVE)
def test_detections_are_sound_and_do_not_depend_on_the_batch(
    models: Path, images: np.ndarray, family: str
) -> None:
    detector = Detector.load(models / family)
    found = detector.detect(images, LABELS, 0.0)
    assert len(found) == 3
    assert sum(map(len, found)) > 3
    for one in found:
        assert one.boxes.shape == (len(one), 4)
        assert one.boxes.dtype == one.scores.dtype == np.float32
        assert set(one.labels) <= set(LABELS)
        assert (np.diff(one.scores) <= 0).all()
        assert (one.boxes[:, :2] >= 0).all()
        assert (one.boxes[:, 2:] <= (64, 48)).all()
        assert (one.boxes[:, 2:] - one.boxes[:, :2] >= 1).all()
    alone = Detector.load(models / family, batch=1).detect(images, LABELS, 0.0)
    for one, two in zip(found, alone, strict=True):
        assert one.labels == two.labels
        np.testing.assert_allclose(one.boxes, two.boxes, atol=1e-3)
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)
    middle = float(np.median(found[0].scores))
    fewer = detector.detect(images[:1], LABELS, middle)[0]
    assert len(fewer) == (found[0].scores >= middle).sum() < len(found[0])


def test_owlv2_agrees_with_its_own_postprocessing(models: Path, images: np.ndarray) -> None:
    from transformers import Owlv2ForObjectDetection, Owlv2Processor

    model = Owlv2ForObjectDetection.from_pretrained(models / "owlv2").eval()
    processor = Owlv2Processor.from_pretrained(models / "owlv2")
    texts = [[f"a photo of a {label}" for label in LABELS]] * 3
    inputs = processor(images=list(images), text=texts, return_tensors="pt")
    with torch.inference_mode():
        output = model(**inputs)
    theirs = processor.post_process_grounded_object_detection(
        output, threshold=0.0, target_sizes=[(48, 64)] * 3
    )
    _same(Detector.load(models / "owlv2").detect(images, LABELS, 0.0), theirs)


def test_grounding_dino_agrees_with_its_own_postprocessing(
    models: Path, images: np.ndarray
) -> None:
    from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

    model = GroundingDinoForObjectDetection.from_pretrained(models / "grounding").eval()
    processor = GroundingDinoProcessor.from_pretrained(models / "grounding")
    inputs = processor(images=list(images), text=[["table"]] * 3, return_tensors="pt")
    with torch.inference_mode():
        output = model(**inputs)
    # Its score is the best of all tokens; ours that of the label's words: [CLS] table . [SEP]
    output.logits = output.logits[..., 1:2]
    theirs = processor.post_process_grounded_object_detection(
        output, inputs["input_ids"], threshold=0.0, target_sizes=[(48, 64)] * 3
    )
    _same(Detector.load(models / "grounding").detect(images, ["table"], 0.0), theirs)


def _same(ours: list[Detections], theirs: list[dict[str, torch.Tensor]]) -> None:
    """Compare up to the order and to clipping at the image's edges, which theirs lack."""
    for one, two in zip(ours, theirs, strict=True):
        boxes = two["boxes"].numpy().clip(0, (64, 48, 64, 48))
        shown = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        order = np.argsort(-two["scores"].numpy()[shown], kind="stable")
        np.testing.assert_allclose(one.scores, two["scores"].numpy()[shown][order], atol=1e-5)
        np.testing.assert_allclose(one.boxes, boxes[shown][order], atol=1e-2)


def test_a_label_of_several_words_owns_their_tokens_alone(models: Path) -> None:
    from embodied.perception.detection import _owners

    detector = Detector.load(models / "grounding")
    labels = ["red chair", "table", "chest of drawers"]
    prompt = " ".join(f"{label}." for label in labels)
    words = detector._processor.tokenizer(prompt, return_offsets_mapping=True)
    # [CLS] red chair . table . chest of drawers . [SEP]
    assert _owners(words["offset_mapping"], labels) == [-1, 0, 0, -1, 1, -1, 2, 2, 2, -1, -1]


def test_bad_requests_are_named(models: Path, images: np.ndarray, tmp_path: Path) -> None:
    detector = Detector.load(models / "owlv2")
    for bad in ([], ["chair", " . "], ["Chair", "chair"]):
        with pytest.raises(ConfigError, match="different names"):
            detector.detect(images, bad)
    with pytest.raises(ConfigError, match="threshold = 2"):
        detector.detect(images, LABELS, 2)
    with pytest.raises(SensorError, match="uint8"):
        detector.detect(images[0], LABELS)
    with pytest.raises(ConfigError, match="'clip' model.*Allowed: grounding-dino"):
        Detector.load(save_contrastive("clip", tmp_path / "clip"))
    many = [f"chair {'a ' * i}" for i in range(12)]
    with pytest.raises(ConfigError, match="more than the 32"):
        Detector.load(models / "grounding").detect(images, many)


def test_true_detections_are_the_boxes_of_instances() -> None:
    instance = np.zeros((1, 20, 40), np.int32)
    instance[0, 2:8, 5:15] = 3
    instance[0, 10:15, 36:] = 7  # across the edge
    instance[0, 10:15, :4] = 7
    instance[0, 0, 0] = 9  # too small
    names = {3: "chair", 7: "sofa", 9: "cup"}
    flat = detect_ground_truth(instance, names)[0]
    assert flat.labels == ("chair", "sofa")
    assert flat.boxes.tolist() == [[5, 2, 15, 8], [0, 10, 40, 15]]
    ring = detect_ground_truth(instance, names, panorama=True)[0]
    assert ring.boxes.tolist() == [[5, 2, 15, 8], [36, 10, 44, 15]]
    assert ring.scores.tolist() == [1.0, 1.0]
    assert len(detect_ground_truth(instance, ["", "", "", "chair"], min_pixels=61)[0]) == 0


_EMPTY = (np.zeros((0, 4), np.float32), (), np.zeros(0, np.float32))


def test_labels_find_their_row() -> None:
    assert find_canvas_row("chest of drawers") == SOS_INDEX["chest_of_drawers"]
    assert find_canvas_row("potted plant") == SOS_INDEX["plant"]
    assert find_canvas_row("red armchair") == SOS_INDEX["chair"]
    assert find_canvas_row("wall") == -1


def _views_of(things: dict[str, tuple[float, float, float]]) -> list[Detections]:
    """Draw round things (heading, elevation, angular radius) into the 36 views as boxes."""
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    found = []
    for view, (_, tilt) in enumerate(compute_view_angles()):
        boxes, labels = [], []
        for label, (heading, elevation, radius) in things.items():
            at = heading + radius * np.cos(turn) / np.cos(elevation)
            x, y = angles_to_pixels(view, at, elevation + radius * np.sin(turn))
            if not np.isfinite(x).all():
                continue
            left, right = np.clip([x.min(), x.max()], 0, IMAGE_WIDTH)
            top, bottom = np.clip([y.min(), y.max()], 0, IMAGE_HEIGHT)
            if right - left > 2 and bottom - top > 2:
                boxes.append((left, top, right, bottom))
                labels.append(label)
        scores = np.full(len(labels), 0.9 - 0.1 * abs(tilt))
        found.append(Detections(np.array(boxes, np.float32).reshape(-1, 4), tuple(labels), scores))
    return found


def test_one_object_seen_in_many_views_is_one_object() -> None:
    things = {"sofa": (0.05, -0.2, 0.15), "potted plant": (2.5, 0.1, 0.1)}
    found = _views_of(things)
    assert sum(len(f) for f in found) > 8  # each in several views
    percept = observation_from_views(found, first_id=10)
    assert sorted(percept.names) == ["potted plant", "sofa"]
    assert percept.objects.tolist() == [10, 11]
    for name, box, row in zip(percept.names, percept.boxes, percept.categories, strict=True):
        heading, elevation, radius = things[name]
        assert abs(np.angle(np.exp(1j * (box[0] - heading)))) < 0.03
        assert abs(box[1] - elevation) < 0.03
        np.testing.assert_allclose(box[2:], 2 * radius, rtol=0.15)
        centre = (int((np.pi / 3 - elevation) / (2 * np.pi / 3) * 32),
                  int(heading / (2 * np.pi) * 96))  # fmt: skip
        assert percept.canvas[row][centre]
    other = [row for row in SOS_INDEX.values() if row not in percept.categories]
    assert not percept.canvas[other].any()


def test_two_chairs_side_by_side_stay_two() -> None:
    found = _views_of({"chair": (1.0, -0.2, 0.1), "chair ": (1.5, -0.2, 0.1)})
    found = [Detections(f.boxes, tuple(n.strip() for n in f.labels), f.scores) for f in found]
    percept = observation_from_views(found)
    assert percept.names == ("chair", "chair")
    assert sorted(np.round(percept.boxes[:, 0], 1).tolist()) == [1.0, 1.5]


def test_boxes_of_one_view_never_join() -> None:
    angles = np.array([[0.0, 0.0, 0.2, 0.2], [0.01, 0.0, 0.2, 0.2], [0.0, 0.0, 0.2, 0.2]])
    owner = group_detections(["lamp"] * 3, np.array([4, 4, 5]), angles, np.array([0.9, 0.8, 0.7]))
    assert owner[0] != owner[1]
    assert owner[2] == owner[0]


def test_a_panorama_puts_boxes_where_they_are() -> None:
    boxes = np.array([[44, 20, 52, 28], [92, 24, 100, 32]], np.float32)  # ahead; across the edge
    found = Detections(boxes, ("chair", "sofa"), np.ones(2, np.float32))
    percept = observation_from_panorama(found, (48, 96), heading=np.pi / 2)
    np.testing.assert_allclose(percept.boxes[0], [np.pi / 2, 0, np.pi / 6, np.pi / 6], atol=1e-5)
    np.testing.assert_allclose(percept.boxes[1, :2], [3 * np.pi / 2, -np.pi / 12], atol=1e-5)
    assert percept.canvas[SOS_INDEX["chair"]][:, 24].any()
    assert percept.canvas[SOS_INDEX["sofa"]][:, 72].any()
    nothing = observation_from_panorama(Detections(*_EMPTY), (48, 96))
    assert not nothing.canvas.any()
    with pytest.raises(SensorError, match="twice as wide"):
        observation_from_panorama(found, (48, 64))
    with pytest.raises(SensorError, match="give 36"):
        observation_from_views([found])
