"""``ostinato predict``: a model's answer to every row of a file."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from ostinato.cli.options import CellOption, FilesArgument, ModelArgument, QuietOption, own_cell
from ostinato.cli.row_file import RowFile, RowsFrom, must_be_free, write_to_stream
from ostinato.cli.row_formats import Row, format_for, row_format
from ostinato.cli.task_options import BacktestOption, BeamWidthOption, LengthPowerOption, asked
from ostinato.cli.waiting import counted, rows_about, say
from ostinato.errors import DataError, InvalidValue
from ostinato.models.folder import CONFIG, WEIGHTS
from ostinato.tasks.registry import task_of

USUAL = {"tag": "conll"}
"""How a task's rows are written where neither --format nor the file's name says it; else as CSV."""


def predict(
    model: ModelArgument,
    files: FilesArgument,
    out: Annotated[
        str,
        typer.Option("--out", "-o", metavar="OUT", help="The file to make; - writes to the standard output."),
    ] = "-",
    format: Annotated[
        Literal["csv", "tsv", "jsonl", "json", "conll"] | None,
        typer.Option(help="How rows are written; as OUT's name ends, unless said otherwise.", show_default=False),
    ] = None,
    backtest: BacktestOption = False,
    beam_width: BeamWidthOption = None,
    length_power: LengthPowerOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    quiet: QuietOption = False,
    cell: CellOption = None,
) -> None:
    """Predict every row of a file: its rows in their order, each with the prediction and its score.

    A forecast gives new rows instead: origin, time, horizon and the forecast or its quantiles. Rows are written as
    they are computed. OUT appears when it is complete: a run that was killed goes on where it was, with the same
    command, unless the model or the file has changed since.

        ostinato predict ostinato-reviews new.csv -o predictions.csv
        ostinato predict ostinato-ner raw.conll -o tagged.conll
        ostinato predict ostinato-sales sales.csv --format jsonl | head
        ostinato predict ostinato-sales sales.csv --backtest -o backtest.csv
        ostinato predict ostinato-plurals words.tsv --beam-width 1 -o plurals.tsv
    """
    from ostinato.data.files import expand, fingerprint, unchanged
    from ostinato.models.folder import load

    target = None if out == "-" else Path(out)
    if target is not None:
        must_be_free(target, overwrite)
    sources = expand(files)
    _not_onto_itself(target, sources)
    loaded = load(model, own_cell(cell))
    kind = task_of(loaded.kind)
    options = asked(kind, model, backtest=backtest, width=beam_width, length_power=length_power)
    form = format_for(target, format, USUAL.get(kind.name, "csv"))
    seen = fingerprint(sources)
    total = rows_about(sources) if kind.name != "forecast" else None

    def rows(start: int) -> Iterator[Row]:
        # The files are looked at again after the last row, before the result takes its name.
        with unchanged(sources) as still:
            if still != seen:
                raise DataError(f"{files[0]} changed before it was read; run the command again")
            if start:
                say(f"Going on after {start:,} rows.", quiet)
            predictions = kind.predict(loaded, sources, {"format": form, "start": start, **options})
            yield from counted(predictions, start, total, quiet or target is None)

    count = _write(target, form, _fingerprint(model, seen, f"{form} {sorted(options.items())}"), rows)
    if target is not None:
        say(f"{target}: {count:,} predictions of {model}.", quiet)


def _write(target: Path | None, form: str, made_of: str, rows: RowsFrom) -> int:
    if target is None:
        return write_to_stream(sys.stdout, row_format(form), rows)
    return RowFile(target, row_format(form), made_of).write(rows)


def _not_onto_itself(target: Path | None, sources: Sequence[Path]) -> None:
    if target is not None and target.resolve() in [source.resolve() for source in sources]:
        raise InvalidValue(f"{target} is the file that is predicted; name another one with -o")


def _fingerprint(model: Path, files: str, asked: str) -> str:
    """Of all that the rows depend on."""
    digest = hashlib.sha256(f"{files} {asked}".encode())
    # An ensemble's members stand in folders of their own.
    for path in sorted(path for name in (CONFIG, WEIGHTS) for at in (name, f"*/{name}") for path in model.glob(at)):
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
