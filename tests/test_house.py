"""What the tree promises: imports point downward, public names are complete, the core is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ostinato

SOURCE = Path(ostinato.__file__).parent
# Top to bottom; a file may import from its own floor and from those below.
FLOORS = (
    ("__init__",),
    ("cli",),
    ("training",),
    ("tasks",),
    ("models", "data"),
    ("inspection", "functional", "layouts"),
    ("layers",),
    ("engines",),
    ("compiler",),
    ("setting",),
    ("cells",),
    ("memory",),
    ("errors", "version"),
)
LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}


def floor_of(dotted: str) -> str:
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "ostinato":
            yield from (f"ostinato.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


FILES = sorted(p for p in SOURCE.rglob("*.py") if "examples" not in p.relative_to(SOURCE).parts)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_downward(path: Path) -> None:
    own = floor_of(".".join(["ostinato", *path.relative_to(SOURCE).with_suffix("").parts]))
    assert own in LEVEL, f"{own} has no floor in this test: say where it stands"
    for name in imports(path):
        if name.split(".")[0] != "ostinato":
            continue
        other = floor_of(name)
        if other not in LEVEL:
            # A public name out of the package's own __init__: that is importing from the top.
            other = "__init__"
        assert LEVEL[own] <= LEVEL[other], f"{path.relative_to(SOURCE)} imports {name}, which stands above it"


def test_public_names_are_complete_and_sorted() -> None:
    names = ostinato.__all__
    constants, classes = [n for n in names if n.isupper()], [n for n in names if n[0].isupper() and not n.isupper()]
    others = [n for n in names if not n[0].isupper()]
    assert names == sorted(constants) + sorted(classes) + sorted(others)
    assert len(set(names)) == len(names)
    assert all(hasattr(ostinato, name) for name in names)
    for name in names:
        assert name == "__version__" or getattr(ostinato, name).__doc__, f"{name} has no docstring"


def test_the_core_imports_torch_and_the_standard_library_only() -> None:
    """Heavy packages are imported when used: one fresh interpreter tells."""
    code = (
        "import sys, torch; before = set(sys.modules); import ostinato; "
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"lightning", "typer", "rich", "matplotlib", "plotly", "torchmetrics", "safetensors", "yaml", "llvmlite"}
    assert not heavy & set(result.stdout.split())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
