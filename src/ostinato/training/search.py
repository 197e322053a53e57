"""A small random search over width and learning rate, judged by the validation part alone.

The paper: Bergstra and Bengio, Random Search for Hyper-Parameter Optimization, JMLR 13, 2012. What to begin with is
always among the candidates, so that a search never ends below it by the figure that it looks at.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ostinato.tasks.settings import TrainingSettings
from ostinato.training.runs_file import Run, RunsFile

S = TypeVar("S", bound=TrainingSettings)

SHARE = 0.5
"""Part of a time budget that all trials together get; the rest is for the full training."""

TRIAL = 0.25
"""Part of its steps that a trial gets where there is no time budget."""

WIDTHS, RATES = 2.0, 4.0
"""Candidates lie between what to begin with divided by this, and multiplied by it, evenly on a logarithmic scale."""


@dataclass(frozen=True)
class Best:
    """What a search found.

    Args:
        hidden_size, learning_rate: of the best trial.
        trial: its name.
    """

    hidden_size: int
    learning_rate: float
    trial: str


def candidates(settings: TrainingSettings, count: int) -> list[tuple[int, float]]:
    """``count`` pairs of width and learning rate, those of ``settings`` first; the same for the same seed.

    >>> candidates(TrainingSettings(hidden_size=64, learning_rate=0.01), 1)
    [(64, 0.01)]
    """
    draw = random.Random(settings.seed)
    found = [(settings.hidden_size, settings.learning_rate)]
    while len(found) < count:
        width = _near(settings.hidden_size, WIDTHS, draw)
        rate = float(f"{_near(settings.learning_rate, RATES, draw):.3g}")
        # Widths that a vector register can hold evenly run as fast as the narrower ones below them.
        found.append((max(1, round(width / 8) * 8 if width > 8 else round(width)), rate))
    return found


def trial_settings(settings: S, count: int, total_steps: int | None) -> S:
    """Settings of one trial among ``count``: shorter, and else the same.

    Args:
        settings: of the full training.
        count: of trials.
        total_steps: of the full training; None where only the time budget ends it.
    """
    if settings.time_budget is not None:
        return settings.replaced({"time_budget": settings.time_budget * SHARE / count})
    return settings.replaced({"steps": max(1, math.ceil((total_steps or 1) * TRIAL)), "epochs": None})


def full_settings(settings: S, best: Best) -> S:
    """Settings of the training after the search: the best ones, and the time that is left."""
    changes: dict[str, float | int] = {"hidden_size": best.hidden_size, "learning_rate": best.learning_rate}
    if settings.time_budget is not None:
        changes["time_budget"] = settings.time_budget * (1 - SHARE)
    return settings.replaced(changes)


def search(settings: S, count: int, table: RunsFile, made_of: str, run: Callable[[S, str], Run | None]) -> Best | None:
    """Runs the trials that ``table`` does not hold yet, and names the best.

    Args:
        settings: of a trial, with the width and the rate to begin with.
        count: of trials, at least 1.
        table: each trial goes there when it is done.
        made_of: fingerprint of what the trials depend on besides width and rate.
        run: trains by some settings under a name; gives the run, whose figure ``"score"`` decides, the higher the
            better; None if it was interrupted.

    Returns:
        The best trial; None if one was interrupted.
    """
    done = {one.run: one for one in table.read() if one.made_of == made_of}
    for number, (width, rate) in enumerate(candidates(settings, count), start=1):
        name = f"trial-{number}"
        if name in done:
            continue
        came = run(settings.replaced({"hidden_size": width, "learning_rate": rate}), name)
        if came is None:
            return None
        done[name] = dataclasses.replace(came, made_of=made_of)
        table.write(list(done.values()))
    best = max(done.values(), key=lambda one: one.figures["score"])
    return Best(best.hidden_size, best.learning_rate, best.run)


def _near(middle: float, factor: float, draw: random.Random) -> float:
    return middle * math.exp(draw.uniform(-math.log(factor), math.log(factor)))
