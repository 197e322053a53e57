"""Every cell that torchrecurrent exports is here, under its name or the one said below."""

from __future__ import annotations

import pytest

from ostinato import cells

OTHER_NAMES = {"MCLSTMCell": "MemoryControllerLSTMCell", "tauGRUCell": "TauGRUCell"}


def test_every_cell_is_here() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    theirs = [name for name in torchrecurrent.__all__ if name.endswith("Cell")]
    assert len(theirs) == 41
    missing = [name for name in theirs if OTHER_NAMES.get(name, name) not in cells.__all__]
    assert not missing
