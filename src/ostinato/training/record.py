"""What a run knows of its own past: it travels in the checkpoint, so that a resumed run has the same past."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ostinato.models.files import write_text
from ostinato.tasks.task import Score


@dataclass(frozen=True)
class Point:
    """One validation.

    Args:
        step: steps done.
        seconds: of training, from the very beginning.
        learning_rate: at that step.
        training_loss: mean loss of the steps since the validation before.
        figures: of the validation part.
    """

    step: int
    seconds: float
    learning_rate: float
    training_loss: float
    figures: dict[str, float]


@dataclass
class Record:
    """The past of a run.

    Args:
        elapsed: seconds of training, validation included, over all its sessions.
        points: the validations so far.
        best: the best of their scores; None before the first.
        best_step: where it was.
        without_better: validations in a row since then.
        loss_sum: of the losses since the last validation.
        loss_count: how many they are.
    """

    elapsed: float = 0.0
    points: list[Point] = field(default_factory=list)
    best: Score | None = None
    best_step: int = 0
    without_better: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0

    def add_loss(self, loss: float) -> None:
        """Counts the loss of one step."""
        self.loss_sum += loss
        self.loss_count += 1

    def add_validation(self, step: int, learning_rate: float, score: Score) -> bool:
        """Counts a validation; whether it is the best so far."""
        training = self.loss_sum / max(1, self.loss_count)
        self.points.append(Point(step, self.elapsed, learning_rate, training, dict(score.figures)))
        self.loss_sum, self.loss_count = 0.0, 0
        if self.best is None or better(score, self.best):
            self.best, self.best_step, self.without_better = score, step, 0
            return True
        self.without_better += 1
        return False

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for the checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        for one in fields(self):
            setattr(self, one.name, state[one.name])
        self.points = [Point(**point) for point in state["points"]]
        self.best = None if state["best"] is None else Score(**state["best"])

    def write_csv(self, path: Path) -> None:
        """All validations as a table, with a column for each figure."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        names = list(self.points[0].figures) if self.points else []
        plain = [one.name for one in fields(Point) if one.name != "figures"]
        table.writerow([*plain, *(f"validation_{name}" for name in names)])
        for point in self.points:
            table.writerow([*(getattr(point, name) for name in plain), *(point.figures.get(name) for name in names)])
        write_text(path, text.getvalue())


def better(score: Score, than: Score) -> bool:
    """Whether the main figure of ``score`` is better; any number is better than none."""
    if math.isnan(than.value):
        return not math.isnan(score.value)
    return score.value > than.value if score.higher_is_better else score.value < than.value
