"""A command whose flags are the settings of its task: the task is found first, then the flags are read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from ostinato.cli.which_task import Choice, which_task

CONTEXT = {"help_option_names": ["-h", "--help"]}


def task_command(build: Callable[[Choice], Callable[..., None]]) -> type[TyperCommand]:
    """The class of a command that ``build`` makes anew for the task of each command line.

    Args:
        build: of a task, and of how it was found, the function whose parameters are the flags.
    """

    class TaskCommand(TyperCommand):
        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            command = _command(build(which_task(args)))
            return command.make_context(info_name, args, parent, **extra)

    return TaskCommand


def with_parameters(
    function: Callable[..., None], parameters: Sequence[inspect.Parameter], text: str
) -> Callable[..., None]:
    """The function, with these parameters and this text as its help."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    function.__doc__ = text
    return function


def _command(function: Callable[..., None]) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown", context_settings=CONTEXT)
    app.command()(function)
    return typer.main.get_command(app)
