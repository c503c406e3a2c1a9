"""The page that `embodied eval --explain` leaves beside its traces: the way and each decision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from embodied.categories import SOS_CATEGORIES, SOS_INDEX
from embodied.files import ensure_folder, write_text
from embodied.perception.landmarks import find_landmarks
from embodied.perception.sos import ReferenceSpectra
from embodied.policies.vln.trace import EXPLOIT
from embodied.tasks.vln.config import VLNConfig
from embodied.tasks.vln.houses import open_scene
from embodied.viz import explanations, report, traces
from embodied.viz.topdown import FloorPlan, render_floor_plan
from embodied.viz.traces import Explanation

PAGE_NAME = "index.html"
MAX_EPISODES = 12
"""Episodes drawn on a page: some 2 MB; the files hold all of them."""


def trace_file(folder: Path, episode: str) -> Path:
    """Return where the trace of an episode is kept."""
    return folder / ("".join(c if c.isalnum() or c in "-_." else "_" for c in episode) + ".json")


def save_trace(folder: Path, episode: str, trace: Mapping[str, Any]) -> None:
    """Write the trace of one episode."""
    text = json.dumps({**trace, "episode": episode}, default=_plain)
    write_text(trace_file(ensure_folder(folder), episode), text + "\n")


def write_page(folder: Path, episodes: Sequence[str], task: VLNConfig, line: str = "") -> Path:
    """Draw the traces of some episodes, at most `MAX_EPISODES` of them, as one page.

    Args:
        folder: of the traces; the page goes there, too.
        episodes: names of those just played; files of earlier calls are left alone.
        task: where they were played.
        line: the command, for the page's last section.

    Raises:
        NavigationError: a trace cannot be read.
        SceneError: a house cannot be built again for its picture.
    """
    every = [e for name in episodes for e in traces.load_traces(trace_file(folder, name))]
    shown = choose_episodes(every, MAX_EPISODES)
    facts = [("traces", str(folder))] + ([("command", line)] if line else [])
    page = explanations.build_explanation_page(
        shown,
        "Why it went there",
        plans=draw_floor_plans(shown, task) if task.dataset == "houses" else None,
        reference={e.name: compute_reference_spectrum(e.instruction) for e in shown},
        names=SOS_CATEGORIES,
        facts=facts,
        of=every,
    )
    return report.write_report(page, folder / PAGE_NAME)


def choose_episodes(explained: Sequence[Explanation], count: int) -> list[Explanation]:
    """Return the episodes to show: successes with a correction first, then the other ones, of
    different houses as long as there are some.
    """

    def merit(one: Explanation) -> tuple[bool, bool, int]:
        corrected = any(mode == EXPLOIT for mode, _ in one.segments)
        return corrected and one.metrics.get("success", 0) > 0, corrected, len(one.visited)

    ranked = sorted(explained, key=merit, reverse=True)
    picked: list[Explanation] = []
    for new_only in (True, False):
        for one in ranked:
            fresh = one.world not in {p.world for p in picked}
            if len(picked) < count and one not in picked and (fresh or not new_only):
                picked.append(one)
    return picked


def compute_reference_spectrum(instruction: str) -> NDArray[np.float32]:
    """Return the spectrum (K, F) of all landmarks of an instruction together."""
    rows = [mark.row for mark in find_landmarks(instruction)]
    references = ReferenceSpectra()
    if not rows:
        return np.zeros((len(SOS_INDEX), references.width // 2 + 1), np.float32)
    found: NDArray[np.float32] = references.compute_spectra(rows).amax(dim=0).numpy()
    return found


def draw_floor_plans(shown: Iterable[Explanation], task: VLNConfig) -> dict[str, FloorPlan]:
    """Return a picture of each house, of the storey its first episode begins on."""
    starts = {e.world: e.start[1] for e in reversed(list(shown))}
    plans = {}
    for name, height in tqdm(starts.items(), desc="floor plans", disable=None, leave=False):
        plans[name] = render_floor_plan(open_scene(task.houses, name), height)
    return plans


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
