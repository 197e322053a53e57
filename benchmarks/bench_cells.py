"""The cells that the native benchmark times, by its own names: torch's three, and four that torch has no kernel for."""

from __future__ import annotations

import ostinato
from ostinato.cells import library

CUSTOM: dict[str, type[ostinato.Cell]] = {
    "peephole": library.PeepholeLSTMCell,
    "mgu": library.MGUCell,
    "layernorm": library.LayerNormLSTMCell,
    "cho": ostinato.ChoGRUCell,
}
TORCHS: dict[str, type[ostinato.Cell]] = {
    "rnn": ostinato.RNNCell,
    "gru": ostinato.GRUCell,
    "lstm": ostinato.LSTMCell,
}
GATES = {"rnn": 1, "gru": 3, "lstm": 4, "peephole": 4, "mgu": 2, "layernorm": 4, "cho": 3}
NAMES = {
    "rnn": "RNN",
    "gru": "GRU",
    "lstm": "LSTM",
    "peephole": "peephole LSTM",
    "mgu": "MGU",
    "layernorm": "LN-LSTM",
    "cho": "Cho's GRU",
}


def layer(cell: str, input_size: int, hidden_size: int, engine: str) -> ostinato.Recurrent:
    """A layer of any of the cells above."""
    return ostinato.Recurrent((TORCHS | CUSTOM)[cell], input_size, hidden_size, engine=engine)
