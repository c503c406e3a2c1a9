"""What docs/perception.md shows works as printed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_guide_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "perception.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code) == 2
    session: dict[str, object] = {}
    for block in code:
        exec(compile(block, "perception.md", "exec"), session)  # noqa: S102
    assert capsys.readouterr().out.split("\n")[:2] == [
        "torch.Size([36, 128]) torch.Size([36, 300, 128])",
        "torch.Size([2, 128])",
    ]
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 36
