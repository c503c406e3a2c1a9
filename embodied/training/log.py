"""What a run leaves to look at: metrics.jsonl, TensorBoard events, a progress bar or log lines."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from embodied.files import ensure_folder, write_text

LINE_SECONDS = 15.0
SHOWN = (
    "success", "spl", "return", "agreement", "divergence",  # reaching points
    "sample_arrived", "sample_explore_right", "val_success", "val_spl", "mode_auc",  # instructions
    "loss", "miou", "accuracy",  # classes of pixels
)  # fmt: skip
"""Figures of a row worth a place on the screen, where it has them."""


def cpu_seconds() -> float:
    """Return the CPU time [s] of this process, all its threads and finished children."""
    return sum(os.times()[:4])


def read_metrics(run_dir: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics.jsonl; a last line cut short by a kill is left out."""
    file = Path(run_dir) / "metrics.jsonl"
    rows: list[dict[str, Any]] = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class TrainingLog:
    """Writes one row per update.

    Args:
        run_dir: the run's folder.
        total: updates of the whole run.
        start: updates already done; rows after them, left by a killed run, are removed.
        quiet: no progress on the screen.
    """

    def __init__(self, run_dir: Path, total: int, start: int = 0, quiet: bool = False) -> None:
        from torch.utils.tensorboard import SummaryWriter

        ensure_folder(run_dir)
        kept = [row for row in read_metrics(run_dir) if row["update"] <= start]
        self._path = run_dir / "metrics.jsonl"
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._path.open("a", encoding="utf-8")
        step = kept[-1]["step"] + 1 if kept else 0
        self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step)
        self._bar: tqdm | None = None
        self._lines = not quiet and not sys.stderr.isatty()
        self._last = 0.0
        self._total = total
        if not quiet and sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=start, unit="update", dynamic_ncols=True)

    def write_row(self, row: dict[str, Any]) -> None:
        """Record one update; `row` has at least "update", "step" and "phase"."""
        clean = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
        }
        self._file.write(json.dumps(clean) + "\n")
        self._file.flush()
        for key, value in clean.items():
            if isinstance(value, (int, float)) and key not in ("update", "step"):
                self._board.add_scalar(f"{row['phase']}/{key}", value, row["step"])
        text = " ".join(f"{key} {row[key]:.3f}" for key in SHOWN if row.get(key) is not None)
        if self._bar is not None:
            self._bar.set_description(row["phase"])
            self._bar.set_postfix_str(text)
            self._bar.update(row["update"] - self._bar.n)
        elif self._lines and (
            time.monotonic() - self._last > LINE_SECONDS or row["update"] == self._total
        ):
            self._last = time.monotonic()
            minutes = row["cpu_seconds"] / 60
            print(
                f"[{row['phase']}] update {row['update']}/{self._total} step {row['step']} "
                f"cpu {minutes:.1f} min {text}",
                file=sys.stderr,
                flush=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._board.close()
        if self._bar is not None:
            self._bar.close()
