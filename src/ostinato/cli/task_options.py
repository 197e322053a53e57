"""Options of `predict` and `evaluate` that only one task has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ostinato.errors import InvalidValue
from ostinato.tasks.task import TaskKind

BacktestOption = Annotated[
    bool,
    typer.Option(
        "--backtest", help="Of a forecaster: from every origin of the file, beside what came, not only from its end."
    ),
]

BeamWidthOption = Annotated[
    int | None,
    typer.Option(
        "--beam-width",
        metavar="W",
        help="Of a transducer: beginnings that are kept while it writes; 1 is greedy and the fastest. 5 if not given.",
        show_default=False,
    ),
]

LengthPowerOption = Annotated[
    float | None,
    typer.Option(
        "--length-power",
        metavar="P",
        help="Of a transducer: 1 compares ln p a token, 0 compares ln p, which prefers short texts. 1 if not given.",
        show_default=False,
    ),
]

OWN = {
    "backtest": ("--backtest", "forecast"),
    "width": ("--beam-width", "transduce"),
    "length_power": ("--length-power", "transduce"),
}
"""What a task calls an option → the flag, and whose it is."""


def asked(kind: TaskKind, model: Path, **options: Any) -> dict[str, Any]:
    """The options that were given, by the names that the task knows.

    Raises:
        InvalidValue: one is another task's.
    """
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    for name in given:
        flag, task = OWN[name]
        if kind.name != task:
            raise InvalidValue(
                f"{flag} is for models of the task {task}, and {model} is a {kind.model_kind}; leave it out"
            )
    return given
