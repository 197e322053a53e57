"""Which columns are forecast, which are read beside them, and which the user forgot to name."""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.data.table import Table
from ostinato.data.times import looks_like_time
from ostinato.errors import DataError, InvalidValue
from ostinato.models.series_form import Columns
from ostinato.tasks.forecasting.settings import ForecastSettings

NUMBERS = ("integer", "number")


def choose_columns(table: Table, settings: ForecastSettings) -> tuple[Columns, tuple[str, ...]]:
    """The columns to read, and what to say of those that were guessed or are not read.

    Raises:
        DataError: a column is missing; the message names the nearest.
        InvalidValue: a column is named for two things, or nothing says what is to be forecast.
    """
    _check_apart(settings)
    for flag in ("time", "group"):
        if (name := getattr(settings, flag)) is not None:
            table.need(name, f"--{flag}")
    for flag in ("target", "inputs", "known"):
        for name in getattr(settings, flag):
            table.need(name, f"--{flag}")
    time = settings.time or _time_column(table)
    notes = [] if settings.time or time is None else [f"time column: {time}; another one: --time NAME"]
    if time is None:
        notes.append("no column of time stamps: rows are taken in their order, one step apart")
    taken = {time, settings.group, *settings.inputs, *settings.known}
    numbers = [name for name in table.columns if name not in taken and table.kinds[name] in NUMBERS]
    targets = settings.target or tuple(numbers)
    there = f"several columns of numbers: {', '.join(numbers[:20])}" if numbers else "no column of numbers"
    if len(targets) != 1 and not settings.target:
        raise InvalidValue(
            f"{table.name} has {there}; "
            f"say what to forecast, as in --target {numbers[-1] if numbers else 'NAME'}"
            + (f", or all as so many series: --target {','.join(numbers[:3])}" if len(numbers) > 1 else "")
        )
    if not settings.target:
        notes.append(f"target: {targets[0]}, the only column of numbers")
    unread = [name for name in numbers if name not in targets]
    if unread:
        notes.append(f"not read: {', '.join(unread)}; --inputs {','.join(unread)} reads them beside the target")
    return Columns(targets, settings.inputs, settings.known, time, settings.group), tuple(notes)


def check_leakage(table: Table, columns: Columns) -> None:
    """Refuses a column that is named as known in the future and holds the target.

    Raises:
        DataError: its cells are those of the target.
    """
    for known in columns.known:
        cells = table.column(known)
        for target in columns.targets:
            if cells == table.column(target):
                raise DataError(
                    f"{table.name}: column {known!r} (--known) is the target {target!r} under another name, and its "
                    f"future is what is to be forecast; leave it out"
                )


def _check_apart(settings: ForecastSettings) -> None:
    """Every column has one part to play."""
    roles: dict[str, str] = {}
    for flag in ("target", "inputs", "known", "time", "group"):
        value = getattr(settings, flag)
        names: Sequence[str] = value if isinstance(value, tuple) else [value] if value else []
        for name in names:
            if name not in roles:
                roles[name] = flag
            elif roles[name] == flag:
                raise InvalidValue(f"--{flag} names {name!r} twice")
            elif (roles[name], flag) == ("target", "known"):
                raise InvalidValue(
                    f"{name!r} is the --target, and its future is what is to be forecast, so it cannot be --known; "
                    f"its past is read in any case"
                )
            elif (roles[name], flag) == ("target", "inputs"):
                raise InvalidValue(
                    f"{name!r} is the --target, whose past is read in any case; leave it out of --inputs"
                )
            else:
                raise InvalidValue(f"{name!r} cannot be --{roles[name]} and --{flag} at once; leave one of them out")


def _time_column(table: Table) -> str | None:
    """The only column whose first cells are times."""
    head = range(min(50, len(table)))
    texts = [name for name in table.columns if table.kinds[name] == "text"]
    found = [name for name in texts if all(looks_like_time(cell) for cell in table.cells(name)[: len(head)])]
    if len(found) > 1:
        raise InvalidValue(f"{table.name} has several columns of times: {', '.join(found)}; choose one with --time")
    return found[0] if found else None
