"""``ostinato evaluate``: how good a model is on a file that has the answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ostinato.cli.options import CellOption, FilesArgument, ModelArgument, own_cell
from ostinato.cli.row_formats import plain
from ostinato.cli.tables import print_figures
from ostinato.cli.task_options import BeamWidthOption, LengthPowerOption, asked
from ostinato.errors import InvalidValue
from ostinato.models.text_model import TextModel
from ostinato.tasks.registry import task_of


def evaluate(
    model: ModelArgument,
    files: FilesArgument,
    part: Annotated[
        Literal["all", "validation"],
        typer.Option(help="Of a text: the whole file, or the part of it that training validated with."),
    ] = "all",
    beam_width: BeamWidthOption = None,
    length_power: LengthPowerOption = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="For people, or for programs.")] = "text",
    cell: CellOption = None,
) -> None:
    """How good a model is on a file that it did not learn from, and that has the answers.

    The figures are those of the model's task: accuracy and F1 of classes, errors of numbers and forecasts, nats and
    bits per character of texts. For a text, `--part validation` gives the number that training reported.

        ostinato evaluate ostinato-reviews other-reviews.csv
        ostinato evaluate ostinato-ner test.conll --format json
        ostinato evaluate ostinato-tales tales.txt --part validation
    """
    from ostinato.models.folder import load

    loaded = load(model, own_cell(cell))
    options = asked(task_of(loaded.kind), model, width=beam_width, length_power=length_power)
    if isinstance(loaded, TextModel):
        _evaluate_text(loaded, files, part, format)
        return
    if part != "all":
        raise InvalidValue(f"--part {part} is for language models, and {model} is a {loaded.kind}; leave it out")
    figures = _of_files(loaded, files, options)
    if format == "json":
        print(json.dumps(figures, ensure_ascii=False, default=plain))
    else:
        print_figures(figures)


def _of_files(model: Any, files: Sequence[Path], options: dict[str, Any]) -> dict[str, Any]:
    from ostinato.data.files import expand, unchanged

    sources = expand(files)
    with unchanged(sources):
        return task_of(model.kind).evaluate(model, sources, options)


def _evaluate_text(model: TextModel, files: Sequence[Path], part: str, format: str) -> None:
    from ostinato.tasks.language_modelling.kind import evaluation

    if len(files) > 1:
        raise InvalidValue(f"a language model is evaluated on one text, got {len(files)}; ask for each")
    figures = evaluation(model, files[0], part)
    if format == "json":
        print(json.dumps(figures.as_dict()))
        return
    print(figures)
    if figures.unknown:
        print(f"{figures.unknown:,} of them are {figures.unit}s that the model does not know; they count as unknown.")
