"""Writes docs/cells.md: the equations of every known cell, out of the docstrings. Run by `make docs`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ostinato.cells import registry
from ostinato.cells.options import options_of
from ostinato.cells.page import page_of
from ostinato.cells.registry import Known
from ostinato.inspection.cell_facts import WIDTH, facts

PAGE = Path(__file__).with_name("cells.md")

FAMILIES = {
    "Simple networks": (
        "rnn", "elman", "jordan", "irnn", "ind-rnn", "scrn", "multiplicative-rnn", "antisymmetric-rnn",
        "gated-antisymmetric-rnn", "fast-rnn",
    ),
    "LSTMs": (
        "original-lstm", "lstm", "peephole-lstm", "cifg-lstm", "layer-norm-lstm", "multiplicative-lstm",
        "mogrifier-lstm", "slstm", "res-lstm", "wmc-lstm", "memory-controller-lstm", "mc-lstm", "nas",
    ),
    "GRUs and other gated cells": (
        "cho-gru", "gru", "layer-norm-gru", "multiplicative-gru", "mgu", "li-gru", "ugrnn", "fast-grnn", "janet",
        "minimal-rnn", "intersection-rnn", "mut1", "mut2", "mut3", "ran", "rhn", "cfn", "sgu", "dsgu", "atr", "star",
        "sgrn", "br", "nbr", "light-ru", "miru1", "miru2", "tau-gru",
    ),
    "Oscillators and long memory": ("cornn", "unicornn", "lem"),
    "Linear recurrences": ("t-rnn", "t-lstm", "t-gru", "qrnn", "sru", "lru", "min-gru", "min-lstm"),
}  # fmt: skip
"""Heading → the cells under it; a cell that is named nowhere stands under :data:`OTHERS`."""
OTHERS = "Others"

HEAD = """# The equations of every cell

<!-- Written by docs/make_cells.py from the cells' docstrings: change those, then run `make docs`. -->

A cell is one step: out of $`x_t`$, of width I, and the states, of width H, come the new states. $`\\sigma`$ is the
logistic function unless a cell says otherwise, $`\\odot`$ the product of elements, and the letters are the papers' own.
Every cell is a layer by its name, `ostinato.Recurrent("gru", I, H)`, with several layers, directions, lengths, dropout
and the compiled loop, and trains with `ostinato train FILE --cell gru`. `ostinato cells NAME` shows the same in a
terminal. Parameters, and the multiply-adds of a step's matrix products for one row, are those of I = H = {width}.
"""


def page() -> str:
    """The whole page."""
    everyone = registry.everyone()
    named = [name for names in FAMILIES.values() for name in names]
    families = {heading: [n for n in names if n in everyone] for heading, names in FAMILIES.items()}
    families[OTHERS] = [name for name in everyone if name not in named]
    families = {heading: names for heading, names in families.items() if names}
    parts = [HEAD.format(width=WIDTH)]
    for heading, names in families.items():
        parts.append(f"**{heading}**\n\n" + _table([everyone[name] for name in names]))
    links = {known.cell.__name__: known.name for known in everyone.values()}
    for heading, names in families.items():
        parts.append(f"## {heading}\n")
        parts += [_cell(everyone[name], links) for name in names]
    return "\n".join(parts)


def _table(cells: list[Known]) -> str:
    rows = ["| cell | | year | states | parameters | multiply-adds |", "|---|---|---|---|---|---|"]
    for known in cells:
        own = facts(known)
        rows.append(
            f"| [`{own.name}`](#{own.name}) | {own.title} | {own.year} | {', '.join(own.states)} | "
            f"{own.parameters:,} | {own.multiply_adds:,} |"
        )
    return "\n".join(rows) + "\n"


def _cell(known: Known, links: dict[str, str]) -> str:
    said = page_of(known.cell)
    # A fenced block, not $$: Markdown leaves backslashes in it alone.
    equations = " \\\\\n".join(said.equations)
    if "&" in equations:
        equations = f"\\begin{{aligned}}\n{equations}\n\\end{{aligned}}"
    parts = [
        f"### {known.name}",
        f"**{known.title}**, {known.year}, `ostinato.cells.{known.cell.__name__}`. {_markdown(said.summary, links)}",
        f"```math\n{equations}\n```",
        *(_markdown(note, links) for note in said.notes),
        "Parameters: " + ", ".join(_shapes(said.shapes)) + ".",
    ]
    options = [
        f"- `{name}={default!r}`: {_markdown(said.options.get(name, ''), links)}"
        for name, default in options_of(known.cell).items()
        if name != "bias"
    ]
    if options:
        parts.append("\n".join(options))
    return "\n\n".join([*parts, f"Paper: {_markdown(said.paper, links)}"]) + "\n"


def _shapes(shapes: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """``weight_ih`` (4·H, I), …"""
    for name, several in shapes.items():
        yield f"`{name}` " + " or ".join(f"({shape})" for shape in several)


def _markdown(text: str, links: dict[str, str]) -> str:
    """Docstring markup as GitHub's."""
    text = re.sub(r":math:`([^`]*)`", r"$`\1`$", text)
    text = re.sub(r"(?<![`$])``([^`]+)``", r"`\1`", text)
    return re.sub(r":\w+:`[~.\w]*?(\w+)`", lambda match: _link(match[1], links), text)


def _link(name: str, links: dict[str, str]) -> str:
    return f"[`{name}`](#{links[name]})" if name in links else f"`{name}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: {len(registry.everyone())} cells", file=sys.stderr)
