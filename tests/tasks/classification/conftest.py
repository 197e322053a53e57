"""Small files that can be learnt, and a loop that learns without the trainer."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
import torch

SMALL = {"hidden_size": 8, "embedding_size": 8, "batch_size": 16, "learning_rate": 0.02, "dropout": 0.0}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))


def write_csv(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def texts(count=120, seed=0):
    """Words of a or b, with c anywhere; the class is what the first letter says, which no count of letters tells."""
    draw = random.Random(seed)
    words = {"".join(draw.choice("abc") for _ in range(draw.randint(5, 9))) for _ in range(4 * count)}
    return [{"word": word, "label": {"a": "left", "b": "right", "c": "none"}[word[0]]} for word in sorted(words)]


def drawn(rows, count, seed=0):
    return random.Random(seed).sample(rows, count)


@pytest.fixture
def words(tmp_path):
    return write_csv(tmp_path / "words.csv", drawn(texts(), 150))


@pytest.fixture
def series(tmp_path):
    """Long format: 60 units, whose channel rises or falls around another level each."""
    draw, rows = random.Random(0), []
    for unit in range(60):
        slope, level = draw.choice((-1, 1)), draw.uniform(-3, 3)
        for step in range(draw.randint(4, 9)):
            load = round(level + slope * step + draw.gauss(0, 0.1), 3)
            rows.append(
                {"unit": f"u{unit}", "day": step, "load": load, "noise": round(draw.gauss(0, 1), 3),
                 "label": "up" if slope > 0 else "down", "slope": slope * 2 + 10}
            )  # fmt: skip
    return write_csv(tmp_path / "series.csv", rows)


def trained(prepared, steps=80, rate=0.02):
    """The model after some plain steps."""
    task = prepared.task
    optimizer = torch.optim.Adam(task.network.parameters(), lr=rate)
    for step in range(steps):
        loss, state = task.loss(task.batch(step), None)
        assert state is None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    task.network.eval()
    return task.finished({"figures": {}})
