"""Where an optional package is absent, one sentence says what needs it and how to get it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from embodied import extras
from embodied.errors import MissingExtraError
from embodied.extras import OPTIONAL, OptionalPackage, require_extra, require_package
from tests.absence import LEARNING, ROOT, run_without


def test_an_absent_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPTIONAL, "no_such_module", OptionalPackage("no-such", "train"))
    said = r"^The viewer needs the package 'no-such', which is not installed\. "
    said += r'Install it: pip install "embodied-stack\[train\]"$'
    with pytest.raises(MissingExtraError, match=said), require_extra("The viewer"):
        import no_such_module  # noqa: F401
    with pytest.raises(MissingExtraError, match=said):
        require_package("no_such_module", "The viewer")


def test_a_package_that_is_there_but_broken_keeps_its_reason() -> None:
    reason = r"cannot be used as it is \(libfranka.so is missing\)"
    with pytest.raises(MissingExtraError, match=reason), require_extra("The driver"):
        raise ImportError("libfranka.so is missing", name="franky._franky")


def test_other_missing_modules_stay_errors_of_the_program() -> None:
    with pytest.raises(ModuleNotFoundError), require_extra("The viewer"):
        import no_such_module  # noqa: F401


def test_without_a_wheel_it_says_how_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "_PYTHON", (3, 12))
    package = OptionalPackage("pybullet", "bullet", has_wheel=False)
    assert "no wheel of it for Python 3.12" in package.remedy
    assert package.remedy.endswith(
        "with a C++ compiler it is built from source: pip install pybullet"
    )


def test_nobody_else_words_such_a_message() -> None:
    """`HabitatSimMissingError` apart, which pip cannot help with."""
    for top in ("embodied", "maps", "robots"):
        for file in (ROOT / top).rglob("*.py"):
            calls = (n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call))
            named = {ast.unparse(call.func) for call in calls}
            assert "MissingExtraError" not in named or file == Path(extras.__file__), file


def test_without_ruckig_the_shaper_says_what_to_install() -> None:
    program = """
from embodied.errors import MissingExtraError
import robots.guard, robots.arm
try:
    import robots.shaper
except MissingExtraError as error:
    print(error)
"""
    done = run_without(["ruckig"], program)
    assert "The shaper of an arm's setpoints needs the package 'ruckig'" in done.stdout
    assert "pip install ruckig" in done.stdout


def test_without_embree_numba_traces_the_rays_and_says_so_once() -> None:
    program = """
import numpy as np
from embodied.simulators.base import CameraSpec
from embodied.simulators.embedded import Simulator
from embodied.simulators.raycast.caster import choose_backend
assert [choose_backend("auto") for _ in range(3)] == ["numba"] * 3
"""
    done = run_without(["embreex"], program)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("numba traces the rays") == 1


def test_modules_of_one_platform_are_used_only_there() -> None:
    program = """
import os, sys
for name in ("pidfd_open", "sched_setscheduler", "sched_getaffinity"):
    delattr(os, name)
import robots.feetech_bus, robots.supervisor, robots.pace, embodied.results, embodied.training.log
assert embodied.training.log.cpu_seconds() > 0
assert robots.feetech_bus.LINE_ERRORS == (OSError,)
embodied.results.describe_machine()
"""
    done = run_without(["resource", "fcntl", "termios", "pwd", "grp"], program)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_is_light() -> None:
    program = """
import sys, time
begun = time.process_time()
import embodied
assert time.process_time() - begun < 0.5, time.process_time() - begun
print(*(set(sys.argv[1:]) & {name.partition(".")[0] for name in sys.modules}))
"""
    done = run_without([], program, *LEARNING, "numba", "cv2", "scipy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
