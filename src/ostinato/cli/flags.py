"""A settings dataclass as flags: each field's name, type, help, group and default become one option."""

from __future__ import annotations

import csv
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from ostinato.setting import hints_of, is_list, plain_type

PARTS = ("validation_file", "test_file")
"""Settings that have a second flag: ``--test`` is ``--test-file``."""


def keyword(name: str, default: Any, kind: Any, option: Any) -> inspect.Parameter:
    """One parameter of a command that is put together by hand."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def flag(name: str) -> str:
    """The flag of a field.

    >>> flag("hidden_size")
    '--hidden-size'
    """
    return f"--{name.replace('_', '-')}"


def parameters_of(settings: type, without: tuple[str, ...] = ()) -> list[inspect.Parameter]:
    """The options for the fields of ``settings``; one that is not given is None.

    Args:
        settings: a dataclass whose fields were made by ``ostinato.setting.setting``.
        without: names of fields that the command has no use for.
    """
    hints = hints_of(settings)
    fields = [one for one in dataclasses.fields(settings) if one.name not in without]
    return [_parameter(one, hints[one.name]) for one in fields]


def takes_no_value(settings: type) -> set[str]:
    """The flags of ``settings`` that stand alone, with their negations.

    >>> from ostinato.cli.flags import takes_no_value
    >>> @dataclasses.dataclass
    ... class Some:
    ...     normalise: bool = True
    >>> sorted(takes_no_value(Some))
    ['--no-normalise', '--normalise']
    """
    hints = hints_of(settings)
    names = [one.name for one in dataclasses.fields(settings) if plain_type(hints[one.name]) is bool]
    return {form for name in names for form in (flag(name), flag(f"no_{name}"))}


def changes_of(settings: type, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, as settings: a list is split at its commas.

    >>> @dataclasses.dataclass
    ... class Some:
    ...     inputs: tuple[str, ...] = ()
    ...     steps: int = 3
    >>> changes_of(Some, {"inputs": 'x, "a,b"', "steps": None})
    {'inputs': ('x', 'a,b')}
    """
    hints = hints_of(settings)
    given = {name: value for name, value in flags.items() if value is not None}
    return {name: split(value) if is_list(hints[name]) else value for name, value in given.items()}


def split(text: str) -> tuple[str, ...]:
    """The parts between commas; a part with a comma in it stands in quotes.

    >>> split('a, b,"c, d"')
    ('a', 'b', 'c, d')
    """
    return tuple(part.strip() for line in csv.reader([text], skipinitialspace=True) for part in line if part.strip())


def _parameter(setting: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    kind, metavar = _flag_type(setting.name, hint)
    names = [f"{flag(setting.name)}/{flag('no_' + setting.name)}"] if kind is bool else _names(setting.name)
    option = typer.Option(
        *names,
        metavar=metavar,
        help=setting.metadata["help"] + _default(setting.default),
        rich_help_panel=setting.metadata["group"],
        show_default=False,
    )
    return keyword(setting.name, None, kind | None, option)


def _names(name: str) -> list[str]:
    """The flag, and for a file of one's own the short one that people try first."""
    return [flag(name), *([flag(name.removesuffix("_file"))] if name in PARTS else [])]


def _default(value: Any) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f" Default: {'yes' if value else 'no'}."
    return f" Default: {','.join(map(str, value)) if isinstance(value, tuple) else value}."


def _flag_type(name: str, hint: Any) -> tuple[Any, str | None]:
    """How a setting is written on the command line. Numbers' rules are checked by the settings, in one place."""
    kind = plain_type(hint)
    if name == "time_budget":
        return str, "TIME"
    if name == "cell":
        return str, "NAME|package.module:Class"
    if get_origin(kind) is Literal:
        return kind, "|".join(map(str, get_args(kind)))
    if name == "cell_options":
        return str, "NAME=VALUE,…"
    if is_list(kind):
        return str, "A,B,…"
    return kind, None
