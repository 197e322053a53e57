"""Runs as a table on disk, a row a run: what is in it is done, and is not done again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ostinato.errors import DataError
from ostinato.models.files import write_text

FIXED = (
    "run", "cell", "hidden_size", "learning_rate", "seed", "parameters", "steps", "seconds",
    "steps_per_second", "part", "made_of",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training and what came of it.

    Args:
        run: its name among the others.
        cell: name of the cell.
        hidden_size: width of the recurrent layers.
        learning_rate: the highest.
        seed: of the first weights and the batches.
        parameters: of the network.
        steps: done until it stopped.
        seconds: of training, validation included.
        part: of the data that the figures are of, ``"test"`` or ``"validation"``.
        made_of: fingerprint of files and settings: a run of another one is another run.
        figures: what the model reached, by name, the deciding one first.
    """

    run: str
    cell: str
    hidden_size: int
    learning_rate: float
    seed: int
    parameters: int
    steps: int
    seconds: float
    part: str
    made_of: str
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def steps_per_second(self) -> float:
        """Speed of the training, validation included."""
        return self.steps / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class RunsFile:
    """The table; it is replaced whole after each run, so that it is never half a row longer."""

    path: Path

    def read(self) -> list[Run]:
        """The runs that are done.

        Raises:
            DataError: the file is no table of runs; its line is named.
        """
        if not self.path.exists():
            return []
        text = self.path.read_text("utf-8")
        table = csv.DictReader(io.StringIO(text))
        if lacks := [name for name in FIXED if name not in (table.fieldnames or ())]:
            raise DataError(f"{self.path} is no table of runs: it lacks the column {lacks[0]}; name another folder")
        try:
            return [_read(row) for row in table]
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{self.path}, line {table.line_num}, is no run ({error}); remove the line, and it is done again"
            ) from error

    def write(self, runs: Sequence[Run]) -> None:
        """Replaces the table."""
        figures = list(dict.fromkeys(name for run in runs for name in run.figures))
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow([*FIXED, *figures])
        for run in runs:
            fixed = [getattr(run, name) for name in FIXED]
            table.writerow([*fixed, *(run.figures.get(name, "") for name in figures)])
        write_text(self.path, text.getvalue())


def _read(row: dict[str, str]) -> Run:
    return Run(
        run=row["run"],
        cell=row["cell"],
        hidden_size=int(row["hidden_size"]),
        learning_rate=float(row["learning_rate"]),
        seed=int(row["seed"]),
        parameters=int(row["parameters"]),
        steps=int(row["steps"]),
        seconds=float(row["seconds"]),
        part=row["part"],
        made_of=row["made_of"],
        figures={name: float(value) for name, value in row.items() if name not in FIXED and value != ""},
    )
