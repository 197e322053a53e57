"""The benchmarks are scripts: their files import each other as a script's neighbours."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a file of benchmarks/ as its scripts do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module
