"""Which task a command line is about: the one it names, the one its run began with, or the one its files look like."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ostinato.cli.flags import flag, takes_no_value
from ostinato.errors import InvalidValue, ModelFolderError
from ostinato.tasks.registry import LANGUAGE_MODEL, TASKS, guess, task_named
from ostinato.tasks.settings import TrainingSettings

ALONE = {"--resume", "--overwrite", "--quiet", "-q", "--help", "-h", "--match-parameters"}
"""Flags without a value that are no settings."""

EVERYWHERE = {flag(one.name) for one in dataclasses.fields(TrainingSettings)} | {
    "--task", "--out", "-o", "--config", "--ensemble", "--tune", "--cells", "--seeds",
}  # fmt: skip
"""Flags with a value that no task is told by."""


@dataclass(frozen=True)
class Choice:
    """A task, and how it was found.

    Args:
        task: its name.
        guess: why the files are for it, in words; empty if nothing was guessed.
    """

    task: str
    guess: str = ""


def which_task(arguments: Sequence[str]) -> Choice:
    """The task of a command line whose flags are not known yet, since they depend on it.

    Raises:
        InvalidValue: ``--task`` names none; the message names the nearest.
                  Also: no task fits the files, or several do.
        DataError: the files cannot be read.
    """
    line = _Line(arguments)
    if (named := line.value("--task")) is not None:
        task_named(named)
        return Choice(named)
    if {"-h", "--help"} & set(arguments):
        return Choice(LANGUAGE_MODEL)
    if "--resume" in arguments:
        return Choice(_of_run(line.value("--out", "-o"), line.files()))
    files = line.files()
    if not files:
        return Choice(LANGUAGE_MODEL)
    task, why = _guessed(files, line)
    if task == LANGUAGE_MODEL:
        return Choice(task)
    return Choice(task, f"{', '.join(map(str, files[:3]))}: task {task}, since {why}. Another one: --task NAME.")


def _guessed(files: Sequence[Path], line: _Line) -> tuple[str, str]:
    try:
        return guess(files)
    except InvalidValue:
        # Among several readings the settings that are given may tell.
        if not (given := line.settings()):
            raise
        return guess(files, given)


def _of_run(out: str | None, files: Sequence[Path]) -> str:
    from ostinato.training.run_folder import RunFolder

    folder = Path(out) if out is not None else Path(f"ostinato-{files[0].stem}") if files else None
    try:
        noted = RunFolder(folder).read_run() if folder is not None else {}
    except ModelFolderError:
        # The command itself says so, as it does for a folder of no run.
        noted = {}
    return str(noted.get("task", LANGUAGE_MODEL))


class _Line:
    """A command line taken apart as far as it can be without knowing its task."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)

    def value(self, *names: str) -> str | None:
        """What follows the first of these flags."""
        for place, argument in enumerate(self.arguments):
            name, equals, value = argument.partition("=")
            if name in names:
                return value if equals else next(iter(self.arguments[place + 1 :]), None)
        return None

    def files(self) -> list[Path]:
        """The arguments that belong to no flag."""
        return [Path(argument) for argument, is_file in self._walk() if is_file]

    def settings(self) -> set[str]:
        """The names of the settings that are given and that not every task has."""
        given = {argument.partition("=")[0] for argument, is_file in self._walk() if not is_file} - EVERYWHERE
        if not given - ALONE:
            return set()
        every = {one.name for name in TASKS for one in dataclasses.fields(task_named(name).settings)}
        return {name for name in every if {flag(name), flag(f"no_{name}")} & given}

    def _walk(self) -> Iterable[tuple[str, bool]]:
        rest = iter(self.arguments)
        for argument in rest:
            if argument == "--":
                yield from ((file, True) for file in rest)
            elif argument.startswith("-") and argument != "-":
                yield argument, False
                attached = "=" in argument or (argument[1] != "-" and len(argument) > 2)
                if not attached and not _stands_alone(argument):
                    next(rest, None)
            else:
                yield argument, True


def _stands_alone(given: str) -> bool:
    """Whether no value follows the flag. The tasks, which take time to import, are asked only where they may differ."""
    if given in ALONE or given in EVERYWHERE:
        return given in ALONE
    return any(given in takes_no_value(task_named(name).settings) for name in TASKS)
