"""What holds of every example: it is listed by its first line, and running it writes nothing."""

from __future__ import annotations

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"

NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_describes_it(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    described, blank, *rest = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    assert described.endswith(".")
    assert not blank
    assert any(f"python examples/{name}.py" in line for line in rest)


@pytest.mark.parametrize("name", NAMES)
def test_help_says_the_same(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    first = (FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()[0].strip('"')
    assert first in text


@pytest.mark.parametrize("name", ["hello", "own_cell", "shapes"])
def test_running_writes_nothing(example, tmp_path, name):
    example(name).main([])
    assert list(tmp_path.iterdir()) == []


def test_as_a_command(tmp_path: Path):
    run = [sys.executable, str(FOLDER / "shapes.py")]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=True)
    assert "6 × (3, 20)" in done.stdout
