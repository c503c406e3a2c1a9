"""The example of docs/robots.md, taken from the page itself. Its driver: tests/test_extend.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "robots.md"


def test_the_example_in_python_moves_the_twin(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pybullet", reason="the twin: pip install 'embodied-stack[bullet]'")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (code,) = [block for block in blocks if "load_robot(" in block]
    # A busy test machine must not decide the outcome.
    code = code.replace(
        '"fr3_twin"', '"fr3_twin", ["safety.state_age=5.0", "safety.command_age=5.0"]'
    )
    exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102 - our own page
    assert "allowed" in capsys.readouterr().out
