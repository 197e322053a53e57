"""Write a cell of your own, a peephole LSTM, and use it as any other: stacked, both directions, with lengths, watched.

    python examples/own_cell.py

The gates of a peephole LSTM also read the memory cell c, each unit its own (F. A. Gers, J. Schmidhuber, Recurrent nets
that time and count, IJCNN 2000). That is one equation more than an LSTM: i and f see c_{t-1}, o sees the new c_t.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ostinato


class PeepholeLSTMCell(ostinato.Cell):
    """weight_ih (4·H, I), weight_hh (4·H, H), bias (4·H), weight_ch (3, H): what i, f and o see of c."""

    state_names = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.weight_ch = nn.Parameter(torch.empty(3, hidden_size))
        self.reset_parameters()

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        gates = F.linear(x, self.weight_ih, self.bias) + F.linear(h, self.weight_hh)
        i, f, g, o = gates.chunk(4, dim=-1)
        p_i, p_f, p_o = self.weight_ch
        i = torch.sigmoid(i + p_i * c)
        f = torch.sigmoid(f + p_f * c)
        g = torch.tanh(g)
        c = f * c + i * g
        o = torch.sigmoid(o + p_o * c)
        h = o * torch.tanh(c)
        return h, c


def one_step() -> None:
    print("The cell alone, one step: x (2, 4), states zero")
    h, c = PeepholeLSTMCell(4, 5)(torch.randn(2, 4))
    print(f"  h {tuple(h.shape)}, c {tuple(c.shape)}")


def whole_network() -> None:
    print("\nTwo layers, two directions, rows of 7, 0 and 3 steps: Recurrent(PeepholeLSTMCell, 4, 5, …)")
    layer = ostinato.Recurrent(PeepholeLSTMCell, 4, 5, num_layers=2, bidirectional=True)
    x, lengths = torch.randn(7, 3, 4), [7, 0, 3]
    output, (h_n, c_n) = layer(x, lengths=lengths)
    print(f"  output {tuple(output.shape)}, h_n {tuple(h_n.shape)}, c_n {tuple(c_n.shape)}")
    print(f"  zero past a row's end: {not output[3:, 2].any()}")
    print(f"  layer.last(output, lengths), for many-to-one work: {tuple(layer.last(output, lengths).shape)}")
    alone, _ = layer(x[:3, 2:])
    print(f"  the short row alone gives the same: {torch.allclose(alone[:, 0], output[:3, 2], atol=1e-6)}")
    print(ostinato.explain(layer, detail=True))
    print("\nEvery value the step names, over time:")
    tape = ostinato.record(layer, x, lengths=lengths)
    print(f"  {tape['l1_reverse']}")


def agrees_with_lstm() -> None:
    print("\nWith the peepholes at zero it must be the LSTM:")
    own, lstm = ostinato.Recurrent(PeepholeLSTMCell, 4, 5), ostinato.LSTM(4, 5)
    with torch.no_grad():
        own.weight_ch_l0.zero_()
        own.weight_ih_l0.copy_(lstm.weight_ih_l0)
        own.weight_hh_l0.copy_(lstm.weight_hh_l0)
        own.bias_l0.copy_(lstm.bias_ih_l0 + lstm.bias_hh_l0)
    x = torch.randn(7, 2, 4)
    print(f"  equal outputs: {torch.allclose(own(x)[0], lstm(x)[0], atol=1e-6)}")


def gradients() -> None:
    print("\nIts gradients come from autograd; against finite differences in double precision:")
    layer = ostinato.Recurrent(PeepholeLSTMCell, 2, 3).double()
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    print(f"  gradcheck: {torch.autograd.gradcheck(lambda x, *weights: layer(x)[0], (x, *layer.parameters()))}")


def main(argv: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args(argv)
    torch.manual_seed(0)
    one_step()
    whole_network()
    agrees_with_lstm()
    gradients()


if __name__ == "__main__":
    main()
