"""Files of series."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes lines as a file and gives its path."""

    def write(lines, name="series.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def hours():
    """Time stamps an hour apart."""

    def hours(count, start="2024-01-01 00:00"):
        return [(datetime.fromisoformat(start) + timedelta(hours=i)).isoformat(" ") for i in range(count)]

    return hours


@pytest.fixture
def waves(write, hours):
    """400 hours of a wave of a day, which a holiday lifts by 5."""
    lines = ["when,load,wind,holiday"]
    for i, hour in enumerate(hours(400)):
        holiday = int(i // 24 % 5 == 0)
        lines.append(f"{hour},{50 + 10 * math.sin(2 * math.pi * i / 24) + 5 * holiday:.5f},{i * 7 % 11},{holiday}")
    return write(lines)
