"""How training and the commands speak to people: where to, and lengths of time in words."""

from __future__ import annotations

from typing import Any

from ostinato.models.needs import need

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""


def console() -> Any:
    """Where progress is written: the error stream, so that the output of a command can be kept apart."""
    return need("rich.console").Console(stderr=True, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A length of time for people.

    >>> duration(8.4), duration(125), duration(7300)
    ('8 s', '2 min 05 s', '2 h 01 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
