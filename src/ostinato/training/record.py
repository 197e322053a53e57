"""What a run knows of its own past: it travels in the checkpoint, so that a resumed run has the same past."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ostinato.models.files import write_text


@dataclass(frozen=True)
class Point:
    """One validation.

    Args:
        step: steps done.
        seconds: of training, from the very beginning.
        learning_rate: at that step.
        training_nats: mean loss of the steps since the validation before.
        validation_nats: of the validation part, per token.
    """

    step: int
    seconds: float
    learning_rate: float
    training_nats: float
    validation_nats: float


@dataclass
class Record:
    """The past of a run.

    Args:
        elapsed: seconds of training, validation included, over all its sessions.
        points: the validations so far.
        best: the lowest validation figure, in nats; infinite before the first.
        best_step: where it was.
        without_better: validations in a row since then.
        loss_sum: of the losses since the last validation.
        loss_count: how many they are.
    """

    elapsed: float = 0.0
    points: list[Point] = field(default_factory=list)
    best: float = math.inf
    best_step: int = 0
    without_better: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0

    def add_loss(self, loss: float) -> None:
        """Counts the loss of one step."""
        self.loss_sum += loss
        self.loss_count += 1

    def add_validation(self, step: int, learning_rate: float, nats: float) -> bool:
        """Counts a validation; whether it is the best so far."""
        training = self.loss_sum / max(1, self.loss_count)
        self.points.append(Point(step, self.elapsed, learning_rate, training, nats))
        self.loss_sum, self.loss_count = 0.0, 0
        if nats < self.best:
            self.best, self.best_step, self.without_better = nats, step, 0
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

    def write_csv(self, path: Path) -> None:
        """All validations as a table; nats are per token."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow([one.name for one in fields(Point)])
        for point in self.points:
            table.writerow([getattr(point, one.name) for one in fields(Point)])
        write_text(path, text.getvalue())
