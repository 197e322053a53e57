"""What :func:`ostinato.check` found, line by line; ``str`` of it is a short table."""

from __future__ import annotations

from dataclasses import dataclass

MARKS = {True: "✓", False: "✗", None: "·"}


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        ok: whether it holds; None where there is nothing to hold, only something to know.
        text: what was found.
        way_out: what to do about it, if it does not hold.
    """

    name: str
    ok: bool | None
    text: str
    way_out: str = ""


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        cell: what was checked, with its sizes.
        lines: what was looked at, in order.
    """

    cell: str
    lines: tuple[Line, ...]

    @property
    def ok(self) -> bool:
        """Whether all that was looked at holds."""
        return all(line.ok is not False for line in self.lines)

    def __getitem__(self, name: str) -> Line:
        """The line of that name; KeyError if a line before it kept it from being looked at."""
        return {line.name: line for line in self.lines}[name]

    def __str__(self) -> str:
        failing = sum(line.ok is False for line in self.lines)
        verdict = "all of it holds" if not failing else f"{failing} of {len(self.lines)} lines need a change"
        rows = [f"{self.cell}: {verdict}"]
        for line in self.lines:
            rows.append(f"  {MARKS[line.ok]} {line.name:<14}{line.text}")
            if line.way_out:
                rows.append(f"    {'':<14}→ {line.way_out}")
        return "\n".join(rows)
