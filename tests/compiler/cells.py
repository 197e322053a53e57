"""Cells whose programs the tests build, and how: name → a bound cell, its streams and its constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn.functional import linear

import ostinato
from ostinato.cells.cell import Cell
from ostinato.compiler.clip import clip_gradient
from tests.support.own_cells import NormalisedCell, PeepholeLSTMCell, TimeGapCell, TwoWidthsCell

I, H = 3, 4


class Own(ostinato.Cell):
    """A square weight for x and for h each, and a vector."""

    def __init__(self) -> None:
        super().__init__(I, H)
        self.w = nn.Parameter(torch.empty(4 * H, I))
        self.u = nn.Parameter(torch.empty(4 * H, H))
        self.v = nn.Parameter(torch.empty(H))
        self.reset_parameters()


class StackedActivations(Own):
    """Activations before the gates are taken apart, and one gate that nobody reads."""

    state_names = ("h", "c")

    def step(self, x, h, c):
        gates = linear(x, self.w) + linear(h, self.u)
        i, f, o = torch.sigmoid(gates[:, : 3 * H]).chunk(3, dim=-1)
        c = f * c + i
        return o * c, c


class GatesOnAnAxis(Own):
    """Gates on an axis of their own, softmax over it."""

    def step(self, x, h):
        gates = torch.softmax((linear(x, self.w) + linear(h, self.u)).view(-1, 4, H), dim=1)
        a, b, c, d = gates.unbind(1)
        return a * h + b * torch.tanh(self.v * h) + c - d


class Antisymmetric(Own):
    """A weight made of parameters, and a product that reads the new state."""

    def step(self, x, h):
        u = self.u[:H] - self.u[:H].T - 0.1 * torch.eye(H, dtype=h.dtype)
        h = h + 0.5 * torch.tanh(linear(h, u) + linear(x, self.w[:H]))
        return h + 0.1 * linear(h, self.u[H : 2 * H]) * self.v


class Heads(Own):
    """A block-diagonal weight, and a norm of each block."""

    def step(self, x, h):
        blocks = h.view(-1, 2, 2)
        turned = torch.einsum("bhk,hnk->bhn", blocks, self.u[:4].reshape(2, 2, H)[:, :, :2])
        turned = turned / (1 + turned.norm(dim=-1, keepdim=True))
        return torch.tanh(turned.reshape(-1, H) + linear(x, self.w[:H]))


class OutputMultiplied(Own):
    """A product, within the step, of what it puts out."""

    state_names = ("h", "m")

    def step(self, x, h, m):
        h = torch.tanh(linear(x, self.w[:H]) + linear(m, self.u[:H]))
        return h, m + linear(h, self.u[H : 2 * H])


class Delay(Own):
    """A state that is another's past, and one that never changes."""

    state_names = ("h", "past", "fixed")

    def step(self, x, h, past, fixed):
        return torch.tanh(linear(x, self.w[:H]) + self.v * past + fixed * fixed), h, fixed


class Clipped(Own):
    """A bounded gradient, a detached value, and a reset by a flag."""

    def step(self, x, h, *, reset):
        h = torch.where(reset, torch.zeros_like(h), h)
        h = clip_gradient(h, 0.05)
        return torch.tanh(linear(x, self.w[:H]) + linear(h, self.u[:H])) * h.detach() + torch.clamp(h, -0.5, 0.5)


class PartMultiplied(Own):
    """Products of one width, of the state and of as much as one element of it."""

    def step(self, x, h):
        gate = torch.sigmoid(linear(h[:, :1], self.u[H : 2 * H, :1]))
        return torch.tanh(linear(x, self.w[:H]) + linear(h, self.u[:H])) * gate


class Learnt(Own):
    """What reads no state at all, and what reads nothing but parameters."""

    def step(self, x, h):
        x = nn.functional.layer_norm(linear(x, self.w[:H]), (H,), self.v, self.v)
        return nn.functional.softplus(x) + torch.exp(self.v).expand_as(h)


CELLS: dict[str, Callable[[], Cell]] = {
    "LSTM": lambda: ostinato.LSTMCell(I, H),
    "LSTM without bias": lambda: ostinato.LSTMCell(I, H, bias=False),
    "LSTMP": lambda: ostinato.LSTMCell(I, H, proj_size=2),
    "GRU": lambda: ostinato.GRUCell(I, H),
    "ChoGRU": lambda: ostinato.ChoGRUCell(I, H),
    "RNN": lambda: ostinato.RNNCell(I, H),
    "RNN relu": lambda: ostinato.RNNCell(I, H, nonlinearity="relu"),
    "Elman": lambda: ostinato.ElmanCell(I, H, output_size=2, output_nonlinearity="softmax"),
    "peephole": lambda: PeepholeLSTMCell(I, H),
    "LayerNorm": lambda: NormalisedCell(I, H),
    "two widths": lambda: TwoWidthsCell(I, H),
    "stacked activations": StackedActivations,
    "gates on an axis": GatesOnAnAxis,
    "antisymmetric": Antisymmetric,
    "heads": Heads,
    "output multiplied": OutputMultiplied,
    "delay": Delay,
    "clipped": Clipped,
    "part multiplied": PartMultiplied,
    "learnt": Learnt,
    "time gap": lambda: TimeGapCell(I, H),
    "time gap and speaker": lambda: TimeGapCell(I, H),
}

STREAMS = {"clipped": {"reset": 1}, "time gap": {"gap": 1}, "time gap and speaker": {"gap": 1}}
CONSTANTS = {"time gap and speaker": {"speaker": H}}


def cell(name: str) -> Cell:
    torch.manual_seed(0)
    return CELLS[name]().double()


def widths(table: Mapping[str, dict[str, int]], name: str) -> dict[str, tuple[int, torch.dtype]]:
    """As ``trace`` takes streams and constants."""
    return {key: (size, torch.bool if key == "reset" else torch.float64) for key, size in table.get(name, {}).items()}
