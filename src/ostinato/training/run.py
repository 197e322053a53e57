"""A training run from files to a model folder: START HERE to see how the parts are put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.errors import InvalidValue, ModelFolderError
from ostinato.models.cell_names import BUILT_IN, cell_named
from ostinato.tasks.registry import LANGUAGE_MODEL, guess, task_named
from ostinato.tasks.settings import TrainingSettings
from ostinato.tasks.task import TaskKind
from ostinato.training.ensemble import train_ensemble
from ostinato.training.result import TrainingResult
from ostinato.training.run_folder import RunFolder
from ostinato.training.single import Manner, introduce, prepared, run
from ostinato.training.talk import console

Files = str | Path | Sequence[str | Path]


def train(
    file: Files | None = None,
    out: str | Path | None = None,
    *,
    task: str | None = None,
    ensemble: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    settings: TrainingSettings | None = None,
    on_begin: Callable[[Path], None] | None = None,
    **changes: Any,
) -> TrainingResult:
    """Trains a model on a file, and leaves a model folder.

    Args:
        file: what to learn from, or several. On resuming it may be left out.
        out: the folder; ``ostinato-NAME`` in the current directory unless said otherwise.
        task: ``"classify"``, ``"regress"``, ``"tag"``, ``"forecast"``, ``"transduce"``, ``"language-model"``; if none
            is named, the one that the file is for, as far as that is plain.
        ensemble: so many models, from different seeds, that answer together.
        resume: go on with the run in ``out``, under its own settings; a run killed at any moment ends with exactly the
            weights it would have had. ``steps``, ``epochs``, ``time_budget``, ``patience``, ``learning_rate`` and
            ``workers`` may change; a ``cell`` of your own must be named again.
        overwrite: replace the run that is in ``out``.
        quiet: say nothing.
        settings: to begin from, instead of the task's defaults.
        on_begin: called with the model folder before the first step, when the model in it has learnt nothing.
        changes: single settings by name, the fields of the task's settings.

    Raises:
        DataError: the file cannot be learnt from.
        ModelFolderError: ``out`` holds something already, or no run to resume.
        InvalidValue, InvalidType: a setting outside its rule; no task, or several, that the file may be for.
        TrainingError: training could not go on; the last good checkpoint is kept.

    Example:
        >>> result = ostinato.train("tales.txt", time_budget="2m")              # doctest: +SKIP
        >>> print(ostinato.load(result.folder).sample("Once upon", 200))        # doctest: +SKIP
        >>> result = ostinato.train("mail.csv", task="classify", target="label")  # doctest: +SKIP
        >>> result.test, result.baselines                                       # doctest: +SKIP
        ({'accuracy': 0.97, …}, {'majority class': {'accuracy': 0.61, …}, …})
    """
    files = _files(file)
    folder = RunFolder(out_folder(files, out))
    if resume and overwrite:
        raise InvalidValue("resume and overwrite exclude each other: the one goes on with what the other removes")
    if resume:
        plan = _resumed(folder, files, task, ensemble, changes)
    else:
        folder.check(overwrite, files)
        plan = _begun(files, task, ensemble, settings, changes, quiet)
    manner = Manner(resume, overwrite, quiet, on_begin)
    if plan.ensemble > 1:
        return train_ensemble(plan.kind, plan.files, plan.settings, folder.path, plan.ensemble, manner)
    ready = prepared(plan.kind, plan.files, plan.settings)
    introduce(ready, plan.settings, quiet)
    return run(ready, plan.settings, folder.path, plan.files, manner)


@dataclass(frozen=True)
class _Plan:
    """What is to be trained on what."""

    kind: TaskKind
    files: tuple[Path, ...]
    settings: TrainingSettings
    ensemble: int


def _files(file: Files | None) -> tuple[Path, ...]:
    if file is None:
        return ()
    return (Path(file),) if isinstance(file, str | Path) else tuple(map(Path, file))


def out_folder(files: Sequence[Path], out: str | Path | None) -> Path:
    """Where a run goes: ``out``, or a folder named for the files.

    >>> out_folder([Path("corpus/tales.txt")], None).name
    'ostinato-tales'

    Raises:
        InvalidValue: neither is given.
    """
    if out is not None:
        return Path(out)
    if not files:
        raise InvalidValue("a text file is needed, or with --resume the folder of the run: --out FOLDER")
    # Of a pattern of names, the folder they lie in.
    named = files[0].parent if set("*?[") & set(files[0].name) else files[0]
    return Path(f"ostinato-{named.resolve().stem}")


def _begun(
    files: tuple[Path, ...],
    task: str | None,
    ensemble: int,
    settings: TrainingSettings | None,
    changes: dict[str, Any],
    quiet: bool,
) -> _Plan:
    if not files:
        raise InvalidValue("a text file is needed: ostinato train FILE")
    if task is None:
        task = _guessed(files, changes, quiet)
    kind = task_named(task)
    chosen = (settings or kind.settings()).replaced(changes)
    if not isinstance(chosen, kind.settings):
        raise InvalidValue(
            f"settings must be {kind.settings.__name__} for the task {task}, got {type(chosen).__name__}"
        )
    # A class that is found under its name is one that a later run finds too.
    chosen = chosen.replaced({"cell": cell_named(chosen.cell), **_whole_paths(chosen)})
    chosen.options_of_cell()
    return _Plan(kind, files, chosen, ensemble)


def _whole_paths(settings: TrainingSettings) -> dict[str, str]:
    """The settings that name files, so that a run that is resumed elsewhere finds them."""
    named = {name: getattr(settings, name, None) for name in ("validation_file", "test_file")}
    return {name: str(Path(path).resolve()) for name, path in named.items() if path is not None}


def _guessed(files: Sequence[Path], changes: Collection[str], quiet: bool) -> str:
    task, reason = guess(files, changes)
    if task != LANGUAGE_MODEL and not quiet:
        console().print(f"Task: {task}, since {reason}. Another one: --task NAME.")
    return task


def _resumed(
    folder: RunFolder, files: tuple[Path, ...], task: str | None, ensemble: int, changes: dict[str, Any]
) -> _Plan:
    noted = folder.read_run()
    members = noted.get("ensemble", 1)
    if task not in (None, noted["task"]) or ensemble not in (1, members):
        raise InvalidValue(
            f"a resumed run stays what it is, {noted['task']} with {members} model{'s' * (members > 1)}; "
            f"leave --task and --ensemble out"
        )
    kind = task_named(noted["task"])
    resumable = {one.name for one in dataclasses.fields(kind.settings) if one.metadata["resumable"]}
    stored = kind.settings().replaced(noted["settings"])
    settings = stored.replaced(changes)
    if stored.cell not in BUILT_IN and "cell" not in changes:
        raise ModelFolderError(
            f"{folder.path} was begun with a cell of its user's own, {stored.cell}, and a folder's word is never "
            f"enough to import code. If you trust that code, give it: --cell {stored.cell}"
        )
    if fixed := sorted(name for name in changes if name not in resumable and _differs(stored, settings, name)):
        raise InvalidValue(
            f"a resumed run keeps its settings; only {', '.join(sorted(resumable))} may change, got {', '.join(fixed)}"
        )
    return _Plan(kind, files or tuple(Path(file) for file in noted["files"]), settings, members)


def _differs(stored: TrainingSettings, settings: TrainingSettings, name: str) -> bool:
    return bool(getattr(stored, name) != getattr(settings, name))
