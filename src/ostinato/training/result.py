"""What a run leaves, as an object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ostinato.cells.cell import Cell
from ostinato.tasks.task import Score


@dataclass(frozen=True)
class TrainingResult:
    """What a run leaves.

    Args:
        task: its name.
        folder: the model folder; ``ostinato.load`` reads it.
        validation: of the best weights, which are those in the folder; None if the run was interrupted before any, and
            for an ensemble.
        step: steps done in all.
        best_step: after which the best weights were found; 0 for an ensemble.
        seconds: of training in all.
        stopped_because: in words.
        interrupted: whether by Ctrl-C, so that ``resume`` goes on.
        curve: the picture of the learning curve, when there is one.
        cell: the class of the cell.
        part: which part of the data ``test`` and ``baselines`` are about: ``"test"``, or ``"validation"`` where there
            is no test part.
        test: figures of the best weights; None if the run was interrupted, and for language models.
        baselines: name → the same figures of simple methods.
        members: the runs of an ensemble.
    """

    task: str
    folder: Path
    validation: Score | None
    step: int
    best_step: int
    seconds: float
    stopped_because: str
    interrupted: bool
    curve: Path | None
    cell: type[Cell]
    part: str = "validation"
    test: dict[str, float] | None = None
    baselines: dict[str, dict[str, float]] | None = None
    members: tuple[TrainingResult, ...] = ()
