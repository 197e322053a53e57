"""A cell's docstring taken apart: what it is, its equations, what differs elsewhere, its parameters, its paper."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ostinato.cells.cell import Cell

MATH = ".. math::"
SECTION = re.compile(r"^([A-Z][A-Za-z ,]*):$")
ENTRY = re.compile(r"^([a-z]\w*(?:, \w+)*): ", re.MULTILINE)
SHAPED = re.compile(r"((?:[A-Za-z_][\w.]+, )*(?!or\b)[A-Za-z_][\w.]+)(?: = [^(,;]+)? \(([^()]*)\)")
"""``weight_hh (4·H, H)``, ``bias_ih, bias_hh (4·H)`` or ``weight_ho = V (O, H)`` in a Parameters section."""
OTHERWISE = re.compile(r"\bor \(([^()]*)\)")


@dataclass(frozen=True)
class Page:
    """What a cell's docstring says.

    Attributes:
        summary: the first paragraph, in one line.
        equations: TeX, one equation a line, as printed in the paper; ``&`` marks where they are aligned.
        notes: the paragraphs after the equations: what differs from the paper and from other implementations.
        sections: the rest by heading, ``"Args"``, ``"Parameters"``, ``"Paper"``, ``"Example"``.
        base: of the cell that it is derived from, if that has equations of its own.
    """

    summary: str
    equations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sections: Mapping[str, str] = field(default_factory=dict)
    base: Page | None = None

    @property
    def paper(self) -> str:
        """Where the equations were published, in one line."""
        return _joined(self.sections.get("Paper") or self.sections.get("Papers", ""))

    @property
    def options(self) -> dict[str, str]:
        """What each argument of the constructor means: name → text; those of ``base`` where the text refers to it."""
        text = self._section("Args")
        starts = [*ENTRY.finditer(text)]
        found = dict(self.base.options) if self.base is not None and _refers(text) else {}
        for number, match in enumerate(starts):
            end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
            meaning = _joined(text[match.end() : end])
            found |= {name: meaning for name in match[1].split(", ") if not (name in found and _refers(meaning))}
        return found

    @property
    def shapes(self) -> dict[str, tuple[str, ...]]:
        """The parameters as the docstring gives them: name → its shapes, such as ``"4·H, I"``; ``base``'s included.

        There are several where the text goes on with ``or (2·H, I)``.
        """
        text = _joined(self._section("Parameters"))
        found = dict(self.base.shapes) if self.base is not None and _refers(text) else {}
        starts = [*SHAPED.finditer(text)]
        for number, match in enumerate(starts):
            end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
            shapes = (match[2], *OTHERWISE.findall(text[match.end() : end]))
            found |= dict.fromkeys(match[1].split(", "), shapes)
        return found

    def _section(self, name: str) -> str:
        return self.sections.get(name) or self.sections.get("Args, parameters", "")

    @property
    def example(self) -> str:
        """A session of Python."""
        return self.sections.get("Example", "")


def page_of(cell: type[Cell]) -> Page:
    """The parts of a cell's docstring; those that it lacks are empty.

    Example:
        >>> from ostinato.cells.page import page_of
        >>> page = page_of(ostinato.GRUCell)
        >>> page.equations[3]
        'h_t &= (1 - z_t) \\\\odot n_t + z_t \\\\odot h_{t-1}'
        >>> page.shapes["weight_hh"]
        ('3·H, H',)
    """
    blocks = _blocks(inspect.cleandoc(cell.__doc__ or ""))
    summary, equations, notes, sections = "", [], [], {}
    for block in blocks:
        head, _, body = block.partition("\n")
        if head.startswith(MATH):
            equations += _equations(head.removeprefix(MATH) + "\n" + body)
        elif (match := SECTION.fullmatch(head)) is not None and body.startswith("    "):
            sections[match[1]] = inspect.cleandoc("\n" + body)
        elif not summary:
            summary = _joined(block)
        else:
            notes.append(_joined(block))
    above = cell.__mro__[1]
    base = page_of(above) if issubclass(above, Cell) and MATH in (above.__doc__ or "") else None
    return Page(summary, tuple(equations), tuple(notes), sections, base)


def _blocks(text: str) -> list[str]:
    """Paragraphs; one that is indented, and a math block's body, belong to what stands before them."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        if found and paragraph.startswith("    "):
            found[-1] += ("\n" if found[-1].rstrip() == MATH else "\n\n") + paragraph
        else:
            found.append(paragraph.strip("\n"))
    return found


def _equations(body: str) -> list[str]:
    lines = re.split(r"\\\\(?:\[[^\]]*\])?", body)
    return [joined for line in lines if (joined := _joined(line))]


def _refers(text: str) -> bool:
    return re.search(r"\b(those of|as for)\b", text) is not None


def _joined(text: str) -> str:
    return " ".join(text.split())
