"""What a benchmark says: tables printed as they grow, verdicts against bars, and both stored in files."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from timing import NOISE, Contest, Machine, percent


@dataclass
class Verdict:
    """One figure against the bar it must reach and the aim beyond it."""

    what: str
    value: float
    bar: float
    aim: float | None = None
    at_most: bool = False
    unit: str = "×"

    @property
    def met(self) -> bool:
        return self._reaches(self.bar)

    def _reaches(self, mark: float) -> bool:
        return self.value <= mark if self.at_most else self.value >= mark  # NaN reaches nothing

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        verdict = "MISSED" if not self.met else "bar met"
        if self.aim is not None and self._reaches(self.aim):
            verdict = "aim met"
        aim = "" if self.aim is None else f", aim {self.aim:g}"
        value = "none measured" if math.isnan(self.value) else f"{self.value:.3g}{self.unit}"
        return f"{verdict:8} {self.what}: {value} (bar {sign} {self.bar:g}{aim})"

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "value": None if math.isnan(self.value) else self.value, "met": self.met}


@dataclass
class Table:
    """Rows printed as they come, and kept for the files."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def begin(self) -> Table:
        print(f"\n{self.title}\n" + self._line(self.columns), flush=True)
        return self

    def add(self, *cells: str) -> None:
        self.rows.append(cells)
        print(self._line(cells), flush=True)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            print(f"  note: {text}", flush=True)

    def _line(self, cells: tuple[str, ...]) -> str:
        widths = [max(15, len(column) + 2) for column in self.columns]
        return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))

    def markdown(self) -> str:
        rows = ["| " + " | ".join(cells) + " |" for cells in (self.columns, *self.rows)]
        rule = "|" + "---|" * len(self.columns)
        notes = "".join(f"\n- {note}" for note in self.notes)
        return "\n".join([f"## {self.title}\n", rows[0], rule, *rows[1:]]) + (f"\n{notes}" if notes else "")


@dataclass
class Report:
    """Everything one run found."""

    machine: Machine
    tables: list[Table] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def table(self, title: str, *columns: str) -> Table:
        self.tables.append(Table(title, columns))
        return self.tables[-1].begin()

    def line(self, table: int, cell: str, shape: Sequence[int], result: Contest, **more: Any) -> None:
        """One row as numbers, for the JSON file."""
        seconds = {name: result.seconds(name) for name in result.heat}
        row = {"table": table, "cell": cell, "shape": list(shape), "seconds": seconds, "others": result.others}
        self.lines.append(row | more)

    def attempt(self, table: Table, what: str, work: Callable[[], None]) -> None:
        """Ours failing on one shape is a missed bar, and no reason to learn nothing about the others."""
        try:
            work()
        except Exception as error:
            traceback.print_exc(limit=-3)
            first = (str(error).splitlines() or [""])[0]
            table.note(f"FAILED {what}: {type(error).__name__}: {first}")
            self.failures.append(f"{table.title}: {what}")

    @property
    def good(self) -> bool:
        return not self.failures and all(verdict.met for verdict in self.verdicts)

    def conclude(self) -> int:
        """Print the verdicts; the exit code."""
        print("\nVerdicts")
        print("\n".join(self._verdict_lines()) or "none: nothing that ran here has a bar")
        return 0 if self.good else 1

    def _verdict_lines(self) -> list[str]:
        lines = [*map(str, self.verdicts), *(f"FAILED   {failure}" for failure in self.failures)]
        disturbed = sum(line["others"] is not None and line["others"] > NOISE for line in self.lines)
        if disturbed:
            lines.append(
                f"WARNING  others used over {NOISE:.0%} of the processors in {disturbed} of {len(self.lines)} rows"
            )
        return lines

    def store(self, stem: Path, *, say: bool = True) -> None:
        """Write ``stem``.json and ``stem``.md."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "machine": asdict(self.machine),
            "verdicts": [verdict.as_json() for verdict in self.verdicts],
            "failures": self.failures,
            "lines": self.lines,
        }
        stem.with_suffix(".json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        parts = [
            "# " + stem.name + " benchmark",
            "```text\n" + "\n".join(self.machine.lines()) + "\n```",
            "Others' load is the share of the processors' time that other processes used meanwhile; ! marks a figure "
            "that they disturbed. * marks the time of a rival too slow to stay in the contest.",
            "## Verdicts",
            "```text\n" + "\n".join(self._verdict_lines()) + "\n```",
            *(table.markdown() for table in self.tables),
        ]
        stem.with_suffix(".md").write_text("\n\n".join(parts) + "\n")
        if say:
            print(f"\nstored in {stem.with_suffix('.json')} and {stem.with_suffix('.md')}")


def resumed(stem: Path, machine: Machine, *, measures: bool = True) -> Report:
    """A report that goes on where the one stored there was stopped.

    Args:
        measures: whether times will be added to it; else it stays that of the machine it was made on.

    Raises:
        SystemExit: they would be of another machine than those that are there.
    """
    path = stem.with_suffix(".json")
    if not path.exists():
        return Report(machine)
    content = json.loads(path.read_text())
    then, now = content["machine"], asdict(machine)
    differ = [what for what in ("processor", "cores", "versions", "threads") if then[what] != now[what]]
    if measures and differ and content["lines"]:
        raise SystemExit(
            f"{path} has figures of other {' and '.join(differ)}: {', '.join(str(then[what]) for what in differ)}; "
            "remove it to measure everything anew, or name another --out"
        )
    return Report(machine if measures else Machine(**then), lines=content["lines"])


def ratio(value: float) -> str:
    return f"{value:.2f}×"


def milliseconds(result: Contest, name: str) -> str:
    """The time of one call; a star if it comes from the heat alone."""
    if name not in result.heat:
        return "–"
    return f"{result.seconds(name) * 1e3:.3f}" + ("" if name in result.rounds else "*")


def load(result: Contest) -> str:
    return percent(result.others) + (" !" if result.disturbed else "")


def line_load(line: dict[str, Any]) -> str:
    """The same of a stored row."""
    disturbed = line["others"] is not None and line["others"] > NOISE
    return percent(line["others"]) + (" !" if disturbed else "")
