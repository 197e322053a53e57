"""``ostinato train``: its flags are the fields of Settings, texts and defaults included."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from ostinato.cli.report import report
from ostinato.training.settings import Settings, settings_from_yaml

HELP = """Train a language model on a text file.

It leaves a model folder, a learning curve and a sample. Ctrl-C stops it and keeps what was learnt; `--resume` goes on.

    ostinato train tales.txt
    ostinato train tales.txt --out tales-gru --cell gru --hidden-size 512 --time-budget 10m
    ostinato train --resume --out tales-gru
    ostinato train tales.txt --config settings.yaml --seed 3

Settings come from the defaults, then from --config, then from flags.
"""


def train_command() -> Callable[..., None]:
    """The function of the subcommand, with one parameter for each setting."""

    def train(
        file: Path | None,
        out: Path | None,
        resume: bool,
        overwrite: bool,
        config: Path | None,
        quiet: bool,
        **flags: Any,
    ) -> None:
        from ostinato.training.run import train as run

        changes = {} if config is None else settings_from_yaml(config)
        changes |= {name: value for name, value in flags.items() if value is not None}
        result = run(file, out, resume=resume, overwrite=overwrite, quiet=quiet, **changes)
        report(result)

    parameters = [*_fixed_parameters(), *map(_parameter, dataclasses.fields(Settings))]
    train.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    train.__doc__ = HELP
    return train


def _fixed_parameters() -> list[inspect.Parameter]:
    folder = "The folder to make; ostinato-NAME in the current directory unless said otherwise."
    yaml = "A YAML file of lines `setting: value`; the settings are the flags below."
    return [
        _keyword(
            "file", None, Path | None, typer.Argument(metavar="FILE", help="The text, in UTF-8.", show_default=False)
        ),
        _keyword("out", None, Path | None, typer.Option("--out", "-o", metavar="DIR", help=folder, show_default=False)),
        _keyword("resume", False, bool, typer.Option("--resume", help="Go on with the run in --out.")),
        _keyword("overwrite", False, bool, typer.Option("--overwrite", help="Replace the run that is in --out.")),
        _keyword(
            "config", None, Path | None, typer.Option("--config", metavar="FILE.yaml", help=yaml, show_default=False)
        ),
        _keyword("quiet", False, bool, typer.Option("--quiet", "-q", help="No progress, only the result.")),
    ]


def _parameter(setting: dataclasses.Field[Any]) -> inspect.Parameter:
    kind, metavar = _flag_type(setting.name)
    option = typer.Option(
        f"--{setting.name.replace('_', '-')}",
        metavar=metavar,
        help=setting.metadata["help"] + (f" Default: {setting.default}." if setting.default is not None else ""),
        rich_help_panel=setting.metadata["group"],
        show_default=False,
    )
    return _keyword(setting.name, None, kind | None, option)


def _flag_type(name: str) -> tuple[Any, str | None]:
    """How the setting is written on the command line. Numbers' rules are checked by Settings, in one place."""
    if name == "time_budget":
        return str, "TIME"
    kind = get_type_hints(Settings)[name]
    if getattr(kind, "__origin__", None) is Literal:
        return kind, "|".join(kind.__args__)
    if name == "cell":
        return str, "lstm|gru|rnn|package.module:Class"
    return next(one for one in getattr(kind, "__args__", (kind,)) if one is not type(None)), None


def _keyword(name: str, default: Any, kind: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])
