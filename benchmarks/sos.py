"""Cost of scene object spectra on one core: `embodied bench sos`.

CPU time per panorama at batch 64, canvases of 33 x 32 x 96 cells. `house`: rendered from furnished
houses, ground-truth semantics. `full`: noise in every category, which no real place shows. `dense`
is one transform over everything, the yardstick in the same run. `decision`: describing and scoring
20 unvisited places of a map with 15 visited ones, nothing kept from earlier decisions.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from embodied.categories import SOS_CATEGORIES, SOS_INDEX
from embodied.perception.sos import ReferenceSpectra, compute_spectrum
from embodied.policies.vln.local_goals import build_frontier_context, score_frontiers
from embodied.policies.vln.seen_spectra import InstructionWords, SceneMemory
from embodied.simulators.base import CameraSpec
from embodied.simulators.embedded import Simulator
from embodied.simulators.houses import generate_house
from maps.graph.viewgraph import ViewGraph
from maps.panorama.canvas import boxes_to_canvas, semantic_to_canvas

BATCH, COUNT = 64, len(SOS_CATEGORIES)
TARGETS = {
    "bench.sos.house.lin.ms": 1.0,
    "bench.sos.house.log1p.ms": 1.0,
}


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median CPU time of `work` [ms] after one unmeasured call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - start)
    return float(np.median(times)) / 1e6


def house_canvases(count: int = BATCH, houses: int = 4) -> torch.Tensor:
    """Render places of furnished houses, (count, K, 32, 96)."""
    camera = CameraSpec(
        ("semantic",), 192, 96, position=(0.0, 1.4, 0.0), projection="equirectangular"
    )
    canvases = []
    for seed in range(houses):
        simulator = Simulator(generate_house(seed, rooms=6), camera, seed=seed)
        simulator.place_randomly(count // houses)
        table = np.array([SOS_INDEX.get(name, -1) for name in simulator.scene.categories])
        images = table[simulator.get_observations()["semantic"]]
        canvases += [
            semantic_to_canvas(image, COUNT, -yaw)
            for image, yaw in zip(images, simulator.yaw, strict=True)
        ]
    return torch.from_numpy(np.stack(canvases))


def decision() -> Callable[[], object]:
    """Return one decision of S_nav on a made-up map."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-8, 8, (80, 3)) * (1, 0, 1)
    graph, memory = ViewGraph(), []
    for place in range(15):
        near = [(place + 1) % 15, *(15 + (4 * place + i) % 20 for i in range(4))]
        graph.visit_place(place, points[place], near, points[near])
        boxes = np.column_stack(
            [rng.uniform(0, 6.28, 15), rng.normal(0, 0.3, 15), rng.uniform(0.1, 1, (15, 2))]
        )
        memory.append(boxes_to_canvas(rng.integers(0, COUNT, 15), boxes, COUNT))
    words = InstructionWords.from_instruction(
        "go past the sofa and the bed to the lamp and open the window", ReferenceSpectra()
    )

    def work() -> object:
        seen = SceneMemory()
        for place, canvas in enumerate(memory):
            seen.add_view(place, canvas)
        context = build_frontier_context(graph, 0, 14, memory=seen, words=words)
        return score_frontiers("sos", context)

    return work


def run(quick: bool = False) -> dict[str, float]:
    """Measure and print."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure(5 if quick else 31)
    finally:
        torch.set_num_threads(threads)


def _measure(repeats: int) -> dict[str, float]:
    houses = house_canvases()
    torch.manual_seed(0)
    full = torch.rand(BATCH, COUNT, 32, 96) < 0.3
    found = {}
    for name, canvases in (("house", houses), ("full", full)):
        for scale in ("lin", "log1p"):
            cost = milliseconds(lambda c=canvases, s=scale: compute_spectrum(c, s), repeats) / BATCH
            found[f"bench.sos.{name}.{scale}.ms"] = cost
        floats = canvases.float()
        dense = milliseconds(lambda f=floats: torch.fft.rfft2(f).abs().mean(dim=-2), repeats)
        found[f"bench.sos.{name}.dense.ms"] = dense / BATCH
    found["bench.sos.categories_in_sight"] = float(houses.any(dim=(2, 3)).sum(dim=1).float().mean())
    found["bench.sos.decision.ms"] = milliseconds(decision(), repeats)
    for key, value in found.items():
        unit = " ms" if key.endswith(".ms") else ""
        limit = f"   (limit {TARGETS[key]:g})" if key in TARGETS else ""
        print(f"{key:<36}{value:8.3f}{unit}{limit}")
    return found
