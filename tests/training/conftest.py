"""What the tests of training share: the toy task, registered, and a file of numbers for it."""

from __future__ import annotations

import pytest
import torch

from ostinato.models.kinds import KINDS
from ostinato.tasks.registry import TASKS


@pytest.fixture
def toy(monkeypatch):
    """The settings under which the toy task is trained in a second."""
    monkeypatch.setitem(KINDS, "toy", ("tests.training.toy", "ToyModel"))
    monkeypatch.setitem(TASKS, "toy", "tests.training.toy")
    return {"task": "toy", "device": "cpu", "quiet": True, "batch_size": 16, "warm_up": 5, "dropout": 0.1}


@pytest.fixture
def numbers(tmp_path):
    path = tmp_path / "numbers.txt"
    rows = torch.randn(100, 7, generator=torch.Generator().manual_seed(0)).tolist()
    path.write_text("\n".join(" ".join(f"{value:.4f}" for value in row) for row in rows))
    return path
