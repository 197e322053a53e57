"""The README's code runs, and prints what the README says."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support import pages

ROOT = Path(__file__).resolve().parents[1]


def test_snippets() -> None:
    assert len(pages.blocks(ROOT / "README.md")) >= 3
    pages.run(ROOT / "README.md")


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#]+)\)", prose):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
