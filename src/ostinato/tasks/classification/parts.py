"""From files to rows of a training, a validation and a test part; what classification and regression share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostinato.data.files import expand, fingerprint, unchanged
from ostinato.data.parts import Parts
from ostinato.data.split import hold_out, key_of, overlap_note, split_by_column, split_by_file, split_rows
from ostinato.data.table import read_table
from ostinato.data.tokens import build_tokens
from ostinato.errors import DataError, InvalidValue
from ostinato.models.cell_names import cell_named
from ostinato.models.sequence_inputs import Inputs, Series, Texts
from ostinato.models.sequence_network import SequenceNetwork, SequenceSize
from ostinato.tasks.classification.columns import Columns, choose
from ostinato.tasks.classification.rows import Rows, is_ts, read_rows
from ostinato.tasks.classification.settings import SequenceSettings
from ostinato.tasks.classification.task import Examples
from ostinato.tasks.trial import constructed

SHORT_TEXT = 60
"""Texts of fewer characters on average are read as characters, unless said otherwise."""


@dataclass(frozen=True)
class Material:
    """Rows of all files, and which part each belongs to.

    Args:
        files: by the part they were given for.
        rows: of each of them.
        columns: how sequences stand in the files.
        fingerprint: of all files.
    """

    files: dict[str, tuple[Path, ...]]
    rows: dict[str, Rows]
    columns: Columns
    fingerprint: str

    @property
    def inputs(self) -> list[Any]:
        """Of all rows, one part's files behind the other's."""
        return [one for rows in self.rows.values() for one in rows.sequences.inputs]

    @property
    def targets(self) -> list[tuple[Any, ...]]:
        """Of all rows, a cell for each target."""
        return [one for rows in self.rows.values() for one in rows.targets or ()]

    def where(self, row: int) -> str:
        """The file and the line of a row."""
        for rows in self.rows.values():
            if row < len(rows.sequences):
                return rows.sequences.where(row)
            row -= len(rows.sequences)
        raise IndexError(row)

    @property
    def notes(self) -> list[str]:
        """What was found and left out while reading."""
        return [note for rows in self.rows.values() for note in rows.sequences.notes]

    @property
    def name(self) -> str:
        """The training files in a message."""
        return self.rows["training"].name


def read_material(files: Sequence[Path], settings: SequenceSettings, target: Sequence[str]) -> Material:
    """All rows of the training files, and of the files given for other parts.

    Raises:
        DataError: a file cannot be learnt from.
    """
    sources = {"training": expand(files)}
    for part, name in (("validation", settings.validation_file), ("test", settings.test_file)):
        if name is not None:
            sources[part] = expand(name)
    every = [path for some in sources.values() for path in some]
    with unchanged(every):
        columns = _columns(sources["training"], settings, target)
        rows = {part: read_rows(some, columns) for part, some in sources.items()}
        seen = fingerprint(every)
    return Material(sources, rows, columns, seen)


def _columns(files: tuple[Path, ...], settings: SequenceSettings, target: Sequence[str]) -> Columns:
    if is_ts(files):
        named = {"inputs": settings.inputs, "group": settings.group, "time": settings.time, "target": target}
        if wrong := [name for name, value in named.items() if value]:
            raise InvalidValue(f"{files[0].name} is a .ts file, which has no columns to name; leave {wrong[0]} out")
        return Columns("ts", (), ("target",), fill=settings.fill)
    table = read_table(files)
    aside = [settings.split_column]
    return choose(table, settings.inputs, target, settings.group, settings.time, aside, settings.fill)


def cut(
    material: Material, settings: SequenceSettings, strata: Sequence[Hashable] | None, targets: Sequence[Hashable]
) -> Parts:
    """The parts: by files, by a column, else by chance; rows that repeat an input stay together, or are counted.

    Args:
        material: all rows.
        settings: the fractions, the seed, the column, and whether repeats are left out.
        strata: the rows' classes, so that each part has its share of each; None for quantities.
        targets: what each row is to give: a row that repeats another has the same.
    """
    keys = [key_of(one) for one in material.inputs]
    kept = list(range(len(keys)))
    if settings.repeats == "once":
        first = {pair: row for row, pair in reversed(list(enumerate(zip(keys, targets, strict=True))))}
        kept = sorted(first.values())
    left = len(keys) - len(kept)
    notes = (f"{left:,} rows that repeat an earlier one, input and target, are left out",) if left else ()
    parts = _cut(material, settings, keys, strata, kept)
    return replace(parts, how={**parts.how, "repeats_left_out": left}, notes=(*notes, *parts.notes))


def _cut(
    material: Material,
    settings: SequenceSettings,
    keys: Sequence[Hashable],
    strata: Sequence[Hashable] | None,
    kept: list[int],
) -> Parts:
    seed, share, test = settings.split_seed, settings.validation_fraction, settings.test_fraction
    if settings.split_column is None and len(material.rows) == 1:
        if share + test >= 1:
            raise InvalidValue(
                f"validation_fraction and test_fraction must leave rows to learn from, got {share} and {test}"
            )
        own = None if strata is None else [strata[row] for row in kept]
        parts = split_rows(
            len(kept),
            fractions=(1 - share - test, share, test),
            seed=seed,
            keys=[keys[row] for row in kept],
            strata=own,
        )
        rows = torch.tensor(kept)
        return Parts(rows[parts.training], rows[parts.validation], rows[parts.test], parts.how, parts.notes)
    given = _given(material, settings.split_column)
    training, validation, final = (
        part[torch.isin(part, torch.tensor(kept))] for part in (given.training, given.validation, given.test)
    )
    given = Parts(training, validation, final, given.how, given.notes)
    return hold_out(given.noting(*overlap_note(given, keys)), share, seed=seed, keys=keys, strata=strata)


def _given(material: Material, column: str | None) -> Parts:
    """The parts that a column or files say."""
    if column is not None:
        if len(material.rows) > 1:
            raise InvalidValue("the parts are given by a column or by files, not both; leave split_column out")
        return split_by_column(material.rows["training"].cells(column), column, material.where)
    counts = [len(rows.sequences) for rows in material.rows.values()]
    runs = [range(end - count, end) for end, count in zip(accumulate(counts), counts, strict=True)]
    return split_by_file(runs, list(material.rows), [rows.name for rows in material.rows.values()])


def inputs_of(training: Sequence[Any], material: Material, settings: SequenceSettings) -> Inputs:
    """What the model reads, learnt from the training part: an alphabet, words, or the channels."""
    if not material.columns.is_text:
        return Series(material.rows["training"].sequences.names)
    kind = settings.tokens
    if kind is None:
        kind = "characters" if sum(map(len, training)) < SHORT_TEXT * len(training) else "words"
    least, most = (1 if kind == "characters" else settings.least_count), settings.most_tokens
    return Texts(build_tokens(training, kind, least=least, most=most, hashed=settings.hash_buckets))


def lengths_of(inputs: Inputs, sequences: Sequence[Any], where: Callable[[int], str]) -> list[int]:
    """Steps of each sequence.

    Raises:
        DataError: one has none; the message names the line.
    """
    lengths = [len(one) if isinstance(inputs, Series) else len(inputs.tokens.encode(one)) for one in sequences]
    if 0 in lengths:
        kind = inputs.tokens.kind if isinstance(inputs, Texts) else "steps"
        raise DataError(f"{where(lengths.index(0))} has a sequence of length 0: it holds no {kind}; leave it out")
    return lengths


def examples(rows: Tensor, material: Material, inputs: Inputs, targets: Sequence[Any] | Tensor) -> Examples:
    """The rows of a part."""
    numbers, every = rows.tolist(), material.inputs
    chosen = [every[row] for row in numbers]
    lengths = lengths_of(inputs, chosen, lambda index: material.where(numbers[index]))
    own = targets[rows] if isinstance(targets, Tensor) else [targets[row] for row in numbers]
    return Examples(chosen, lengths, own)


def network_of(inputs: Inputs, training: Sequence[Any], outputs: int, settings: SequenceSettings) -> SequenceNetwork:
    """The untrained network; one of series is scaled by what the training part is like."""
    size = SequenceSize(
        outputs=outputs,
        tokens=inputs.tokens.size if isinstance(inputs, Texts) else 0,
        channels=0 if isinstance(inputs, Texts) else len(inputs.channels),
        embedding_size=settings.embedding_size,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        bidirectional=settings.bidirectional,
        pooling=settings.pooling,
        dropout=settings.dropout,
        cell_options=settings.options_of_cell(),
    )
    network = constructed(lambda: SequenceNetwork(size, cell_named(settings.cell)), settings.cell)
    if isinstance(inputs, Series):
        steps = torch.cat(list(training)).double()
        network.scale(steps.mean(0).float(), steps.std(0, correction=0).float())
    return network


def unknown_note(inputs: Inputs, sequences: Sequence[Any], part: str) -> list[str]:
    """How many tokens of a part the training part does not have."""
    if not isinstance(inputs, Texts):
        return []
    unknown, total = inputs.count_unknown(sequences)
    if not unknown:
        return []
    kind = inputs.tokens.kind
    return [
        f"{unknown:,} of {total:,} {part} {kind} ({unknown / total:.1%}) are unknown: too rare in training, or new."
    ]


def about(material: Material, inputs: Inputs, examples: Examples) -> str:
    """What is read, in a line."""
    steps = sum(examples.lengths) / max(1, len(examples.lengths))
    columns, name = material.columns, material.name
    if isinstance(inputs, Texts):
        read = f"texts{_of(columns.inputs)} as {inputs.tokens.kind}, {steps:.1f} on average"
        return f"{name}: {read}; {inputs.tokens.size:,} known."
    shown = ", ".join(inputs.channels[:12]) + (", …" if len(inputs.channels) > 12 else "")
    return f"{name}: series of {steps:.1f} steps on average, {len(inputs.channels)} channels ({shown})."


def _of(names: Sequence[str]) -> str:
    return f" of column {names[0]}" if names else ""
