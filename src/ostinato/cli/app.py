"""All subcommands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from ostinato.cli.demo import demo
from ostinato.cli.evaluate import evaluate
from ostinato.cli.examples import examples
from ostinato.cli.sample import sample
from ostinato.cli.train import train_command
from ostinato.version import __version__

app = typer.Typer(
    name="ostinato",
    help="Recurrent networks that you can read, change, and still run at full speed.\n\n"
    "Begin with `ostinato demo`, or with a text of your own: `ostinato train FILE`.\n\n"
    "Any command takes --debug, which shows where an error came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
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


app.command("train")(train_command())
app.command("sample")(sample)
app.command("evaluate")(evaluate)
app.command("demo")(demo)
app.command("examples", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(examples)
