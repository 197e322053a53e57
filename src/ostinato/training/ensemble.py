"""Several runs from different seeds, each in a folder of its own, joined to one model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ostinato.errors import InvalidValue, TrainingError
from ostinato.models.ensemble import MOST, can_be_averaged
from ostinato.models.folder import save_ensemble
from ostinato.models.kinds import model_class
from ostinato.tasks.settings import TrainingSettings
from ostinato.tasks.task import TaskKind
from ostinato.training.fit import check_same_data, ready
from ostinato.training.result import TrainingResult
from ostinato.training.run_folder import RunFolder
from ostinato.training.single import Manner, facts, introduce, measured, prepared, run
from ostinato.training.talk import console


def train_ensemble(
    kind: TaskKind, files: Sequence[Path], settings: TrainingSettings, folder: Path, members: int, manner: Manner
) -> TrainingResult:
    """Trains ``members`` models into ``folder``/1, 2, …, with seeds that follow the settings' own.

    From the first member on, ``folder`` is an ensemble of those that there are, so that an interrupted run is usable.
    A time budget is that of all members together.

    Raises:
        InvalidValue: models of this kind cannot be averaged, or there are too many.
        TrainingError: the task does not cut the data alike for each seed.
        besides all that a single run raises.
    """
    if not 1 < members <= MOST:
        raise InvalidValue(f"ensemble must be from 2 to {MOST} models, got {members}")
    if not can_be_averaged(model_class(kind.model_kind)):
        raise InvalidValue(f"models of the task {kind.name} cannot answer together; leave --ensemble out")
    place, out = RunFolder(folder), console()
    out.quiet = manner.quiet
    made = prepared(kind, files, _of_member(settings, 1, members))
    ready(made.task, settings)
    first = made
    if manner.resume:
        check_same_data(place, made.task, files)
    else:
        place.prepare(manner.overwrite, files)
    place.write_run(
        {
            "task": kind.name,
            "files": [str(file.resolve()) for file in files],
            "fingerprint": made.task.fingerprint,
            "settings": dataclasses.asdict(settings),
            "ensemble": members,
        }
    )
    introduce(made, settings, manner.quiet)
    results: list[TrainingResult] = []
    for number in range(1, members + 1):
        own = _of_member(settings, number, members)
        if number > 1:
            made = prepared(kind, files, own)
        if made.split != first.split:
            raise TrainingError("the members of an ensemble must learn from the same part of the data, and they do not")
        out.print(f"Model {number} of {members}:")
        going_on = manner.resume and place.member(number).is_ours()
        how = Manner(going_on, overwrite=False, quiet=manner.quiet, on_begin=manner.on_begin, compare=False)
        results.append(run(made, own, place.member(number).path, files, how))
        save_ensemble(number, facts(made, files) | {"task": kind.name}, folder)
        if results[-1].interrupted:
            break
    joined = _joined(results, folder)
    return joined if joined.interrupted else measured(joined, made, manner.compare)


def _of_member(settings: TrainingSettings, number: int, members: int) -> TrainingSettings:
    budget = settings.time_budget
    return settings.replaced(
        {"seed": settings.seed + number - 1, "time_budget": None if budget is None else budget / members}
    )


def _joined(results: Sequence[TrainingResult], folder: Path) -> TrainingResult:
    last = results[-1]
    return dataclasses.replace(
        last,
        folder=folder,
        validation=None,
        best_step=0,
        step=sum(result.step for result in results),
        seconds=sum(result.seconds for result in results),
        curve=None,
        members=tuple(results),
    )
