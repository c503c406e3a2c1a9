"""Write docs/results/speed.md from the published figures: `python -m benchmarks._tables`.

Reads docs/results/foundation.json, which the benchmarks fill with `embodied bench NAME --json`.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path

from benchmarks import maps, nav, parity, sim, step
from embodied.files import write_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results" / "foundation.json"
SECTIONS = {
    "Ray casting (`embodied bench sim`)": sim.TARGETS,
    "A whole environment step (`embodied bench step`)": step.TARGETS,
    "Navigation queries (`embodied bench nav`)": nav.TARGETS,
    "Live maps (`embodied bench maps`)": maps.TARGETS,
    "Agreement with recorded habitat-sim values (`embodied bench parity`)": parity.TARGETS,
}
LESS_IS_BETTER = (".ms", ".us", "_percent", "_s", "_gb", "_m", "over_render")


def main() -> None:
    """Write docs/results/speed.md."""
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    figures = {key: entry["value"] for key, entry in content["metrics"].items()}
    machine = content["machine"]
    lines = [
        "# Benchmark results",
        "",
        f"Measured on {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}. Rates are per "
        "core-second of CPU time; ratios compare both sides in the same run.",
        "",
        "Every figure with its command is in [foundation.json](foundation.json); this page is made "
        "from it by `python -m benchmarks._tables`.",
    ]
    for title, targets in SECTIONS.items():
        lines += ["", f"## {title}", "", "| figure | value | target | |", "|---|---|---|---|"]
        for key, target in targets.items():
            less = key.endswith(LESS_IS_BETTER)
            value = figures[key]
            met = value <= target if less else value >= target
            sign = "<=" if less else ">="
            lines.append(
                f"| `{key}` | {value:.4g} | {sign} {target:g} | {'met' if met else '**not met**'} |"
            )
        if targets is sim.TARGETS:
            lines += ["", *_frames(figures)]
    others = sorted(
        key
        for key in figures
        if key.startswith("bench.") and not any(key in targets for targets in SECTIONS.values())
    )
    lines += ["", "## Everything else", "", "| figure | value |", "|---|---|"]
    lines += [f"| `{key}` | {figures[key]:.4g} |" for key in others]
    write_text(ROOT / "docs" / "results" / "speed.md", "\n".join(lines) + "\n")


def _frames(figures: dict[str, float]) -> list[str]:
    """Make the table of frames per core-second; ratios are depth + class unless said."""
    head = "| triangles | px | bare Embree | Open3D | depth + class | RGB too | / Open3D "
    lines = [head + "| / Open3D with images | / Embree | RGB too / Embree |", "|---" * 10 + "|"]
    for label in sim.HOUSES:
        for size in sim.SIZES:
            key = f"bench.{label}.{size}"
            cells = [
                figures[f"{key}.{name}"]
                for name in (
                    "embree.frames_per_s",
                    "open3d.frames_per_s",
                    "depth_semantic.frames_per_s",
                    "rgbd_semantic.frames_per_s",
                    "depth_semantic.ratio_to_open3d",
                    "depth_semantic.ratio_to_open3d_images",
                    "depth_semantic.ratio_to_embree",
                    "rgbd_semantic.ratio_to_embree",
                )
            ]
            rates = " | ".join(f"{cell:.0f}" for cell in cells[:4])
            ratios = " | ".join(f"{cell:.2f}" for cell in cells[4:])
            lines.append(f"| {label} | {size} | {rates} | {ratios} |")
    return lines


if __name__ == "__main__":
    main()
