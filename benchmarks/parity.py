"""How far the embedded simulator agrees with values recorded from real habitat-sim.

Reads `../shared/data/habitat_reference` beside the checkout (see its README). Every figure is a
share of comparisons; what deviates and why is told in `embodied.simulators.parity` and
`embodied.simulators.parity_navigation`.
"""

from __future__ import annotations

from pathlib import Path

from embodied.results import Metric, compute_wilson_interval
from embodied.simulators.parity import measure_depth_parity
from embodied.simulators.parity_navigation import CHECKS, SCENES, measure_navigation_parity

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "habitat_reference"
TARGETS = {
    "parity.depth.within_1cm": 0.99,
    "parity.depth.median_error_m": 0.001,
    "parity.navigable": 0.97,
    "parity.topdown": 0.97,
    "parity.geodesic": 0.95,
    "parity.reachability": 0.95,
    "parity.rollout_heading": 1.0,
    "parity.rollout": 0.95,
    "parity.rollout.within_3cm": 0.75,
    "parity.collided": 0.9,
}
KEYS = {"rollout_10cm": "rollout", "rollout_3cm": "rollout.within_3cm"}
"""Published names that differ from the name of the check."""


def run(quick: bool = False) -> dict[str, Metric]:
    """Compare images and navigation; keys `parity.*`. There is no shorter run than the whole one.

    Raises:
        SceneError: the recorded values are not there.
    """
    depth = measure_depth_parity(REFERENCE)
    navigation = measure_navigation_parity(REFERENCE)
    results = {
        "parity.depth.within_1cm": _share(depth["within_1cm"], depth["pixels"]),
        "parity.depth.median_error_m": Metric(
            depth["median_error"], int(depth["pixels"]), (depth["median_error"],) * 2
        ),
    }
    for check in CHECKS:
        key = f"parity.{KEYS.get(check, check)}"
        results[key] = _share(navigation[check], navigation[f"{check}.count"])
    print(f"{'agreement with habitat-sim':28}{'all':>9}" + "".join(f"{s:>13}" for s in SCENES))
    _row("depth within 1 cm", "within_1cm", depth)
    for check in CHECKS:
        _row(check, check, navigation)
    print(f"depth, median error: {depth['median_error'] * 1e3:.3f} mm")
    return results


def _share(value: float, count: float) -> Metric:
    return Metric(value, int(count), compute_wilson_interval(round(value * count), int(count)))


def _row(name: str, check: str, values: dict[str, float]) -> None:
    scenes = "".join(f"{values[f'{scene}.{check}']:13.4f}" for scene in SCENES)
    print(f"{name:28}{values[check]:9.4f}{scenes}")


if __name__ == "__main__":
    run()
