"""The learning rate: a rise, then a cosine down to a hundredth, along whichever of steps and time is further gone."""

from __future__ import annotations

import math

LOWEST = 0.01
"""Part of the highest learning rate that is left at the end."""


def progress(step: int, total_steps: int | None, elapsed: float, time_budget: float | None) -> float:
    """How far the run is, 0 to 1, by steps or by time, whichever is further.

    >>> progress(10, 100, elapsed=30.0, time_budget=60.0)
    0.5
    """
    by_steps = step / total_steps if total_steps else 0.0
    by_time = elapsed / time_budget if time_budget else 0.0
    return min(1.0, max(by_steps, by_time))


def learning_rate(highest: float, step: int, warm_up: int, progress: float) -> float:
    """The rate for step number ``step`` (from 0)."""
    cosine = LOWEST + (1 - LOWEST) * 0.5 * (1 + math.cos(math.pi * progress))
    return highest * cosine * min(1.0, (step + 1) / warm_up if warm_up else 1.0)
