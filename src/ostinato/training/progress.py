"""What the user sees while a run learns: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any

from ostinato.models.needs import need
from ostinato.training.curve import label
from ostinato.training.learner import Learner
from ostinato.training.talk import LINE_EVERY, duration

Callback: Any = need("lightning.pytorch").Callback


class Progress(Callback):
    """Loss, latest validation, speed and time left.

    Args:
        out: a Rich console.
    """

    def __init__(self, out: Any) -> None:
        self.out = out
        self.bar: Any = None
        self.bar_task: Any = None
        self._started = self._said = time.monotonic()
        self._first_step = 0

    def on_train_start(self, trainer: Any, learner: Learner) -> None:
        self._started = self._said = time.monotonic()
        self._first_step = learner.global_step
        if self.out.is_terminal:
            rich = need("rich.progress")
            columns = (rich.BarColumn(), rich.TaskProgressColumn(), rich.TextColumn("{task.description}"))
            self.bar = rich.Progress(*columns, console=self.out, transient=True)
            self.bar.start()
            self.bar_task = self.bar.add_task("…", total=1.0)

    def on_train_batch_end(self, trainer: Any, learner: Learner, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(self.bar_task, completed=learner.progress(), description=self._line(learner, now))
        elif now - self._said >= LINE_EVERY:
            self._said = now
            self.out.print(f"{100 * learner.progress():3.0f}%  {self._line(learner, now)}")

    def on_train_end(self, trainer: Any, learner: Learner) -> None:
        self._stop()

    def on_exception(self, trainer: Any, learner: Learner, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _line(self, learner: Learner, now: float) -> str:
        record = learner.record
        speed = (learner.global_step - self._first_step) / max(1e-9, now - self._started)
        parts = [f"step {learner.global_step:,}"]
        if record.loss_count:
            parts.append(f"loss {record.loss_sum / record.loss_count:.3f}")
        if record.best is not None:
            parts.append(f"validation {label(record.best)} {record.points[-1].figures[record.best.main]:.3f}")
        parts.append(f"{speed:,.1f} steps/s")
        if (done := learner.progress()) > 0:
            parts.append(f"{duration(record.elapsed * (1 - done) / done)} left")
        return " · ".join(parts)
