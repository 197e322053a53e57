"""Pages of Markdown as programs: every ```python block runs, and what it prints is the ```text block after it."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from types import ModuleType

BLOCKS = re.compile(r"^```python\n(.*?)^```\n(?:\s*```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[tuple[int, str, str | None]]:
    """(line, code, expected output or None) of each block."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in BLOCKS.finditer(text)]


def run(page: Path) -> None:
    """Run a page's blocks in one namespace; AssertionError where one prints something else than the page says."""
    module = ModuleType("page")
    sys.modules["page"] = module
    try:
        for line, code, expected in blocks(page):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * (line - 1) + code, str(page), "exec"), module.__dict__)
            assert expected is None or printed.getvalue() == expected, (
                f"{page}:{line} prints\n{printed.getvalue()}and the page says\n{expected}"
            )
    finally:
        del sys.modules["page"]
