"""The pages run and print what they say, in both languages alike; links and pictures lead somewhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support import pages

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.glob("*.md"))

TRAINS_FOR_MINUTES = {"training.md", "tasks.md"}
"""Pages whose code needs files of the reader's own and minutes of training: it is only parsed."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_code_is_python(page):
    for _, code, _ in pages.blocks(page):
        ast.parse(code)


@pytest.mark.parametrize("page", [p for p in PAGES if p.name not in TRAINS_FOR_MINUTES], ids=lambda page: page.name)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_its_code_prints_what_it_says(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pages.run(page)
    assert list(tmp_path.iterdir()) == []


def code_of(page: Path) -> list[str]:
    """Each block as a tree, with every text in it replaced: comments and texts may be translated."""
    trees = [ast.parse(code) for _, code, _ in pages.blocks(page)]
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = "text"
    return [ast.dump(tree) for tree in trees]


def test_both_languages_run_the_same_code():
    english, chinese = code_of(DOCS / "learn.md"), code_of(DOCS / "learn.zh.md")
    assert len(english) > 20
    assert english == chinese


@pytest.mark.parametrize("page", ["learn.md", "learn.zh.md"])
def test_every_block_shows_what_it_prints(page):
    assert all(expected for _, _, expected in pages.blocks(DOCS / page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_a_page_lead_to_a_heading(page):
    text = page.read_text(encoding="utf-8")
    headings = {anchor(line.lstrip("# ")) for line in text.splitlines() if line.startswith("#")}
    wanted = re.findall(r"\]\(#([^)]+)\)", text)
    assert set(wanted) <= headings


def anchor(heading: str) -> str:
    """GitHub's name for a heading: lower case, punctuation left out, dashes for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_pictures_are_shown_and_small():
    shown = set()
    for page in PAGES:
        shown |= set(re.findall(r"!\[[^\]]+\]\(images/([^)]+)\)", page.read_text(encoding="utf-8")))
    pictures = {path.name: path.stat().st_size for path in (DOCS / "images").iterdir()}
    assert shown == set(pictures)
    assert all(size < 200_000 for size in pictures.values())
