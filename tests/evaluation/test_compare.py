"""`embodied compare`: known answers on small files, and errors that name file and episode."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embodied.cli.main import main
from embodied.evaluation.base import write_episodes
from embodied.results import ResultsError, read_results, seed_metric, summarize

NAMES = [f"e{number}" for number in range(60)]


def written(file: Path, success: np.ndarray, names: list[str] = NAMES) -> str:
    file.parent.mkdir(exist_ok=True)
    rows = [{"success": float(s), "spl": float(s) / 2} for s in success]
    write_episodes(file, names, rows)
    return str(file)


def test_one_training_has_the_interval_of_its_episodes_and_more_have_a_wider_one() -> None:
    rng = np.random.default_rng(0)
    flags = (rng.random((1, 400)) < 0.4).astype(float)
    one = seed_metric(flags, "again")
    error = flags.std() / 20
    assert one.value == flags.mean()
    assert one.ci95 == pytest.approx((one.value - 1.96 * error, one.value + 1.96 * error), abs=0.01)
    assert (one.n, one.command) == (400, "again")
    # The same episodes, but trainings that differ in luck: the interval must count that, too.
    lucky = flags + np.array([[-0.2], [0.0], [0.2]])
    three = seed_metric(lucky)
    assert three.value == pytest.approx(flags.mean())
    assert three.ci95[1] - three.ci95[0] > 1.5 * (one.ci95[1] - one.ci95[0])


def test_trainings_that_agree_are_as_sure_as_one() -> None:
    flags = (np.random.default_rng(1).random((1, 300)) < 0.5).astype(float)
    one, same = seed_metric(flags), seed_metric(np.repeat(flags, 3, axis=0))
    assert same.ci95 == pytest.approx(one.ci95, abs=0.02)


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((0, 3)), np.array([[1.0, np.nan]])])
def test_samples_of_another_shape_or_not_finite_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ResultsError, match="trainings, episodes"):
        seed_metric(bad)


def test_differences_are_paired_by_name_whatever_the_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(2)
    base = (rng.random(60) < 0.5).astype(float)
    better = np.where(np.arange(60) % 10 == 0, 1.0, base)
    gain = float((better - base).mean())
    mine = [written(tmp_path / f"a{seed}.jsonl", better) for seed in range(2)]
    theirs = [written(tmp_path / f"b{seed}.jsonl", base[::-1], NAMES[::-1]) for seed in range(2)]
    out = tmp_path / "gain.json"
    words = ["compare", *mine, "--against", *theirs, "--json", str(out), "--key", "houses"]
    assert main(words) == 0
    metrics = read_results(out)["metrics"]
    assert set(metrics) == {"houses.success", "houses.spl"}
    assert metrics["houses.success"]["value"] == pytest.approx(gain)
    assert metrics["houses.spl"]["value"] == pytest.approx(gain / 2)
    assert metrics["houses.success"]["ci95"][0] >= 0
    assert f"{gain:+.3f}" in capsys.readouterr().out
    assert main(["compare", *mine, "--json", str(out), "--key", "mine"]) == 0
    metrics = read_results(out)["metrics"]
    assert metrics["mine.success"]["value"] == pytest.approx(better.mean())
    assert metrics["mine.success.training_1"]["n"] == 60


def test_one_training_that_never_fails_is_not_certain(tmp_path: Path) -> None:
    write_episodes(tmp_path / "a.jsonl", NAMES, [{"success": 1.0}] * len(NAMES))
    out = tmp_path / "figures.json"
    assert main(["compare", str(tmp_path / "a.jsonl"), "--json", str(out), "--key", "own"]) == 0
    success = read_results(out)["metrics"]["own.success"]
    assert success["value"] == 1
    assert success["ci95"][0] == pytest.approx(summarize(np.ones(len(NAMES)))[1][0])
    assert success["ci95"][0] < 1


def test_an_arm_is_compared_by_throughput_and_steps_to_success(tmp_path: Path) -> None:
    def arm(name: str, success: np.ndarray, steps: np.ndarray) -> str:
        rows = [
            {"success": float(s), "steps": float(t)} for s, t in zip(success, steps, strict=True)
        ]
        write_episodes(tmp_path / name, NAMES, rows)
        return str(tmp_path / name)

    half = (np.arange(60) % 2).astype(float)
    slow = [arm(f"a{n}.jsonl", half, np.where(half, 40.0, 100.0)) for n in range(2)]
    fast = [arm(f"b{n}.jsonl", half, np.where(half, 30.0, 100.0)) for n in range(2)]
    out = tmp_path / "gain.json"
    assert main(["compare", *fast, "--json", str(out), "--key", "own"]) == 0
    assert main(["compare", *fast, "--against", *slow, "--json", str(out), "--key", "gain"]) == 0
    metrics = read_results(out)["metrics"]
    assert metrics["own.throughput"]["value"] == pytest.approx(500 / 65)
    assert metrics["own.steps_to_success"]["value"] == pytest.approx(30)
    assert metrics["gain.throughput"]["value"] == pytest.approx(70 / 65 - 1)
    assert metrics["gain.steps"]["value"] == pytest.approx(0.25)
    low, high = metrics["gain.throughput"]["ci95"]
    assert 0 < low < 70 / 65 - 1 < high
    never = [arm(f"c{n}.jsonl", half * 0, np.full(60, 100.0)) for n in range(2)]
    assert main(["compare", *never, "--against", *slow, "--json", str(out), "--key", "no"]) == 0
    metrics = read_results(out)["metrics"]
    assert metrics["no.throughput"]["value"] == pytest.approx(-1)
    assert "no.steps" not in metrics
    hard = np.where(half, 30.0, 90.0)  # what only the faster one solves says nothing about pace
    more = [arm(f"d{n}.jsonl", np.ones(60), hard) for n in range(2)]
    assert main(["compare", *more, "--against", *slow, "--json", str(out), "--key", "more"]) == 0
    metrics = read_results(out)["metrics"]
    assert metrics["more.steps"]["value"] == pytest.approx(0.25)
    assert metrics["more.throughput"]["value"] == pytest.approx(60 * 70 / (30 * 60) - 1)


def test_folders_of_an_ablation_compare_all_variants_they_share(tmp_path: Path) -> None:
    folders = []
    for seed in range(2):
        folder = tmp_path / str(seed)
        written(folder / "explore_only.jsonl", np.zeros(60))
        written(folder / "learned.learned.jsonl", np.ones(60))
        folders.append(str(folder))
    written(tmp_path / "1" / "only_here.jsonl", np.ones(60))
    out = tmp_path / "all.json"
    words = ["compare", *folders, "--against", "explore_only", "--json", str(out), "--published"]
    assert main(words) == 0
    metrics = read_results(out)["metrics"]
    assert metrics["compare.learned.learned.gain.sr"]["value"] == 1.0
    assert metrics["compare.explore_only.sr"]["value"] == 0.0
    assert not any("only_here" in name or "explore_only.gain" in name for name in metrics)


def test_what_cannot_be_compared_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = written(tmp_path / "a.jsonl", np.ones(60))
    other = written(tmp_path / "b.jsonl", np.ones(60), [f"x{n}" for n in range(60)])
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps({"success": 1.0}))
    written(tmp_path / "ab" / "sos.jsonl", np.ones(60))
    (tmp_path / "empty").mkdir()
    for words, message in (
        ([one, "--against", other], "episodes are in one file and not in the other"),
        ([one, "--against", one, one], "1 trainings against 2"),
        ([one, str(tmp_path)], "files or folders, not both"),
        ([str(tmp_path / "none.jsonl")], "cannot read episodes"),
        ([str(broken)], "cannot read episodes"),
        ([str(tmp_path / "ab"), "--against", "c"], "--against c: Allowed: sos"),
        ([str(tmp_path / "empty")], "no variant has a .jsonl file"),
    ):
        assert main(["compare", *words]) == 2
        assert message in capsys.readouterr().err, words
