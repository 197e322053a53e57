"""One run from files to a tested model: prepare, say what was found, fit, and measure the best weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ostinato.models.folder import load, save_training
from ostinato.tasks.settings import TrainingSettings
from ostinato.tasks.task import Prepared, TaskKind
from ostinato.training.fit import fit
from ostinato.training.result import TrainingResult
from ostinato.training.talk import console


@dataclasses.dataclass(frozen=True)
class Manner:
    """How a run goes about its work.

    Args:
        resume: go on with the run in the folder.
        overwrite: replace it.
        quiet: say nothing.
        on_begin: called with the model folder before the first step.
        compare: measure the baselines.
    """

    resume: bool = False
    overwrite: bool = False
    quiet: bool = False
    on_begin: Callable[[Path], None] | None = None
    compare: bool = True


def prepared(kind: TaskKind, files: Sequence[Path], settings: TrainingSettings) -> Prepared:
    """The files made ready, the network's first weights drawn from the settings' seed."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return kind.prepare(files, settings)


def introduce(ready: Prepared, settings: TrainingSettings, quiet: bool) -> None:
    """Says what was found in the files, and how large the model is."""
    out = console()
    out.quiet = quiet
    parameters = sum(parameter.numel() for parameter in ready.task.network.parameters())
    *before, last = ready.notes or ("",)
    for note in before:
        out.print(note)
    out.print(f"{last} Model: {settings.cell}, {parameters:,} parameters.".strip())


def run(
    ready: Prepared, settings: TrainingSettings, folder: Path, files: Sequence[Path], manner: Manner
) -> TrainingResult:
    """Trains what is prepared, and measures the best weights; arguments and errors as for :func:`~.fit.fit`."""
    result = fit(
        ready.task,
        settings,
        folder,
        files=files,
        facts=facts(ready, files),
        resume=manner.resume,
        overwrite=manner.overwrite,
        quiet=manner.quiet,
        on_begin=manner.on_begin,
    )
    return result if result.interrupted else measured(result, ready, manner.compare)


def facts(ready: Prepared, files: Sequence[Path]) -> dict[str, Any]:
    """What is stored with a model of its data."""
    return {"files": [file.name for file in files], "split": ready.split, "notes": list(ready.notes)}


def measured(result: TrainingResult, ready: Prepared, compare: bool) -> TrainingResult:
    """The result with the best weights' figures and the baselines', which are stored with the model as well."""
    if ready.test is None:
        return result
    # The cell was named by the user for this very run, so it may be imported.
    model = load(result.folder, cell=result.cell)
    known = model.training
    test = known["test"] if "test" in known else ready.test(model)
    baselines = known.get("baselines")
    if baselines is None and compare:
        baselines = ready.baselines()
    found = {"part": ready.part, "test": test} | ({} if baselines is None else {"baselines": baselines})
    save_training(result.folder, known | found)
    return dataclasses.replace(result, part=ready.part, test=test, baselines=baselines)
