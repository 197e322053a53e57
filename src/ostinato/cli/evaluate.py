"""``ostinato evaluate``: how well a model predicts a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from ostinato.cli.options import CellOption, ModelArgument, own_cell
from ostinato.errors import ModelFolderError
from ostinato.models.evaluation import Evaluation
from ostinato.models.text_model import TextModel


def evaluate(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The text, in UTF-8.")],
    part: Annotated[
        Literal["all", "validation"],
        typer.Option(help="The whole file, or the part of it that training validated with."),
    ] = "all",
    format: Annotated[Literal["text", "json"], typer.Option(help="For people, or for programs.")] = "text",
    cell: CellOption = None,
) -> None:
    """How well a model predicts a text: nats and bits per character, and perplexity.

        ostinato evaluate ostinato-tales other-tales.txt
        ostinato evaluate ostinato-tales tales.txt --part validation

    The second gives the number that training reported.
    """
    from ostinato.models.folder import load

    loaded = load(model, own_cell(cell))
    figures = _validation_part(loaded, file) if part == "validation" else loaded.evaluate(file)
    if format == "json":
        print(json.dumps(figures.as_dict()))
        return
    print(figures)
    if figures.unknown:
        print(f"{figures.unknown:,} of them are characters that the model does not know; they count as unknown.")


def _validation_part(model: TextModel, file: Path) -> Evaluation:
    from ostinato.tasks.language_modelling.corpus import validation_part

    training = model.training
    fraction, limit = training.get("validation_fraction"), training.get("validation_limit")
    if not isinstance(fraction, float) or not 0 < fraction < 1 or type(limit) is not int or limit < 2:
        raise ModelFolderError("config.json does not say which part training validated with; use --part all")
    return model.evaluate_tokens(validation_part(file, model.vocabulary, fraction, limit))
