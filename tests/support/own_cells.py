"""Cells as a user would write them, for tests of everything that must work for any cell."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import linear

import ostinato


class PeepholeLSTMCell(ostinato.Cell):
    """Gers & Schmidhuber 2000: gates that look at the cell state. Takes neither bias nor device."""

    state_names = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.weight_ci = nn.Parameter(torch.empty(hidden_size))
        self.weight_cf = nn.Parameter(torch.empty(hidden_size))
        self.weight_co = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def step(self, x, h, c):
        i, f, g, o = (linear(x, self.weight_ih) + linear(h, self.weight_hh)).chunk(4, dim=-1)
        i = torch.sigmoid(i + self.weight_ci * c)
        f = torch.sigmoid(f + self.weight_cf * c)
        c = f * c + i * torch.tanh(g)
        o = torch.sigmoid(o + self.weight_co * c)
        return o * torch.tanh(c), c


class NormalisedCell(ostinato.Cell):
    """A submodule and a buffer of its own: both become the layer's."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, eps: float = 1e-5):
        super().__init__(input_size, hidden_size)
        self.ln = nn.LayerNorm(hidden_size, eps=eps, bias=bias)
        self.register_buffer("scale", torch.tensor(0.5))
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.reset_parameters()

    def step(self, x, h):
        new = self.ln(linear(x, self.weight_ih) + linear(h, self.weight_hh))
        return torch.tanh(self.scale * new)


class TwoWidthsCell(ostinato.Cell):
    """States of different widths, and an output that is none of them."""

    state_names = ("h", "m")
    separate_output = True

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_mh = nn.Parameter(torch.empty(hidden_size, 2))
        self.weight_hm = nn.Parameter(torch.empty(2, hidden_size))
        self.weight_ho = nn.Parameter(torch.empty(3, hidden_size))
        self.reset_parameters()

    @property
    def state_sizes(self):
        return (self.hidden_size, 2)

    @property
    def output_size(self):
        return 3

    def step(self, x, h, m):
        h = torch.tanh(linear(x, self.weight_ih) + linear(m, self.weight_mh) + 0.5 * h)
        m = 0.9 * m + linear(h, self.weight_hm)
        return linear(h, self.weight_ho), h, m


class TimeGapCell(ostinato.Cell):
    """A stream the step needs, and a constant it may be given."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.reset_parameters()

    def step(self, x, h, *, gap, speaker=None):
        decayed = h * torch.exp(-torch.relu(gap))
        new = linear(x, self.weight_ih) + linear(decayed, self.weight_hh)
        if speaker is not None:
            new = new + speaker
        return torch.tanh(new)


OWN_CELLS = (PeepholeLSTMCell, NormalisedCell, TwoWidthsCell)


class SharedByHeads(ostinato.Cell):
    """One matrix for both halves of the state, and another for both halves of x."""

    state_names = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size // 2, input_size // 2))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size // 2, hidden_size // 2))
        self.reset_parameters()

    def step(self, x, h, c):
        made = linear(x.unflatten(-1, (2, -1)), self.weight_ih) + linear(h.unflatten(-1, (2, -1)), self.weight_hh)
        c = 0.5 * c + torch.tanh(made.flatten(-2))
        return torch.tanh(c) * h + c, c
