"""A task's batches one after another, from any step on, as Lightning's trainer takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ostinato.tasks.task import Task

ENDLESS = 1 << 40
"""Batches, as Lightning sees them: the keeper ends a run, so that no checkpoint says that it cannot be prolonged."""


class BatchStream:
    """Batches number ``first``, ``first + 1``, …

    Args:
        task: gives them by number.
        first: how many were learnt from before.
    """

    def __init__(self, task: Task, first: int) -> None:
        self.task = task
        self.first = first

    def __len__(self) -> int:
        return ENDLESS

    def __iter__(self) -> Iterator[Any]:
        for step in range(self.first, ENDLESS):
            yield self.task.batch(step)
