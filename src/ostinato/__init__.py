"""Recurrent networks that you can read, change, and still run at full speed."""

from typing import TYPE_CHECKING, Any

from ostinato import functional, layouts, memory
from ostinato.cells.cell import Cell
from ostinato.cells.library.cho_gru import ChoGRUCell
from ostinato.cells.library.elman import ElmanCell, RNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.engines.choose import engine
from ostinato.inspection.check import check
from ostinato.inspection.explain import explain
from ostinato.inspection.tape import record
from ostinato.layers.chunks import chunks
from ostinato.layers.interchange import replace_, to_torch
from ostinato.layers.recurrent import Recurrent
from ostinato.layers.stream import Stream, stream
from ostinato.layers.torch_nn import GRU, LSTM, RNN, ChoGRU, Elman
from ostinato.version import __version__

if TYPE_CHECKING:
    from ostinato.models.folder import load
    from ostinato.training.run import train

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "ChoGRU",
    "ChoGRUCell",
    "Elman",
    "ElmanCell",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "Recurrent",
    "Stream",
    "__version__",
    "check",
    "chunks",
    "engine",
    "explain",
    "functional",
    "layouts",
    "load",
    "memory",
    "record",
    "replace_",
    "stream",
    "to_torch",
    "train",
]


def __getattr__(name: str) -> Any:
    """What needs the packages of an extra is imported when it is first used."""
    if name == "load":
        from ostinato.models.folder import load

        return load
    if name == "train":
        from ostinato.training.run import train

        return train
    raise AttributeError(f"module 'ostinato' has no attribute {name!r}")
