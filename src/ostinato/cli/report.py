"""What a finished run prints: its figures, beside those of simple methods or with a sample, and what to do next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer

from ostinato.cells.cell import Cell
from ostinato.cli import INTERRUPTED
from ostinato.cli.tables import print_scores
from ostinato.models.cell_names import BUILT_IN, name_of_cell
from ostinato.models.evaluation import Evaluation
from ostinato.models.folder import load
from ostinato.models.text_model import TextModel
from ostinato.tasks.registry import LANGUAGE_MODEL

if TYPE_CHECKING:
    from ostinato.training.result import TrainingResult

SAMPLE_LENGTH = 300

PREDICTIONS = {"tag": "tagged.conll", "forecast": "forecast.csv"}
"""What the file of predictions is called in the line that proposes it."""


def report(result: TrainingResult) -> None:
    """Prints the end of a run; exits with 130 if it was interrupted."""
    if result.task == LANGUAGE_MODEL:
        _figures_of_text(result)
    else:
        _figures(result)
    if result.curve is not None:
        print(f"Learning curve: {result.curve}")
    print(f"Model folder:   {result.folder}")
    folder, cell = shlex.quote(str(result.folder)), cell_flag(result.cell)
    if result.interrupted:
        print(f"\nInterrupted at step {result.step:,}. Go on with:")
        print(f"  ostinato train --resume --out {folder}{cell}")
        raise typer.Exit(INTERRUPTED)
    print("\nNext:\n  " + "\n  ".join(line + cell for line in _next(result.task, folder)))


def _figures_of_text(result: TrainingResult) -> None:
    # The cell was named by the user for this very run, so it may be imported.
    model = load(result.folder, cell=result.cell)
    if (best := result.validation) is not None:
        evaluation = Evaluation.from_dict({**best.figures, **best.about})
        print(f"\nValidation: {evaluation} (best, at step {result.best_step:,})")
    show_sample(model)


def _figures(result: TrainingResult) -> None:
    print()
    if result.test is not None:
        print_scores(_main_first(result), result.baselines or {}, result.part)
    if result.validation is not None:
        print(f"Validation:     {result.validation} (best, at step {result.best_step:,})")


def _main_first(result: TrainingResult) -> dict[str, float]:
    """The figures on the test part, the one that decided which weights were kept before the others."""
    test, best = result.test or {}, (result.members[0] if result.members else result).validation
    main = [best.main] if best is not None and best.main in test else []
    return {name: test[name] for name in (*main, *test)}


def _next(task: str, folder: str) -> list[str]:
    if task == LANGUAGE_MODEL:
        return [f"ostinato sample {folder} --length 500 --temperature 0.8"]
    name = PREDICTIONS.get(task, "predictions.csv")
    return [f"ostinato predict {folder} NEW_FILE -o {name}", f"ostinato evaluate {folder} OTHER_FILE"]


def show_sample(model: TextModel, length: int = SAMPLE_LENGTH, seed: int = 1) -> None:
    """Prints what the model writes."""
    print("\n" + _indented(model.sample(length=length, temperature=0.8, seed=seed)) + "\n")


def cell_flag(cell: type[Cell]) -> str:
    """`` --cell NAME`` where the model folder alone is not enough."""
    name = name_of_cell(cell)
    return "" if name in BUILT_IN else f" --cell {name}"


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())
