"""A task's batches one after another, from any step on, as Lightning's trainer takes them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ostinato.tasks.task import Task

ENDLESS = 1 << 40
"""Batches, as Lightning sees them: the keeper ends a run, so that no checkpoint says that it cannot be prolonged."""


def batch_stream(task: Task, first: int, workers: int) -> DataLoader[Any]:
    """Batches number ``first``, ``first + 1``, …, in this order whatever the number of workers.

    Args:
        task: gives them by number.
        first: how many were learnt from before.
        workers: processes that make batches beside the training; with 0 they are made in between.
    """
    forked = "fork" if workers and "fork" in multiprocessing.get_all_start_methods() else None
    return DataLoader(
        _ByNumber(task),
        batch_size=None,
        sampler=_From(first),
        num_workers=workers,
        multiprocessing_context=forked,
        worker_init_fn=_deaf_to_interrupts,
        # Its own: the workers' seed must not be drawn from the numbers that the training draws from.
        generator=torch.Generator(),
    )


class _ByNumber(Dataset[Any]):
    def __init__(self, task: Task) -> None:
        self.task = task

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, step: int) -> Any:
        return self.task.batch(step)


class _From(Sampler[int]):
    def __init__(self, first: int) -> None:
        self.first = first

    def __len__(self) -> int:
        return ENDLESS

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, ENDLESS))


def _deaf_to_interrupts(worker: int) -> None:
    # Ctrl-C reaches every process of the terminal; the training decides when the workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
