"""One training as one row of a table of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ostinato.errors import ModelFolderError
from ostinato.tasks.settings import TrainingSettings
from ostinato.tasks.task import Prepared, TaskKind
from ostinato.training.fit import fit
from ostinato.training.result import TrainingResult
from ostinato.training.run_folder import RunFolder
from ostinato.training.runs_file import Run
from ostinato.training.single import Manner, prepared, run


def tested_run(
    kind: TaskKind,
    files: Sequence[Path],
    settings: TrainingSettings,
    folder: Path,
    name: str,
    *,
    overwrite: bool,
    quiet: bool,
) -> Run | None:
    """Trains a model in ``folder``; a run of the same settings that is there is gone on with, any other is replaced.

    Args:
        kind: the task.
        files: what is learnt from.
        settings: of the task.
        folder: becomes a model folder.
        name: of the run.
        overwrite: replace the run in ``folder``, whatever its settings.
        quiet: whether the training says nothing.

    Returns:
        The run, its figures on the test part, or on the validation part where there is no other; None if it was
        interrupted.
    """
    ready = prepared(kind, files, settings)
    resume = not overwrite and _stands_there(RunFolder(folder), settings, ready)
    manner = Manner(resume, overwrite=not resume, quiet=quiet, compare=False)
    result = run(ready, settings, folder, files, manner)
    if result.interrupted:
        return None
    figures = result.test if result.test is not None else result.validation.figures if result.validation else {}
    main = result.validation.main if result.validation is not None else ""
    first = main if main in figures else next(iter(figures), "")
    ordered = {one: figures[one] for one in (first, *figures) if one}
    return _row(name, settings, ready, result, ready.part if result.test is not None else "validation", ordered)


def validated_run(
    kind: TaskKind, files: Sequence[Path], settings: TrainingSettings, folder: Path, name: str, *, quiet: bool
) -> Run | None:
    """The same in an empty folder, and without a look at the test part.

    Returns:
        The run, its figure ``"score"`` that of the validation part, the higher the better; None if it was interrupted.
    """
    ready = prepared(kind, files, settings)
    result = fit(ready.task, settings, folder, quiet=quiet)
    if result.interrupted or result.validation is None:
        return None
    found = result.validation
    score = found.value if found.higher_is_better else -found.value
    return _row(name, settings, ready, result, "validation", {"score": score, **found.figures})


def _row(
    name: str,
    settings: TrainingSettings,
    ready: Prepared,
    result: TrainingResult,
    part: str,
    figures: dict[str, float],
) -> Run:
    return Run(
        run=name,
        cell=settings.cell,
        hidden_size=settings.hidden_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        parameters=sum(parameter.numel() for parameter in ready.task.network.parameters()),
        steps=result.step,
        seconds=round(result.seconds, 3),
        part=part,
        made_of="",
        figures=figures,
    )


def _stands_there(folder: RunFolder, settings: TrainingSettings, ready: Prepared) -> bool:
    """Whether a run of these settings and data has begun in the folder."""
    try:
        noted = folder.read_run()
        return noted["fingerprint"] == ready.task.fingerprint and settings.replaced(noted["settings"]) == settings
    except (ModelFolderError, ValueError, TypeError):
        return False
