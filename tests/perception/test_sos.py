"""Scene object spectra: invariances, closed forms, limits of the score, a plain second version."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embodied.categories import SOS_CATEGORIES, SOS_INDEX
from embodied.errors import ConfigError
from embodied.perception.sos import (
    SCALES,
    ReferenceSpectra,
    compute_s_nav,
    compute_spectrum,
    cosine_similarity,
    crop_sector,
)
from maps.panorama.canvas import boxes_to_canvas

MASKS = arrays(bool, (3, 8, 12), elements=st.booleans(), fill=st.just(False))


def plain_spectrum(canvas: np.ndarray, scale: str) -> np.ndarray:
    """The definition, as sums over all cells and all pairs of frequencies."""
    *lead, height, width = canvas.shape
    y, x = np.mgrid[:height, :width]
    rows = []
    for mask in canvas.reshape(-1, height, width):
        row = []
        for fx in range(width // 2 + 1):
            column = []
            for fy in range(height):
                wave = np.exp(-2j * np.pi * (fx * x / width + fy * y / height))
                size = abs((mask * wave).sum())
                column.append(np.log1p(size) if scale == "log1p" else size)
            row.append(np.mean(column))
        rows.append(row)
    return np.array(rows).reshape(*lead, -1)


@settings(max_examples=15, deadline=None)
@given(canvas=MASKS, scale=st.sampled_from(SCALES))
def test_it_is_the_definition(canvas: np.ndarray, scale: str) -> None:
    found = compute_spectrum(torch.from_numpy(canvas), scale).numpy()
    assert found.shape == (3, 7)
    assert found == pytest.approx(plain_spectrum(canvas, scale), abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(canvas=MASKS, turn=st.integers(0, 11), scale=st.sampled_from(SCALES))
def test_turning_around_changes_nothing(canvas: np.ndarray, turn: int, scale: str) -> None:
    still = compute_spectrum(torch.from_numpy(canvas), scale)
    turned = compute_spectrum(torch.from_numpy(np.roll(canvas, turn, axis=-1)), scale)
    assert turned.numpy() == pytest.approx(still.numpy(), abs=1e-4)


def dirichlet(cells: int, count: int, frequencies: np.ndarray) -> np.ndarray:
    """|sum of exp(-2 pi i f n / count) over `cells` neighbours|, in closed form."""
    angle = np.pi * frequencies / count
    with np.errstate(invalid="ignore"):
        found = np.abs(np.sin(cells * angle) / np.sin(angle))
    return np.where(frequencies == 0, cells, found)


@settings(deadline=None)
@given(
    high=st.integers(1, 32),
    wide=st.integers(1, 96),
    top=st.integers(0, 31),
    left=st.integers(0, 95),
)
def test_a_box_has_the_lobes_of_its_width(high: int, wide: int, top: int, left: int) -> None:
    mask = torch.zeros(1, 32, 96, dtype=torch.bool)
    high = min(high, 32 - top)
    mask[0, top : top + high, [(left + i) % 96 for i in range(wide)]] = True
    across = dirichlet(wide, 96, np.arange(49))
    down = dirichlet(high, 32, np.arange(32)).mean()
    assert compute_spectrum(mask)[0].numpy() == pytest.approx(across * down, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_batches_types_and_odd_sizes_agree(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    canvas = torch.rand(4, 5, 7, 9) < 0.2
    canvas[1] = False
    batch = compute_spectrum(canvas.to(dtype))
    assert batch.shape == (4, 5, 5)
    assert torch.allclose(batch, torch.stack([compute_spectrum(one) for one in canvas]), atol=1e-5)
    assert not batch[1].any()
    assert compute_spectrum(canvas[:0]).shape == (0, 5, 5)


def test_long_batches_are_whole() -> None:
    canvas = torch.rand(40, 33, 8, 8) < 0.1
    dense = torch.fft.rfft2(canvas.float()).abs().mean(dim=-2)
    assert torch.allclose(compute_spectrum(canvas), dense, atol=1e-5)


def test_rows_of_unit_length_forget_the_area() -> None:
    canvas = torch.from_numpy(boxes_to_canvas([1, 2], [[1, 0, 1, 1], [3, 0, 0.2, 0.2]], 4))
    norms = compute_spectrum(canvas, row_l2=True).norm(dim=-1)
    assert norms.tolist() == pytest.approx([0, 1, 1, 0], abs=1e-6)


def test_an_unknown_scale_is_named() -> None:
    with pytest.raises(ConfigError, match="log1p"):
        compute_spectrum(torch.zeros(1, 2, 2), "log")  # type: ignore[arg-type]


def test_a_sector_keeps_what_lies_in_its_direction() -> None:
    boxes = [[0.1, 0, 0.2, 0.2], [np.pi, 0, 0.2, 0.2]]
    canvas = torch.from_numpy(boxes_to_canvas([0, 1], boxes, 3))
    north = crop_sector(canvas, 0.0)
    assert torch.equal(north[0], canvas[0])
    assert not north[1].any()
    assert north.dtype == torch.bool
    both = crop_sector(torch.stack([canvas, canvas]), torch.tensor([-2 * np.pi, 3.2]))
    assert torch.equal(both[0], north)
    assert torch.equal(both[1][1], canvas[1])
    assert not both[1][0].any()
    full = torch.ones(1, 4, 96, dtype=torch.bool)
    assert crop_sector(full, 1.0).sum() == 4 * 24


def test_a_sector_turned_with_the_panorama_is_the_same_sector() -> None:
    canvas = torch.rand(4, 8, 96) < 0.3
    turned = crop_sector(canvas.roll(24, dims=-1), 0.5 + np.pi / 2)
    assert torch.equal(turned, crop_sector(canvas, 0.5).roll(24, dims=-1))


# -- references ---


def test_a_word_is_the_spectrum_of_one_box_of_its_size() -> None:
    sizes = [(0.5, 0.5)] * len(SOS_CATEGORIES)
    sizes[2] = (np.radians(45), np.radians(15))
    found = ReferenceSpectra(tuple(sizes)).compute_spectra([2, 0])
    assert found.shape == (2, len(SOS_CATEGORIES), 49)
    expected = dirichlet(12, 96, np.arange(49)) * dirichlet(4, 32, np.arange(32)).mean()
    assert found[0, 2].numpy() == pytest.approx(expected, rel=1e-4, abs=1e-3)
    assert found[0].sum(dim=-1).count_nonzero() == 1
    assert found[1, 0, 0] > 0


def test_references_fit_save_and_load(tmp_path: Path) -> None:
    boxes = np.zeros((12, 4))
    boxes[:, 2] = np.linspace(0.1, 1.2, 12)
    boxes[:, 3] = 0.3
    categories = np.array([4] * 11 + [6])
    fitted = ReferenceSpectra.fit(categories, boxes, scale="log1p")
    assert fitted.sizes[4] == pytest.approx((0.6, 0.3))
    assert fitted.sizes[6] == pytest.approx((np.radians(30),) * 2)
    assert fitted.scale == "log1p"
    fitted.save(tmp_path / "sizes.json")
    again = ReferenceSpectra.load(tmp_path / "sizes.json", scale="log1p")
    assert np.allclose(again.sizes, fitted.sizes, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"degrees": {"chiar": [10, 10]}}, "chair"),
        ({"degrees": {"chair": [10]}}, "width, height"),
        ({"degrees": {"chair": [10, -1]}}, "above 0"),
        ([], "no table"),
    ],
)
def test_bad_reference_files_are_refused(tmp_path: Path, content: object, message: str) -> None:
    file = tmp_path / "sizes.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=message):
        ReferenceSpectra.load(file)


def test_a_missing_reference_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json"):
        ReferenceSpectra.load(tmp_path / "none.json")


# -- scores ---


def plain_s_nav(words: np.ndarray, places: np.ndarray) -> float:
    """The printed equation, sum by sum."""
    count, steps = len(words), len(places)
    mean_d, mean_s = words.mean(axis=0), places.mean(axis=0)
    top = 0.0
    for d in words:
        for s in places:
            norm = np.linalg.norm(d) * np.linalg.norm(s)
            top += (d @ s / norm if norm > 0 else 0.0) * ((d - mean_d) @ (s - mean_s))
    spread_d = sum(np.sum((d - mean_d) ** 2) for d in words)
    spread_s = sum(np.sum((s - mean_s) ** 2) for s in places)
    return float(top / np.sqrt(steps / count * spread_d * spread_s))


NUMBERS = st.integers(0, 50).map(float)


@settings(max_examples=60, deadline=None)
@given(
    words=arrays(np.float64, st.tuples(st.integers(2, 4), st.just(6)), elements=NUMBERS),
    places=arrays(np.float64, st.tuples(st.integers(2, 5), st.just(6)), elements=NUMBERS),
    order=st.randoms(use_true_random=False),
)
def test_s_nav_is_the_printed_equation(
    words: np.ndarray, places: np.ndarray, order: object
) -> None:
    d, s = torch.from_numpy(words), torch.from_numpy(places)
    varied = np.ptp(words, axis=0).any() and np.ptp(places, axis=0).any()
    score = compute_s_nav(d, s)
    if not varied:
        return
    assert score.branches == ["snav"]
    assert float(score.values) == pytest.approx(plain_s_nav(words, places), abs=1e-4)
    assert abs(float(score.values)) <= len(words) + 1e-5
    rows, columns = list(range(len(words))), list(range(len(places)))
    order.shuffle(rows)  # type: ignore[attr-defined]
    order.shuffle(columns)  # type: ignore[attr-defined]
    assert float(compute_s_nav(d[rows], s[columns]).values) == pytest.approx(
        float(score.values), abs=1e-5
    )


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_one_to_one_match_of_different_things_scores_one(count: int) -> None:
    words = ReferenceSpectra().compute_spectra(range(count))
    assert float(compute_s_nav(words, words).values) == pytest.approx(1.0, abs=1e-5)


def test_places_that_match_nothing_lower_the_score_and_missing_words_too() -> None:
    words = ReferenceSpectra().compute_spectra(range(4))
    extra = torch.cat([words, torch.zeros_like(words[:1])])
    assert 0 < float(compute_s_nav(words, extra).values) < 0.95
    assert 0 < float(compute_s_nav(words, words[:2]).values) < 0.95


def test_the_fallback_is_the_best_cosine_of_the_goal_word() -> None:
    words = ReferenceSpectra().compute_spectra([0, 1])
    places = torch.stack([words[0], words[0] + words[1], words[1] * 0])
    one = compute_s_nav(words[1:], places)
    assert one.branches == ["fallback"]
    assert float(one.values) == pytest.approx(np.sqrt(0.5), abs=1e-5)
    single = compute_s_nav(words, places[:1], goal=0)
    assert single.branches == ["fallback"]
    assert float(single.values) == pytest.approx(1.0, abs=1e-5)
    twice = compute_s_nav(words[[1, 1]], places)
    assert twice.branches == ["fallback"]
    assert float(twice.values) == pytest.approx(np.sqrt(0.5), abs=1e-5)


def test_trajectories_over_shared_places_score_as_each_alone() -> None:
    torch.manual_seed(1)
    words, places = torch.rand(3, 4, 5), torch.rand(6, 4, 5)
    paths = torch.tensor([[1, 1, 0, 0, 1, 0], [1, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0]]).bool()
    together = compute_s_nav(words, places, paths, goal=1)
    alone = [compute_s_nav(words, places[path], goal=1) for path in paths]
    assert together.branches == ["snav", "snav", "fallback"]
    assert together.values.tolist() == pytest.approx([float(a.values) for a in alone], abs=1e-6)


def test_seeing_nothing_scores_nothing() -> None:
    words = ReferenceSpectra().compute_spectra([0, 1])
    score = compute_s_nav(words, torch.zeros(3, *words.shape[1:]))
    assert float(score.values) == 0.0
    assert not cosine_similarity(words, torch.zeros(2, *words.shape[1:])).any()


def test_no_word_or_no_place_is_an_error() -> None:
    words = ReferenceSpectra().compute_spectra([0])
    with pytest.raises(ValueError, match="at least one"):
        compute_s_nav(words[:0], words)
    with pytest.raises(ValueError, match="at least one"):
        compute_s_nav(words, words, torch.zeros(1, 1, dtype=torch.bool))


def test_what_was_looked_for_is_found_among_other_places() -> None:
    sofa, bed = SOS_INDEX["sofa"], SOS_INDEX["bed"]
    boxes = [[2.0, -0.2, 0.7, 0.4], [4.0, -0.3, 0.9, 0.4]]
    seen = np.stack(
        [boxes_to_canvas([k], [b], 33) for k, b in zip((sofa, bed), boxes, strict=True)]
    )
    table = cosine_similarity(
        ReferenceSpectra().compute_spectra([bed, sofa]), compute_spectrum(torch.from_numpy(seen))
    )
    assert table.argmax(dim=1).tolist() == [1, 0]
    assert table.diagonal().max() < 1e-6
