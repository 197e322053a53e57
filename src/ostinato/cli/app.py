"""All subcommands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from ostinato.cli.cells import cells
from ostinato.cli.compare import compare_command
from ostinato.cli.demo import demo
from ostinato.cli.evaluate import evaluate
from ostinato.cli.examples import examples
from ostinato.cli.formats import formats
from ostinato.cli.predict import predict
from ostinato.cli.sample import sample
from ostinato.cli.task_command import CONTEXT, task_command
from ostinato.cli.train import train_command
from ostinato.tasks.registry import TASKS
from ostinato.version import __version__

app = typer.Typer(
    name="ostinato",
    help="Recurrent networks that you can read, change, and still run at full speed.\n\n"
    "Begin with `ostinato demo`, or with a file of your own: `ostinato train FILE`. What files may hold: "
    "`ostinato formats`. Which cells there are: `ostinato cells`.\n\n"
    "Any command takes --debug, which shows where an error came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings=CONTEXT,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"ostinato {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version, and nothing else.")
    ] = False,
) -> None:
    """Holds the options of `ostinato` itself."""


def _begin(arguments: list[str] | None) -> None:
    """Holds the place of a command whose flags depend on its task."""


app.command("train", cls=task_command(train_command), help=f"Train a model on a file: {', '.join(TASKS)}.")(_begin)
app.command("predict")(predict)
app.command("evaluate")(evaluate)
app.command(
    "compare",
    cls=task_command(compare_command),
    help="Compare cells on a file: the same rows, seeds and number of parameters.",
)(_begin)
app.command("sample")(sample)
app.command("formats")(formats)
app.command("cells")(cells)
app.command("demo")(demo)
app.command("examples", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(examples)
