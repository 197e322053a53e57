"""Entries of a JSON object that comes from a file of unknown origin, by type and bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ostinato.errors import ModelFolderError

WIDEST, DEEPEST = 1 << 16, 1 << 10
"""Bounds of every width and of the number of layers that is believed."""

LONGEST = 1 << 22
"""Bound of the length of a list that is believed."""


class Reader:
    """Takes entries out of a table, each by its name, type and bounds.

    >>> read = Reader(Path("config.json"))
    >>> read.whole({"hidden_size": 8}, "hidden_size", WIDEST)
    8
    >>> read.whole({"hidden_size": -1}, "hidden_size", WIDEST)
    Traceback (most recent call last):
    ostinato.errors.ModelFolderError: config.json: hidden_size must be a whole number from 1 to 65,536, got '-1'

    Args:
        path: of the file, for messages.

    Raises:
        ModelFolderError: from every method: the entry is missing, of another type or out of bounds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self, table: dict[str, Any], name: str) -> str:
        """A text."""
        return str(self._entry(table, name, "a text", lambda v: isinstance(v, str)))

    def table(self, table: dict[str, Any], name: str) -> dict[str, Any]:
        """An object."""
        return dict(self._entry(table, name, "an object", lambda v: isinstance(v, dict)))

    def tables(self, table: dict[str, Any], name: str, limit: int = LONGEST) -> list[dict[str, Any]]:
        """A list of at most ``limit`` objects."""
        return self._list(table, name, "objects", limit, lambda v: isinstance(v, dict))

    def whole(self, table: dict[str, Any], name: str, limit: int, least: int = 1) -> int:
        """A whole number from ``least`` to ``limit``."""
        rule = f"a whole number from {least} to {limit:,}"
        return int(self._entry(table, name, rule, lambda v: type(v) is int and least <= v <= limit))

    def wholes(self, table: dict[str, Any], name: str, limit: int, least: int = 1) -> list[int]:
        """A list of whole numbers from ``least`` to ``limit``."""
        rule = f"whole numbers from {least} to {limit:,}"
        return self._list(table, name, rule, LONGEST, lambda v: type(v) is int and least <= v <= limit)

    def fraction(self, table: dict[str, Any], name: str) -> float:
        """A number from 0 up to, and not including, 1."""
        return float(
            self._entry(table, name, "at least 0 and below 1", lambda v: type(v) in (int, float) and 0 <= v < 1)
        )

    def number(self, table: dict[str, Any], name: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number from ``least`` to ``most``."""
        rule = "a finite number" + (f" from {least} to {most}" if math.isfinite(least) or math.isfinite(most) else "")
        return float(self._entry(table, name, rule, lambda v: _is_number(v) and least <= v <= most))

    def numbers(self, table: dict[str, Any], name: str) -> list[float]:
        """A list of finite numbers."""
        return [float(value) for value in self._list(table, name, "finite numbers", LONGEST, _is_number)]

    def words(self, table: dict[str, Any], name: str, limit: int = LONGEST) -> list[str]:
        """A list of at most ``limit`` texts."""
        return self._list(table, name, "texts", limit, lambda v: isinstance(v, str))

    def flag(self, table: dict[str, Any], name: str) -> bool:
        """true or false."""
        return bool(self._entry(table, name, "true or false", lambda v: isinstance(v, bool)))

    def one_of(self, table: dict[str, Any], name: str, choices: Sequence[str]) -> str:
        """One of the texts that are allowed."""
        return str(self._entry(table, name, f"one of {', '.join(choices)}", lambda v: v in choices))

    def options(self, table: dict[str, Any], name: str) -> dict[str, Any]:
        """Arguments of a cell: identifiers with numbers of at most ``WIDEST``, short texts, true or false."""
        options = self.table(table, name)
        for option, value in options.items():
            if not option.isidentifier() or not isinstance(value, bool | int | float | str) or _size(value) > WIDEST:
                raise ModelFolderError(
                    f"{self.path}: {name} must be names with a number of at most {WIDEST}, a word or a truth value, "
                    f"got {option[:80]!r}"
                )
        return options

    def _list(self, table: dict[str, Any], name: str, what: str, limit: int, holds: Callable[[Any], bool]) -> list[Any]:
        rule = f"a list of at most {limit:,} {what}"
        return list(
            self._entry(table, name, rule, lambda v: isinstance(v, list) and len(v) <= limit and all(map(holds, v)))
        )

    def _entry(self, table: dict[str, Any], name: str, rule: str, holds: Callable[[Any], bool]) -> Any:
        if name not in table:
            raise ModelFolderError(
                f"{self.path} is damaged: {name} is missing; copy the folder again, or train it anew"
            )
        if not holds(table[name]):
            raise ModelFolderError(f"{self.path}: {name} must be {rule}, got {str(table[name])[:80]!r}")
        return table[name]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < math.inf


def _size(value: bool | int | float | str) -> float:
    return len(value) if isinstance(value, str) else abs(value)
