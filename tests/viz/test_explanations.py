from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embodied.categories import SOS_CATEGORIES
from embodied.errors import NavigationError
from embodied.policies.vln.trace import END, EXPLOIT, EXPLORE, START, DecisionRecord, EpisodeTrace
from embodied.viz.decisions import COLORS, draw_choice, draw_spectra, draw_way
from embodied.viz.explanations import build_explanation_page
from embodied.viz.report import render_report
from embodied.viz.traces import Explanation, load_traces, parse_trace
from tests.tasks.conftest import build_flat


def trace() -> dict[str, Any]:
    """An agent goes wrong once: 0 -> 1, then back and on to the place 3 that 0 had seen."""
    places = {0: (0.0, 0.0), 1: (2.0, 0.0), 2: (4.0, 0.0), 3: (0.0, -2.0), 4: (0.0, -4.0)}
    points = {k: np.array([x, 0.0, z]) for k, (x, z) in places.items()}
    told = EpisodeTrace("go to the bed & stop")
    near = {0: (1, 3), 1: (0, 2), 3: (0, 4)}
    for place, because in ((0, START), (1, EXPLORE), (0, EXPLOIT), (3, EXPLOIT)):
        others = near[place]
        told.record_place(
            place, points[place], others, np.array([points[o] for o in others]), because
        )
    spectrum = np.zeros((len(SOS_CATEGORIES), 49), np.float32)
    spectrum[SOS_CATEGORIES.index("bed")] = np.exp(-np.arange(49) / 9)
    told.decisions = [
        DecisionRecord(0, 0, 0, EXPLORE, 1, candidates=(-1, 1, 3), scores=(0, 1.5, 1.25)),
        DecisionRecord(
            1, 1, 1, EXPLOIT, 3, p_exploit=0.875, rule="sos", branch="snav",
            candidates=(2, 3), scores=(0.25, 0.75), landmarks=("bed",), spectrum=spectrum,
        ),
        DecisionRecord(2, 3, 3, END, -1, p_stop=0.9),
    ]  # fmt: skip
    extra = {"episode": "ep7", "world": "flat", "start": [-2.0, 0.0, 1.0]}
    return told.to_json(goals=(3,)) | extra | {"metrics": {"success": 1.0, "spl": 0.4}}


def near_color(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - color).max(axis=2) < 12).sum())


def test_a_trace_is_read_back() -> None:
    told = parse_trace(trace())
    assert told.name == "ep7"
    assert told.goals == (3,)
    assert [mode for mode, _ in told.segments] == [EXPLORE, EXPLOIT]
    assert told.segments[1][1] == (1, 0, 3)
    assert told.get_position(1).tolist() == [0.0, 0.0, 1.0]
    (correction,) = told.corrections
    assert correction.p_exploit == 0.875
    assert correction.categories[0] == ("bed", pytest.approx(1.0))
    assert np.isnan(told.decisions[0].p_exploit)


def test_a_decision_is_shown_as_the_agent_knew_it() -> None:
    told = parse_trace(trace())
    assert told.path == [0, 1, 0, 3]
    early = told.truncate_at(1)
    assert early.visited == {0, 1}
    assert set(early.places) == {0, 1, 2, 3}  # place 4 is only seen from 3
    assert early.segments == [(EXPLORE, (0, 1))]
    assert told.truncate_at(2).segments == [(EXPLORE, (0, 1)), (EXPLOIT, (1, 0))]
    assert told.truncate_at(0).segments == []
    assert told.truncate_at(0).visited == {0}


def test_way_has_one_colour_per_mode() -> None:
    told = parse_trace(trace())
    image = draw_way(told, size=400)
    assert image.shape == (400, 400, 3)
    blue, red = near_color(image, COLORS[EXPLORE]), near_color(image, COLORS[EXPLOIT])
    assert 1.5 * blue < red < 3.5 * blue  # 2 m out, 2 m back beside it and 2 m on
    only = Explanation(told.name, "", told.places, segments=[(EXPLORE, (0, 1))])
    image = draw_way(only, size=400)
    assert near_color(image, COLORS[EXPLORE]) > 0
    assert near_color(image, COLORS[EXPLOIT]) == 0


def test_way_over_a_scene_uses_world_positions() -> None:
    from embodied.viz.topdown import render_floor_plan

    told = parse_trace(trace())
    plan = render_floor_plan(build_flat(), size=300)
    image = draw_way(told, plan)
    assert image.shape == (300, 300, 3)
    scale = 300 / (plan.high[0] - plan.low[0])
    # the last stretch goes from world (-2, 1) to (-2, -1): its middle is red
    x, z = -2.0 - plan.low[0], 0.4 - plan.low[1]
    patch = image[round(z * scale) - 3 : round(z * scale) + 3, round(x * scale) - 3 :][:, :6]
    assert near_color(patch, COLORS[EXPLOIT]) > 0


def test_scores_are_drawn_at_the_candidates() -> None:
    told = parse_trace(trace())
    with_scores = draw_choice(told, told.corrections[0], size=400)
    without = draw_choice(told, told.decisions[2], size=400)
    assert (with_scores != without).any(axis=2).sum() > 200


def test_spectra_show_wanted_rows_first() -> None:
    count = len(SOS_CATEGORIES)
    seen, wanted = np.zeros((count, 49)), np.zeros((count, 49))
    seen[3], seen[5] = 9.0, 1.0
    wanted[7] = 1.0
    one = draw_spectra(seen, None, SOS_CATEGORIES)
    two = draw_spectra(seen, wanted, SOS_CATEGORIES)
    assert two.shape[0] > one.shape[0]
    assert near_color(two, COLORS[EXPLORE]) > 0  # the reference's strip
    assert near_color(one, COLORS[EXPLORE]) == 0


def test_page_tells_the_story(tmp_path: Path) -> None:
    told = parse_trace(trace())
    text = render_report(build_explanation_page([told], "Why", names=SOS_CATEGORIES))
    for word in ("go to the bed &amp; stop", "ep7", "snav", "0.88", "Success", "1 of 1"):
        assert word in text
    assert text.count("data:image/png") == 3  # way, correction, spectrum
    assert "67 %" in text  # two of three moves


def test_files_and_folders_load(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(trace()))
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(trace()) for _ in range(2)))
    assert len(load_traces(tmp_path)) == 3
    assert len(load_traces(tmp_path / "b.jsonl")) == 2


def test_bad_traces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NavigationError, match="--explain"):
        load_traces(tmp_path)
    (tmp_path / "cut.json").write_text('{"places": ')
    with pytest.raises(NavigationError, match="cut.json"):
        load_traces(tmp_path)
    wrong = trace()
    wrong["edges"].append([0, 99])
    with pytest.raises(NavigationError, match="place 99"):
        parse_trace(wrong)
    with pytest.raises(NavigationError, match="instruction"):
        parse_trace({k: v for k, v in trace().items() if k != "instruction"})
