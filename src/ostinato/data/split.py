"""Cutting rows into training, validation and test parts: by chance, by group, by column, by file, in time.

Whatever the way, rows that repeat an input are not to be learnt from in one part and scored in another: where chance
decides they are kept together, and where the user decides they are counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from ostinato.data.parts import NAMES, Parts, parts_of
from ostinato.errors import DataError, InvalidValue

SYNONYMS = {
    "training": ("training", "train", "trn", "learn", "fit"),
    "validation": ("validation", "valid", "val", "dev", "development", "check"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "holdout", "held-out"),
}
"""What a column, or a file's name, may call a part; case does not matter."""


def split_rows(
    count: int,
    *,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int,
    keys: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> Parts:
    """Rows in three parts by chance: a pure function of its arguments.

    >>> parts = split_rows(10, fractions=(0.6, 0.2, 0.2), seed=0, keys=list("aabbcdefgh"))
    >>> [len(part) for part in (parts.training, parts.validation, parts.test)], parts.notes
    ([6, 2, 2], ('4 rows repeat an input (2 inputs come more than once); they are kept in one part',))

    Args:
        count: number of rows.
        fractions: of training, validation and test; they add up to 1, and training is above 0.
        seed: another one, another cut.
        keys: (count) the rows' inputs; rows with equal keys fall into one part.
        groups: (count) as keys, of whatever must stay together: a patient, a machine.
        strata: (count) the rows' classes; each is divided by the fractions, and one with at least as many rows that
            may be apart as there are parts is in every part.

    Raises:
        InvalidValue: fractions that are none.
        DataError: too few rows for the parts.
    """
    _check_fractions(fractions)
    for name, given in (("keys", keys), ("groups", groups), ("strata", strata)):
        if given is not None and len(given) != count:
            raise InvalidValue(f"{name} must be one for each of {count} rows, got {len(given)}")
    units = _units(count, [given for given in (keys, groups) if given is not None])
    wanted = [part for part in range(3) if fractions[part] > 0]
    if len(units) < len(wanted):
        what = "groups" if groups is not None else "different rows"
        raise DataError(f"{len(wanted)} parts need at least {len(wanted)} {what}, got {len(units)}; give more data")
    generator = torch.Generator().manual_seed(seed)
    shuffled: list[list[int]] = []
    dealt: list[int] = []
    for stratum in _by_stratum(units, strata):
        order = torch.randperm(len(stratum), generator=generator).tolist()
        own = sorted((stratum[index] for index in order), key=len, reverse=True)
        shuffled += own
        dealt += _dealt([len(rows) for rows in own], fractions)
    _leave_none_empty(dealt, [len(rows) for rows in shuffled], wanted)
    side = torch.full((count,), -1)
    for rows, part in zip(shuffled, dealt, strict=True):
        side[rows] = part
    how = {"by": "chance", "seed": seed, "fractions": list(fractions), "stratified": strata is not None}
    how["grouped"] = groups is not None
    return parts_of(side, how, _repeats(keys))


def _check_fractions(fractions: tuple[float, float, float]) -> None:
    if len(fractions) != 3 or any(not 0 <= one <= 1 for one in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise InvalidValue(f"fractions must be three numbers from 0 to 1 that add up to 1, got {fractions}")
    if fractions[0] == 0:
        raise InvalidValue(f"the fraction of training must be above 0, got {fractions}")


def _units(count: int, labels: list[Sequence[Hashable]]) -> list[list[int]]:
    """Rows that must stay together, each unit ascending: those with an equal label, however many rows between."""
    parent = list(range(count))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for values in labels:
        first: dict[Hashable, int] = {}
        for row, value in enumerate(values):
            one, other = root(first.setdefault(value, row)), root(row)
            parent[max(one, other)] = min(one, other)
    units: dict[int, list[int]] = defaultdict(list)
    for row in range(count):
        units[root(row)].append(row)
    return list(units.values())


def _by_stratum(units: list[list[int]], strata: Sequence[Hashable] | None) -> list[list[list[int]]]:
    """Units by their most frequent class, in the order of first occurrence; one list without classes."""
    if strata is None:
        return [units]
    found: dict[Hashable, list[list[int]]] = defaultdict(list)
    for unit in units:
        found[Counter(strata[row] for row in unit).most_common(1)[0][0]].append(unit)
    return list(found.values())


def _dealt(sizes: list[int], fractions: Sequence[float]) -> list[int]:
    """A part for each unit of these sizes (descending): the part that lacks most rows takes the next.

    Each size is dealt by itself, so that a part gets its share of large units too: they are those that repeat an input,
    and a test part without them would be an easier one.
    """
    lacking = [0.0] * len(fractions)
    wanted = [part for part in range(len(fractions)) if fractions[part] > 0]
    dealt = []
    for size, equal in groupby(sizes):
        count = len(list(equal))
        lacking = [rows + fraction * size * count for rows, fraction in zip(lacking, fractions, strict=True)]
        for _ in range(count):
            part = max(wanted, key=lambda one: lacking[one])
            lacking[part] -= size
            dealt.append(part)
    _leave_none_empty(dealt, sizes, wanted)
    return dealt


def _leave_none_empty(dealt: list[int], sizes: list[int], wanted: list[int]) -> None:
    """A part without a unit takes the smallest one of the part that has most of them, if there are enough."""
    if len(dealt) < len(wanted):
        return
    for part in wanted:
        if part not in dealt:
            most = Counter(dealt).most_common(1)[0][0]
            smallest = min((size, index) for index, size in enumerate(sizes) if dealt[index] == most)[1]
            dealt[smallest] = part


def _repeats(keys: Sequence[Hashable] | None) -> tuple[str, ...]:
    if keys is None:
        return ()
    counts = [count for count in Counter(keys).values() if count > 1]
    if not counts:
        return ()
    inputs = "1 input comes" if len(counts) == 1 else f"{len(counts):,} inputs come"
    return (f"{sum(counts):,} rows repeat an input ({inputs} more than once); they are kept in one part",)


def hold_out(
    parts: Parts,
    fraction: float,
    *,
    seed: int,
    keys: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    strata: Sequence[Hashable] | None = None,
) -> Parts:
    """Parts given by the user, with a validation part cut out of the training part; as they are if they have one.

    Args:
        parts: the given parts.
        fraction: of the training rows, for validation.
        seed, keys, groups, strata: as in ``split_rows``, of all rows.
    """
    if len(parts.validation):
        return parts
    rows = parts.training.tolist()

    def chosen(values: Sequence[Hashable] | None) -> list[Hashable] | None:
        return None if values is None else [values[row] for row in rows]

    cut = split_rows(
        len(rows),
        fractions=(1 - fraction, fraction, 0.0),
        seed=seed,
        keys=chosen(keys),
        groups=chosen(groups),
        strata=chosen(strata),
    )
    how = {**parts.how, "validation": {"fraction": fraction, "seed": seed, "stratified": strata is not None}}
    training, validation = parts.training[cut.training], parts.training[cut.validation]
    return Parts(training, validation, parts.test, how, (*parts.notes, *cut.notes))


def split_in_time(count: int, fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)) -> Parts:
    """The first rows for training, the next for validation, the last for the test.

    >>> parts = split_in_time(10, (0.6, 0.2, 0.2))
    >>> parts.training.tolist(), parts.validation.tolist(), parts.test.tolist()
    ([0, 1, 2, 3, 4, 5], [6, 7], [8, 9])
    """
    _check_fractions(fractions)
    ends = [round(count * sum(fractions[: part + 1])) for part in range(3)]
    ends[2] = count
    starts = [0, *ends[:2]]
    for name, start, end, fraction in zip(NAMES, starts, ends, fractions, strict=True):
        if fraction > 0 and end <= start:
            raise DataError(f"{count} rows are too few for a {name} part of {fraction:g}; give more data")
    training, validation, test = (torch.arange(start, end) for start, end in zip(starts, ends, strict=True))
    return Parts(training, validation, test, how={"by": "time", "fractions": list(fractions)})


def part_named(name: Any) -> str | None:
    """The part that a word stands for; None if it stands for none.

    >>> part_named("Dev"), part_named("train "), part_named("7")
    ('validation', 'training', None)
    """
    word = str(name).strip().casefold()
    return next((part for part, words in SYNONYMS.items() if word in words), None)


def split_by_column(values: Sequence[Any], column: str, where: Callable[[int], str]) -> Parts:
    """Parts as a column of the user's says: train, validation and test, or the usual words for them.

    Args:
        values: the column's cells.
        column: its name, for messages.
        where: the file and line of a row.

    Raises:
        DataError: a cell that names no part, or no row for training.
    """
    number = {name: index for index, name in enumerate(NAMES)}
    side = torch.full((len(values),), -1)
    known: dict[Any, str | None] = {}
    for row, value in enumerate(values):
        part = known[value] if value in known else known.setdefault(value, part_named(value))
        if part is None:
            raise DataError(f"{where(row)}: {column} must be train, validation or test, got {str(value)[:40]!r}")
        side[row] = number[part]
    parts = parts_of(side, {"by": "column", "column": column})
    if not len(parts.training):
        raise DataError(f"column {column!r} names no row for training; write train in those to learn from")
    return parts


def split_by_file(rows: Sequence[range], given: Sequence[str], files: Sequence[str]) -> Parts:
    """Each file's rows in the part that is given for it.

    Args:
        rows: the rows of each file, see ``Table.rows_of``.
        given: a part for each file: training, validation or test.
        files: their names, to be stored.
    """
    side = torch.full((sum(map(len, rows)),), -1)
    for one, part in zip(rows, given, strict=True):
        side[one.start : one.stop] = NAMES.index(part)
    return parts_of(side, {"by": "file", "files": dict(zip(files, given, strict=True))})


def overlap(a_keys: Collection[Hashable], b_keys: Collection[Hashable]) -> int:
    """How many of ``b_keys`` occur among ``a_keys``: the test rows that were learnt from.

    >>> overlap(["ann", "bob"], ["bob", "bob", "eve"])
    2
    """
    known = set(a_keys)
    return sum(key in known for key in b_keys)


def overlap_note(parts: Parts, keys: Sequence[Hashable]) -> tuple[str, ...]:
    """What to say where the user's own parts share inputs; nothing where they do not."""
    learnt = {keys[row] for row in parts.training.tolist()}
    notes = []
    for name in NAMES[1:]:
        rows = getattr(parts, name).tolist()
        if same := sum(keys[row] in learnt for row in rows):
            notes.append(
                f"{same:,} of {len(rows):,} {name} rows have an input that is learnt from too; "
                f"the score on them is remembered, not understood"
            )
    return tuple(notes)


def key_of(value: str | Tensor | Sequence[Hashable]) -> Hashable:
    """What is equal for equal inputs and may stand in a set.

    >>> key_of(torch.zeros(2, 1)) == key_of(torch.zeros(2, 1)), key_of(torch.zeros(2, 1)) == key_of(torch.zeros(1, 2))
    (True, False)
    """
    if isinstance(value, Tensor):
        return (tuple(value.shape), value.contiguous().numpy().tobytes())
    return value if isinstance(value, str) else tuple(value)
