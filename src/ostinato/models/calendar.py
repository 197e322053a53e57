"""The time of day, of the week and of the year as points on circles, so that midnight lies beside 23:59."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import InvalidType, InvalidValue

DAY = 86_400.0

CYCLES = {"day": DAY, "week": 7 * DAY, "year": 365.2425 * DAY}
"""Name → length in seconds."""


def on_circles(seconds: Tensor, cycles: Sequence[str]) -> Tensor:
    """(N, 2·cycles) sine and cosine of each moment's place in each cycle.

    >>> on_circles(torch.tensor([0, DAY / 4], dtype=torch.float64), ["day"]).round(decimals=3).tolist()
    [[0.0, 1.0], [1.0, 0.0]]

    Args:
        seconds: (N,) float64, since 1970-01-01 00:00.
        cycles: names of ``CYCLES``.
    """
    if not cycles:
        return torch.zeros(len(seconds), 0)
    angles = torch.stack([2 * math.pi * (seconds / CYCLES[name]).frac() for name in cycles], dim=1)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1).float()


def seconds_of(moment: Any) -> float:
    """Seconds since 1970-01-01 00:00; a moment that names no time zone is taken as it stands.

    >>> seconds_of("1970-01-02 00:00"), seconds_of(datetime(1970, 1, 1, 1)), seconds_of(60)
    (86400.0, 3600.0, 60.0)

    Args:
        moment: an ISO 8601 text, a datetime, pandas' or numpy's moment, or the seconds themselves.

    Raises:
        InvalidValue: a text that is no moment.
        InvalidType: something else.
    """
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        return float(moment)
    if type(moment).__module__ == "numpy":
        moment = str(moment)[:26]
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise InvalidValue(f"a time must be like 2024-05-31 or 2024-05-31 18:00, got {moment!r}") from None
    if not isinstance(moment, datetime):
        raise InvalidType(f"a time must be a text, a datetime or a number of seconds, got {type(moment).__name__}")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
