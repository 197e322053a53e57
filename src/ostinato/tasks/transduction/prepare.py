"""From files of pairs to a task: read top to bottom to see how the parts are put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ostinato.data.files import expand
from ostinato.data.parts import Parts
from ostinato.data.split import hold_out, overlap_note, split_by_file, split_rows
from ostinato.data.table import Table, read_table
from ostinato.data.tokens import Tokens, build_tokens
from ostinato.errors import DataError, InvalidValue
from ostinato.models.beam import Search
from ostinato.models.cell_names import cell_named
from ostinato.models.text_rows import ratio_of
from ostinato.models.transducer import Transducer
from ostinato.models.transduction_network import TransductionNetwork
from ostinato.models.transduction_size import TransductionSize
from ostinato.tasks.task import Prepared
from ostinato.tasks.transduction.baseline import baselines
from ostinato.tasks.transduction.measure import compared
from ostinato.tasks.transduction.pairs import Columns, Pairs, checked_texts, choose_columns
from ostinato.tasks.transduction.settings import TransduceSettings
from ostinato.tasks.transduction.task import TransductionTask, figures
from ostinato.tasks.trial import constructed, try_cells


def prepare(files: Sequence[Path], settings: TransduceSettings) -> Prepared:
    """The pairs of the files, cut into parts, and an untrained model of the training part's tokens.

    Raises:
        DataError: a file cannot be read, lacks a column, or has an empty side; or too few pairs.
    """
    table, own = _tables(files, settings)
    columns = choose_columns(table, settings.source, settings.target)
    sources = checked_texts(table, columns.source, "--source")
    targets = checked_texts(table, columns.target, "--target")
    parts = _parts(table, own, sources, settings)
    source_tokens, target_tokens = _tokens(
        [sources[row] for row in parts.training.tolist()], [targets[row] for row in parts.training.tolist()], settings
    )
    lengths = {
        row: (len(source_tokens.split(sources[row])), len(target_tokens.split(targets[row])))
        for row in parts.training.tolist()
    }
    learnt = [row for row, both in lengths.items() if max(both) <= settings.longest]
    if not learnt:
        raise DataError(
            f"{table.name}: every pair has more than {settings.longest:,} tokens on a side; allow more with --longest"
        )
    model = _model(settings, columns, source_tokens, target_tokens, [lengths[row] for row in learnt])
    validation = Pairs(sources, targets, parts.validation.tolist()[: settings.validation_limit])
    last, part = (parts.test, "test") if len(parts.test) else (parts.validation, "validation")
    judged = Pairs(sources, targets, last.tolist())
    task = TransductionTask(
        model,
        Pairs(sources, targets, learnt),
        validation,
        batch_tokens=settings.batch_size,
        seed=settings.seed,
        label_smoothing=settings.label_smoothing,
        fingerprint=table.fingerprint,
    )

    def beaten() -> dict[str, dict[str, float]]:
        simple = baselines([targets[row] for row in learnt])
        right = [pair.target for pair in judged]
        return {
            name: compared([write(pair.source) for pair in judged], right, target_tokens)
            for name, write in simple.items()
        }

    notes = [
        *table.notes,
        f"{table.name}: {columns.source!r} is read, and {columns.target!r} is to be written for it; the first line "
        f"names the columns.",
        f"{len(learnt):,} pairs to learn from, {len(parts.validation):,} to check with, {len(parts.test):,} for the "
        f"final score; tokens are {settings.tokens}, {source_tokens.size:,} of the source and "
        f"{target_tokens.size:,} of the target.",
        *parts.notes,
    ]
    if len(learnt) < len(lengths):
        notes.append(
            f"{len(lengths) - len(learnt):,} pairs have more than {settings.longest:,} tokens on a side and are not "
            f"learnt from; --longest allows more."
        )
    if len(parts.validation) > len(validation):
        notes.append(f"Validation reads the first {len(validation):,} of its {len(parts.validation):,} pairs.")
    others = [*parts.validation.tolist(), *parts.test.tolist()]
    if strangers := sum(source_tokens.count_unknown(sources[row]) for row in others):
        notes.append(
            f"{strangers:,} {settings.tokens} of the validation and test sources do not occur in training; they are "
            f"read as one unknown token."
        )
    return Prepared(
        task=task,
        notes=tuple(notes),
        split=parts.to_json(),
        baselines=beaten,
        test=lambda trained: figures(trained, judged, Search()),
        part=part,
    )


def _tables(files: Sequence[Path], settings: TransduceSettings) -> tuple[Table, list[str]]:
    """The rows of all files, and the part that each file is given for."""
    paths = list(expand(files))
    given = ["training"] * len(paths)
    for name, part in ((settings.validation_file, "validation"), (settings.test_file, "test")):
        if name is not None:
            more = expand(name)
            paths += more
            given += [part] * len(more)
    return read_table(paths), given


def _parts(table: Table, given: list[str], sources: Sequence[str], settings: TransduceSettings) -> Parts:
    """The rows of each part; equal sources are never in two of them by chance."""
    validation, test = settings.validation_fraction, settings.test_fraction
    if set(given) == {"training"}:
        if validation + test >= 1:
            raise InvalidValue(
                f"validation_fraction and test_fraction must leave something to learn from, got {validation} and {test}"
            )
        fractions = (1 - validation - test, validation, test)
        return split_rows(len(table), fractions=fractions, seed=settings.split_seed, keys=sources)
    rows = [table.rows_of(number) for number in range(len(table.files))]
    parts = split_by_file(rows, given, [path.name for path in table.files])
    parts = parts.noting(*overlap_note(parts, sources))
    return hold_out(parts, validation, seed=settings.split_seed, keys=sources)


def _tokens(sources: list[str], targets: list[str], settings: TransduceSettings) -> tuple[Tokens, Tokens]:
    most = None if settings.tokens == "characters" else settings.vocabulary_size
    if settings.shared:
        tokens = build_tokens([*sources, *targets], settings.tokens, most=most)
        return tokens, tokens
    return build_tokens(sources, settings.tokens, most=most), build_tokens(targets, settings.tokens, most=most)


def _model(
    settings: TransduceSettings,
    columns: Columns,
    source_tokens: Tokens,
    target_tokens: Tokens,
    lengths: Sequence[tuple[int, int]],
) -> Transducer:
    size = TransductionSize(
        source_size=source_tokens.size,
        target_size=target_tokens.size,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        embedding_size=settings.embedding_size,
        attention=settings.attention,
        feed=settings.feed,
        shared=settings.shared,
        tied=settings.tied,
        dropout=settings.dropout,
        cell_options=settings.options_of_cell(),
    )
    cell = cell_named(settings.cell)
    network = constructed(lambda: TransductionNetwork(size, cell), settings.cell)
    try_cells(network, settings.cell)
    named: dict[str, Any] = {"source": columns.source, "target": columns.target}
    longest = max(source for source, _ in lengths)
    return Transducer(network, source_tokens, target_tokens, ratio_of(lengths), longest, named)
