"""The tasks by name; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from ostinato.cells.checks import nearest
from ostinato.errors import InvalidValue
from ostinato.tasks.task import TaskKind

TASKS = {
    "classify": "ostinato.tasks.classification.kind",
    "regress": "ostinato.tasks.classification.regress",
    "tag": "ostinato.tasks.tagging.kind",
    "forecast": "ostinato.tasks.forecasting.kind",
    "transduce": "ostinato.tasks.transduction.kind",
    "language-model": "ostinato.tasks.language_modelling.kind",
}
"""Name → the module that holds its ``TASK``."""

OF_MODELS = {
    "classifier": "classify",
    "regressor": "regress",
    "tagger": "tag",
    "forecaster": "forecast",
    "transducer": "transduce",
    "language-model": "language-model",
}
"""Kind of model → the task that makes it."""

LANGUAGE_MODEL = "language-model"

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".ts", ".conll", ".conllu")
"""Endings of files with rows. A single file of another kind is a text, and a text is for a language model."""


def task_named(name: str) -> TaskKind:
    """The task of that name.

    >>> task_named("language-model").model_kind
    'language-model'
    >>> task_named("clasify")
    Traceback (most recent call last):
    ostinato.errors.InvalidValue: there is no task 'clasify'; did you mean 'classify'?

    Raises:
        InvalidValue: there is none; the message names the nearest.
    """
    if name not in TASKS:
        raise InvalidValue(f"there is no task {name!r}" + (nearest(name, TASKS) or f"; there are {', '.join(TASKS)}"))
    return cast(TaskKind, import_module(TASKS[name]).TASK)


def task_of(model_kind: str) -> TaskKind:
    """The task whose models are of that kind.

    >>> task_of("language-model").name
    'language-model'

    Raises:
        InvalidValue: there is none.
    """
    if model_kind not in OF_MODELS:
        raise InvalidValue(f"no task makes models of the kind {model_kind!r}")
    return task_named(OF_MODELS[model_kind])


def guess(files: Sequence[Path], settings: Collection[str] = ()) -> tuple[str, str]:
    """The one task that the files are for, and why, in words.

    A single file that is no table is a text for a language model. Anything else is shown to each task that has all of
    the ``settings``, by name, that the user gave.

    Raises:
        InvalidValue: several tasks recognise the files, or none.
        DataError: the files cannot be read.
    """
    if len(files) == 1 and not files[0].is_dir() and not _holds_rows(files[0]):
        return LANGUAGE_MODEL, f"{files[0].name} is a text"
    from ostinato.data.preview import preview

    seen = preview(files)
    kinds = {name: task_named(name) for name in TASKS}
    able = [name for name, kind in kinds.items() if all(hasattr(kind.settings, one) for one in settings)]
    reasons = {name: reason for name in able if (reason := kinds[name].recognise(seen))}
    if len(reasons) == 1:
        return next(iter(reasons.items()))
    named = ", ".join(map(str, files[:3]))
    if not reasons:
        raise InvalidValue(
            f"what is to be learnt from {named} is not plain; say it with --task {'|'.join(TASKS)}, "
            f"and name the columns (--inputs, --target)"
        )
    choices = "; or ".join(f"--task {name} ({reason})" for name, reason in reasons.items())
    raise InvalidValue(f"{named} can be read in several ways; choose: {choices}")


def _holds_rows(file: Path) -> bool:
    """Whether this is a table, or a pattern of names."""
    return file.suffix.lower() in TABLES or bool(set("*?[") & set(file.name))
