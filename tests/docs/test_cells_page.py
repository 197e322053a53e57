"""The page of equations is what its generator makes of the docstrings, and its TeX is TeX."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from matplotlib.mathtext import MathTextParser

from ostinato.cells import registry
from ostinato.cells.page import page_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
EVERYONE = registry.everyone()
INLINE = re.compile(r":math:`([^`]*)`|\$`([^`]*)`\$")


SYNONYMS = ((r"\\(le|ge|ne)(?![a-z])", r"\\\1q"), (r"\\[lr]Vert", r"\\Vert"), (r"\\[lr]vert", r"\\vert"), ("&", ""))
"""What matplotlib lacks, and GitHub has."""


def drawn(tex: str) -> None:
    """ValueError where matplotlib cannot draw it."""
    for ours, theirs in SYNONYMS:
        tex = re.sub(ours, theirs, tex)
    MathTextParser("path").parse(f"${tex}$")


def test_the_page_is_what_its_generator_makes():
    page = runpy.run_path(str(DOCS / "make_cells.py"))["page"]()
    assert (DOCS / "cells.md").read_text("utf-8") == page, "run `make docs`"


@pytest.mark.parametrize("name", EVERYONE)
def test_every_formula_can_be_drawn(name):
    said = page_of(EVERYONE[name].cell)
    text = " ".join((said.summary, *said.notes, *said.options.values(), said.paper))
    for tex in (*said.equations, *(one or other for one, other in INLINE.findall(text))):
        drawn(tex)


@pytest.mark.parametrize("broken", [r"\frac{a}{b", r"h_{t-1", r"\sigmma(x)", r"a^b^c", r"\left( x"])
def test_broken_formulas_are_noticed(broken):
    with pytest.raises(ValueError, match=r"\S"):
        drawn(broken)


def test_every_cell_stands_on_the_page_once():
    text = (DOCS / "cells.md").read_text("utf-8")
    headings = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert sorted(headings) == sorted(EVERYONE)
    assert not re.findall(r":\w+:`|``[^`]", text.replace("```", "")), "markup of docstrings is left"
