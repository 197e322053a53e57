"""Classes: which there are, and what is suspicious about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from ostinato.errors import DataError


def texts_of(cells: Sequence[Any], where: Callable[[int], str], column: str) -> list[str]:
    """Each row's class as a text, as it stands in the file; 7 and 7.0 are both 7.

    >>> texts_of([7, "a", 7.0], str, "label")
    ['7', 'a', '7']

    Raises:
        DataError: a row has none; the message names the line.
    """
    texts = []
    for row, cell in enumerate(cells):
        if cell is None:
            raise DataError(
                f"{where(row)}: column {column!r} is empty; every row needs its class, or leave the row out"
            )
        texts.append(str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell))
    return texts


def classes_of(labels: Sequence[str], what: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes in sorted order (numbers by their size), and what to say about them.

    >>> classes_of(["10", "9", "9"], "a.csv")
    (('9', '10'), ())
    >>> classes_of(["yes", "Yes", "no"], "a.csv")[1]
    ("labels differ only in case or space: 'Yes' (1 row) and 'yes' (1 row) are taken for two classes",)

    Args:
        labels: one of each row.
        what: the files, for messages.

    Raises:
        DataError: there is one class only.
    """
    counts = Counter(labels)
    if len(counts) < 2:
        only = next(iter(counts), None)
        raise DataError(
            f"{what} has one class only ({only!r}); two are needed to tell apart, so check the column or add rows"
        )
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        alike["".join(label.casefold().split())].append(label)
    notes = tuple(
        f"labels differ only in case or space: {_counted(group, counts)} are taken for {_number(len(group))} classes"
        for group in alike.values()
        if len(group) > 1
    )
    return tuple(sorted(counts, key=_order)), notes


def unseen_note(labels: Sequence[str], classes: Sequence[str], part: str) -> tuple[str, ...]:
    """What to say of classes that training has never seen; nothing where there are none.

    >>> unseen_note(["a", "c", "c"], ["a", "b"], "test")
    ("2 test rows are of classes that no training row has, so they count as wrong: 'c' (2 rows)",)
    """
    strange = Counter(label for label in labels if label not in set(classes))
    if not strange:
        return ()
    total = sum(strange.values())
    rows = f"1 {part} row is" if total == 1 else f"{total:,} {part} rows are"
    named = _counted([label for label, _ in strange.most_common(8)], strange) + (", …" if len(strange) > 8 else "")
    return (f"{rows} of classes that no training row has, so they count as wrong: {named}",)


def _counted(labels: Sequence[str], counts: Counter[str]) -> str:
    return " and ".join(f"{one!r} ({counts[one]:,} row{'s' if counts[one] > 1 else ''})" for one in labels)


def _number(count: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(count, str(count))


def _order(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label
