"""Figures as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ostinato.models.needs import need

WIDEST = 24
"""Columns of a nested table that are still shown; a larger one is for ``--format json``."""


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, left: int = 1) -> None:
    """A table on the standard output: the first ``left`` columns, texts, to the left, numbers to the right."""
    box, table_module = need("rich.box"), need("rich.table")
    table = table_module.Table(
        title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False
    )
    for number, name in enumerate(header):
        table.add_column(_literal(name), justify="left" if number < left else "right", no_wrap=number > 0)
    for row in rows:
        table.add_row(*map(_literal, row))
    printer().print(table)


def printer() -> Any:
    """The standard output, on which a long line is not broken where it goes to a file or a pipe."""
    console = need("rich.console").Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    return console


def print_scores(model: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]], part: str) -> None:
    """The model's figures above those of its baselines."""
    names = list(dict.fromkeys(name for row in (model, *baselines.values()) for name in row))
    lines = {"this model": model, **baselines}
    print_table(
        [f"on the {part} part", *map(_words, names)],
        [[_words(who), *(shown(figures.get(name)) for name in names)] for who, figures in lines.items()],
    )


def print_figures(figures: Mapping[str, Any]) -> None:
    """Single figures in one table, and a table for each that is a table itself, such as a confusion matrix."""
    single = {name: value for name, value in figures.items() if not isinstance(value, Mapping | list | tuple)}
    print_table(["figure", "value"], [[_words(name), shown(value)] for name, value in single.items()])
    for name, value in figures.items():
        if isinstance(value, Mapping) and value:
            _print_nested(name, value)


def shown(value: Any) -> str:
    """A figure for people; a dash where there is none.

    >>> shown(0.97654321), shown(12345), shown(None), shown(123456.789)
    ('0.9765', '12,345', '–', '123,457')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _print_nested(name: str, table: Mapping[str, Any]) -> None:
    rows = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    if not rows:
        print_table([_words(name), ""], [[str(key), shown(value)] for key, value in table.items()])
        return
    header = list(dict.fromkeys(str(column) for row in rows.values() for column in row))
    if len(header) > WIDEST:
        printer().print(f"{_words(name)}: {len(rows)} × {len(header)}, shown by --format json.\n")
        return
    body = [[key, *(shown(row.get(column)) for column in header)] for key, row in rows.items()]
    print_table([_words(name), *header], body)


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _literal(text: str) -> Any:
    """Text whose brackets are no markup."""
    return need("rich.text").Text(str(text))
