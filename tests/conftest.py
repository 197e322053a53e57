"""Every test: fresh seeds, and memory from ``empty`` that holds NaN until it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def poisoned_memory():
    """What nobody writes is NaN, so that reading it shows."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def seeds():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks here are small: a second thread gains nothing alone, and on a busy machine costs thirtyfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; a test that needs it is skipped where it is not."""
    if not DATA.is_dir():
        pytest.skip(f"the data folder {DATA} is not there")
    return DATA
