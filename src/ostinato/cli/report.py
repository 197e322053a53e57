"""What a finished run prints: its figures, a sample, and what to do next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer

from ostinato.cli import INTERRUPTED
from ostinato.models.cell_names import BUILT_IN, name_of_cell
from ostinato.models.folder import load
from ostinato.models.text_model import TextModel

if TYPE_CHECKING:
    from ostinato.training.run import TrainingResult

SAMPLE_LENGTH = 300


def report(result: TrainingResult) -> None:
    """Prints the end of a run; exits with 130 if it was interrupted."""
    folder = shlex.quote(str(result.folder))
    model = trained_model(result)
    if result.validation is not None:
        print(f"\nValidation: {result.validation} (best, at step {result.best_step:,})")
    show_sample(model)
    if result.curve is not None:
        print(f"Learning curve: {result.curve}")
    print(f"Model folder:   {result.folder}")
    if result.interrupted:
        print(f"\nInterrupted at step {result.step:,}. Go on with:")
        print(f"  ostinato train --resume --out {folder}{cell_flag(model)}")
        raise typer.Exit(INTERRUPTED)
    print(f"\nNext:\n  ostinato sample {folder} --length 500 --temperature 0.8{cell_flag(model)}")


def trained_model(result: TrainingResult) -> TextModel:
    """The model that a run left. Its cell was named by the user for this very run, so it may be imported."""
    return load(result.folder, cell=result.cell)


def show_sample(model: TextModel, length: int = SAMPLE_LENGTH, seed: int = 1) -> None:
    """Prints what the model writes."""
    print("\n" + _indented(model.sample(length=length, temperature=0.8, seed=seed)) + "\n")


def cell_flag(model: TextModel) -> str:
    """`` --cell NAME`` where the model folder alone is not enough."""
    name = name_of_cell(model.network.cell_type)
    return "" if name in BUILT_IN else f" --cell {name}"


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())
