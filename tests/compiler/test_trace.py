"""A traced step means what the step means: the same numbers, and the same gradients, at any batch size."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ostinato
from ostinato.compiler import interpret
from ostinato.compiler.clip import clip_gradient
from ostinato.compiler.refusal import Refused
from ostinato.compiler.trace import trace
from ostinato.compiler.verify import verify
from tests.support.own_cells import OWN_CELLS, TimeGapCell

I, H = 4, 6


def tensors(cell) -> dict[str, torch.Tensor]:
    plain = {
        (f"{path}." if path else "") + name: value
        for path, module in cell.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    }
    return dict(cell.named_parameters()) | dict(cell.named_buffers()) | plain


def traced(cell, streams=None, constants=None):
    graph = trace(cell._frozen_view(), cell.input_size, streams or {}, constants or {})
    verify(graph)
    return graph


def example(dtype: torch.dtype, rows: int, width: int) -> torch.Tensor:
    if dtype.is_floating_point:
        return torch.randn(rows, width, dtype=torch.float64).to(dtype)
    return torch.randint(0, 2 if dtype is torch.bool else 5, (rows, width)).to(dtype)


def agree(cell, streams=None, constants=None, batches=(1, 3, 9)) -> ostinato.compiler.graph.Graph:
    """Trace a cell and hold the graph against the step itself: values and gradients."""
    cell = cell.double()
    graph = traced(cell, streams, constants)
    kinds = {**(streams or {}), **(constants or {})}
    own = tensors(cell)
    for rows in batches:
        x = torch.randn(rows, cell.input_size, dtype=torch.float64)
        states = [torch.randn(rows, size, dtype=torch.float64) for size in cell.state_sizes]
        given = {name: example(dtype, rows, width) for name, (width, dtype) in kinds.items()}
        wanted = [t.requires_grad_() for t in (x, *states)] + [t for t in own.values() if t.requires_grad]
        output, new = cell.split(cell._frozen_view().step(x, *states, **given))
        # A graph computes in one dtype: whoever runs it converts integers.
        real = {n: t if t.dtype is torch.bool else t.double() for n, t in given.items()}
        values = {"x": x, **real, **dict(zip(cell.state_names, states, strict=True)), **own}
        got = interpret.run(graph, {name: values[name] for name in graph.inputs})
        expected = [output, *new]
        torch.testing.assert_close(list(got.values()), expected, rtol=1e-10, atol=1e-11)
        weights = [torch.randn_like(e) for e in expected]
        torch.testing.assert_close(
            gradients(list(got.values()), weights, wanted), gradients(expected, weights, wanted), rtol=1e-8, atol=1e-9
        )
    return graph


def gradients(outputs, weights, wanted):
    total = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
    if not total.requires_grad:
        return [torch.zeros_like(t) for t in wanted]
    found = torch.autograd.grad(total, wanted, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, wanted, strict=True)]


def cell_of(function, **options) -> ostinato.Cell:
    """A cell of width H whose step is ``function(self, x, h)``, with a stock of tensors to use."""

    class Made(ostinato.Cell):
        def __init__(self, input_size: int, hidden_size: int):
            super().__init__(input_size, hidden_size)
            self.W = nn.Parameter(torch.empty(H, input_size))
            self.U = nn.Parameter(torch.empty(H, H))
            self.heads = nn.Parameter(torch.empty(2, 3, 3))
            self.narrow = nn.Parameter(torch.empty(2, 3))
            self.u = nn.Parameter(torch.empty(H))
            self.reset_parameters()
            self.ln = nn.LayerNorm(H)
            self.rms = nn.RMSNorm(H)
            self.mlp = nn.Sequential(nn.Linear(H, 5), nn.Tanh(), nn.Linear(5, H))
            self.register_buffer("mask", torch.rand(H, H) > 0.5)
            self.register_buffer("scale", torch.tensor(0.5))
            self.register_buffer("gate", torch.rand(H) > 0.5)
            self.register_buffer("order", torch.arange(H))
            self.plain = torch.linspace(0.1, 1, H, dtype=torch.float64)

        step = function

    return Made(I, H, **options)


@pytest.mark.parametrize(
    "cell",
    [
        ostinato.LSTMCell(I, H),
        ostinato.LSTMCell(I, H, bias=False),
        ostinato.LSTMCell(I, H, proj_size=2),
        ostinato.GRUCell(I, H),
        ostinato.ChoGRUCell(I, H),
        ostinato.ChoGRUCell(I, H, bias=False),
        ostinato.RNNCell(I, H),
        ostinato.RNNCell(I, H, nonlinearity="relu"),
        ostinato.ElmanCell(I, H, output_size=3, output_nonlinearity="softmax"),
        *(kind(I, H) for kind in OWN_CELLS),
    ],
    ids=lambda cell: type(cell).__name__,
)
def test_cells_of_the_library_and_of_users(cell) -> None:
    agree(cell)


def test_streams_and_constants() -> None:
    agree(TimeGapCell(I, H), {"gap": (1, torch.float64)}, {"speaker": (H, torch.float64)})
    agree(TimeGapCell(I, H), {"gap": (H, torch.float64)})


STEPS = {
    # arithmetic
    "alpha": lambda s, x, h: torch.add(h, x @ s.W.T, alpha=0.3) - torch.sub(h, s.u, alpha=2),
    "numbers left": lambda s, x, h: (1 - h) / (2 + h * h) + 2 ** (0.1 * h) + 3 / (4 + h.abs()),
    "addcmul": lambda s, x, h: torch.addcmul(h, h, s.u, value=0.5) + torch.addcdiv(h, s.u, 2 + h * h, value=2),
    "lerp": lambda s, x, h: torch.lerp(h, x @ s.W.T, 0.3) + torch.lerp(h, h * h, torch.sigmoid(s.u)),
    "powers": lambda s, x, h: h**2 + h**3 + (1 + h * h) ** -0.5 + (1 + h * h) ** 0.3 + (2 + h.abs()) ** h,
    "more powers": lambda s, x, h: h.square() + (h * h + 1).rsqrt() + (h * h + 1).reciprocal() + (h * h + 1) ** 0.5,
    "rounding": lambda s, x, h: torch.div(h, 0.3, rounding_mode="floor") + torch.div(h, 0.3, rounding_mode="trunc"),
    "remainders": lambda s, x, h: torch.remainder(h, 0.7) + torch.fmod(h, 0.7) + h.detach() // 0.4 + h % 0.3,
    "floors": lambda s, x, h: h.floor() + h.ceil() + h.round() + h.trunc() + h.sign() + h.frac(),
    "exponentials": lambda s, x, h: h.exp() + h.expm1() + torch.log1p(h * h) + torch.log(1 + h * h) + h.sigmoid(),
    "trigonometry": lambda s, x, h: h.sin() + h.cos() + h.atan() + h.sinh() + h.cosh() + torch.erf(h) + h.erfc(),
    "logarithms": lambda s, x, h: torch.log2(1 + h * h) + torch.log10(1 + h * h) + torch.exp2(h) + h.tan(),
    "neg abs": lambda s, x, h: -h + h.abs() + torch.relu(h) + h.tanh(),
    # activations
    "softplus": lambda s, x, h: F.softplus(h) + F.softplus(h, beta=2, threshold=1),
    "gelu": lambda s, x, h: F.gelu(h) + F.gelu(h, approximate="tanh"),
    "elu": lambda s, x, h: F.elu(h, 0.7) + F.selu(h) + F.celu(h, 1.5),
    "leaky": lambda s, x, h: F.leaky_relu(h, 0.2) + F.hardtanh(h, -0.5, 0.7) + F.relu6(h) + F.prelu(h, s.scale),
    "hard": lambda s, x, h: F.hardsigmoid(h) + F.hardswish(h) + F.hardshrink(h) + F.softshrink(h) + F.tanhshrink(h),
    "smooth": lambda s, x, h: F.silu(h) + F.mish(h) + F.logsigmoid(h) + F.softsign(h) + F.threshold(h, 0.1, 2.0),
    "glu": lambda s, x, h: F.glu(torch.cat([h, h * 2], -1), -1),
    # conditions
    "where": lambda s, x, h: torch.where(h > 0, h, 0.1 * h) + torch.where(h > s.u, 1.0, 0.0),
    "compare": lambda s, x, h: ((h > 0.1) & (h <= 1) | ~(h != h)) * h + (h >= s.u).to(h.dtype) + (h < 0) * h,
    "bools": lambda s, x, h: torch.logical_or(h > 0, h < -1).double() + ((h > 0) ^ (h > 1)).double() + (h == 0).float(),
    "masked fill": lambda s, x, h: h.masked_fill(h < 0, 0.3) + h.masked_fill(s.gate, -1.0),
    "maximum": lambda s, x, h: torch.maximum(h, s.u) + torch.minimum(h, x @ s.W.T),
    "clamp": lambda s, x, h: h.clamp(-0.5, 0.5) + h.clamp(min=0) + h.clamp_max(0.2) + h.clamp(s.u, s.u + 1),
    "xlogy": lambda s, x, h: torch.xlogy(h, s.u.exp()) + torch.xlogy(s.u, h.exp()) + torch.special.xlog1py(h, 2.0),
    "bent": lambda s, x, h: F.huber_loss(h, s.u.expand_as(h), reduction="none"),
    "entropy": lambda s, x, h: torch.special.entr(h.abs()) + torch.special.entr(s.u.exp()),
    "clamp of weights": lambda s, x, h: torch.clamp(s.u.detach(), s.U[0].detach(), h) + s.u.clamp(max=h),
    "nan": lambda s, x, h: torch.nan_to_num(h.detach() / (h > 0).double(), 0.0, 1.0, -1.0) * h + h.isfinite().double(),
    # products
    "matmul": lambda s, x, h: x @ s.W.t() + h @ s.U + torch.matmul(h, s.U.transpose(0, 1)) + F.linear(h, s.U, s.u),
    "addmm": lambda s, x, h: torch.addmm(s.u, h, s.U, beta=0.5, alpha=2) + torch.addmm(h, x, s.W.T),
    "weights with a vector": lambda s, x, h: (s.U @ h.unsqueeze(-1)).squeeze(-1) + (s.U @ h.T).T,
    "vector": lambda s, x, h: h * (h @ s.u).unsqueeze(-1) + (h * s.u).sum(-1, keepdim=True),
    "antisymmetric": lambda s, x, h: torch.tanh(x @ s.W.T + h @ (s.U - s.U.T - 0.1 * torch.eye(H)).T),
    "masked weights": lambda s, x, h: F.linear(h, s.U * s.mask) + F.linear(h, s.U.masked_fill(s.mask, 0.0)),
    "triangle": lambda s, x, h: F.linear(h, s.U.tril(-1)) + F.linear(h, torch.linalg.matrix_exp(0.1 * s.U)),
    "low rank": lambda s, x, h: F.linear(F.linear(h, s.U[:2]), s.U[:, :2]) + h @ torch.outer(s.u, s.u),
    "normalised weights": lambda s, x, h: F.linear(h, F.normalize(s.U, dim=-1)) + F.linear(h, s.U / s.U.norm()),
    "weights in place": lambda s, x, h: h @ cleared(s.U) + h * filled(s.u),
    # heads
    "heads einsum": lambda s, x, h: torch.einsum("bhd,hed->bhe", h.view(-1, 2, 3), s.heads).flatten(1),
    "heads einsum 2": lambda s, x, h: torch.einsum("bhd,hde->bhe", h.reshape(-1, 2, 3), s.heads).reshape(-1, H),
    "heads bmm": lambda s, x, h: torch.bmm(h.view(-1, 2, 3).transpose(0, 1), s.heads).transpose(0, 1).reshape(-1, H),
    "heads baddbmm": lambda s, x, h: torch.baddbmm(
        s.u.view(2, 1, 3), h.view(-1, 2, 3).transpose(0, 1), s.heads
    ).transpose(0, 1).flatten(1),
    "heads matmul": lambda s, x, h: (s.heads @ h.view(-1, 2, 3, 1)).flatten(1),
    "shared heads": lambda s, x, h: (h.view(-1, 2, 3) @ s.heads[0]).flatten(1),
    "shared einsum": lambda s, x, h: torch.einsum("bhd,de->bhe", h.view(-1, 2, 3), s.heads[1]).flatten(1),
    "joined rows": lambda s, x, h: torch.tanh(h.view(-1, 3) @ s.heads[0] + s.u[:3]).view(-1, H),
    "joined heads": lambda s, x, h: F.linear(h.view(-1, 3), s.heads[1], s.u[:3]).view(-1, 2, 3).sum(1).repeat(1, 2),
    "inner": lambda s, x, h: (h.view(-1, 2, 3) @ h.view(-1, 2, 3).transpose(1, 2) @ h.view(-1, 2, 3)).flatten(1),
    "row by square": lambda s, x, h: (h[:, None, :2] @ h[:, 2:].view(-1, 2, 2)).flatten(1).repeat(1, 3),
    "square by column": lambda s, x, h: (h[:, 2:].view(-1, 2, 2) @ h[:, :2, None]).flatten(1).repeat(1, 3),
    "row by column": lambda s, x, h: h * torch.bmm(h[:, None, :3], h[:, 3:, None])[:, 0],
    "attention": lambda s, x, h: attention(h.view(-1, 2, 3)).flatten(1),
    "outer": lambda s, x, h: torch.einsum("bi,bj->bij", h[:, :2], h[:, 2:5]).flatten(1),
    "scores": lambda s, x, h: h * torch.einsum("bi,bi->b", h, h)[:, None] + torch.einsum("bi,i->b", h, s.u)[:, None],
    "bilinear": lambda s, x, h: torch.einsum("bi,kij,bj->bk", h[:, :3], s.heads, h[:, 3:]).repeat(1, 3),
    "to and fro": lambda s, x, h: (s.U @ h.t() + s.u[:, None]).t(),
    # reductions
    "sums": lambda s, x, h: h.sum(-1, keepdim=True) * h + h.mean(1, keepdim=True) + h.sum(1)[:, None],
    "sums of heads": lambda s, x, h: h.view(-1, 2, 3).sum((1, 2))[:, None] * h + h.view(-1, 2, 3).mean(1).repeat(1, 2),
    "extremes": lambda s, x, h: h - h.amax(-1, keepdim=True) + h.amin(1, keepdim=True) + h.max(-1).values[:, None],
    "softmax": lambda s, x, h: h.softmax(-1) + h.log_softmax(-1) + h.logsumexp(-1, keepdim=True),
    "softmax of heads": lambda s, x, h: h.view(-1, 2, 3).softmax(1).flatten(1) + h.view(-1, 2, 3).softmax(2).flatten(1),
    "variance": lambda s, x, h: (h - h.mean(-1, True)) / (h.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt(),
    "deviation": lambda s, x, h: h / h.std(-1, keepdim=True) + torch.var_mean(h, -1, keepdim=True)[0],
    "norms": lambda s, x, h: F.normalize(h, dim=-1) + h / h.norm(dim=-1, keepdim=True) + h.norm(1, -1, True),
    "more norms": lambda s, x, h: h / torch.linalg.vector_norm(h, 3, -1, True) + h.norm(math.inf, -1, True),
    "layer norm": lambda s, x, h: s.ln(h) + F.layer_norm(h, (H,)),
    "layer norm of heads": lambda s, x, h: F.layer_norm(h.view(-1, 2, 3), (2, 3), s.narrow, s.narrow).flatten(1),
    "group norm": lambda s, x, h: F.layer_norm(h.view(-1, 2, 3), (3,)).flatten(1) * s.u,
    "torch group norm": lambda s, x, h: F.group_norm(h, 2, s.u, s.u),
    "rms norm": lambda s, x, h: s.rms(h) + F.rms_norm(h, (H,), eps=0.1),
    "any": lambda s, x, h: h * (h > 1).any(-1, keepdim=True) + h * (h > -1).all(-1, keepdim=True),
    "prod": lambda s, x, h: h[:, :3].prod(-1, keepdim=True) * h,
    # shapes
    "chunk": lambda s, x, h: torch.cat(h.chunk(3, -1)[::-1], -1) + torch.cat(h.split([1, 2, 3], dim=1), 1),
    "stack": lambda s, x, h: torch.stack([h, h * h, s.u + h], 1).sum(1) + torch.stack([h, h * 2], -1)[..., 1],
    "unbind": lambda s, x, h: torch.stack(h.unbind(1)[::-1], dim=1),
    "heads apart": lambda s, x, h: torch.cat([head * n for n, head in enumerate(h.view(-1, 2, 3).unbind(1))], -1),
    "select": lambda s, x, h: h[:, 0:1] * h + h[:, -1][:, None] + h.narrow(1, 1, 1) + h[:, ::2].repeat(1, 2),
    "roll": lambda s, x, h: h.roll(2, -1) + h.roll(-1, 1) + h.flip(-1),
    "ranks": lambda s, x, h: h[:, None, :].expand(-1, 3, -1).mean(1) + h.unsqueeze(2).squeeze(2) + h.view_as(h),
    "swap": lambda s, x, h: h.view(-1, 2, 3).mT.reshape(-1, H) + h.view(-1, 2, 3).permute(0, 2, 1).flatten(1),
    "expand": lambda s, x, h: h + s.u.expand(h.shape[0], -1) + s.scale.expand_as(h) + s.u.repeat(h.size(0), 1),
    "fresh": lambda s, x, h: torch.cat([h[:, :3], h.new_zeros(h.size(0), 3)], 1) + h.new_ones(x.size(0), 1),
    "fresh fills": lambda s, x, h: h * torch.full((x.size(0), 1), 0.3).double() + torch.full_like(h, 2) - h.new_ones(H),
    "sizes": lambda s, x, h: h.reshape(h.shape[0], 2, -1).flatten(1) + h.view(h.size(0) * 2, 3).view(h.shape),
    "more sizes": lambda s, x, h: h.view(*h.shape[:-1], 2, 3).sum(1).repeat(1, h.numel() // (h.shape[0] * 3)),
    "counts": lambda s, x, h: (h.sum(-1) / (h.numel() / h.size(0))).view(-1, 1).expand(h.size(0), H),
    "sizes that agree": lambda s, x, h: h * 2 if x.shape[0] == h.shape[0] > 0 and x.shape[:1] == h.shape[:1] else -h,
    "whole batch": lambda s, x, h: h[: x.shape[0]] + h[0 : h.size(0), :1] + unpacked(h),
    "literal": lambda s, x, h: h * torch.tensor(0.5) + torch.tensor([2.0], dtype=torch.float64),
    "literals": lambda s, x, h: h * torch.tensor([1.0, 2, 3, 4, 5, 6]) + torch.tensor([[0.5, 1, 2]] * 2).flatten(),
    "picks": lambda s, x, h: h[:, [2, 0, 1, 5, 5, 3]] + h.index_select(1, torch.tensor([5, 4, 3, 2, 1, 0])),
    "diagonals": lambda s, x, h: diagonals(h[:, :, None] * h[:, None]),
    "bilinear module": lambda s, x, h: F.bilinear(h[:, :3], h[:, 3:], s.heads, s.u[:2]).repeat(1, 3),
    "attention of torch": lambda s, x, h: attention_of_torch(h.view(-1, 2, 3)).flatten(1),
    "orthogonal": lambda s, x, h: F.linear(h, cayley(s.U - s.U.T)),
    "range": lambda s, x, h: h * torch.arange(1, H + 1) + h * s.order + torch.linspace(0, 1, H) * h,
    "same dtype": lambda s, x, h: h.to(torch.float64).clone().contiguous().type_as(x),
    "pad": lambda s, x, h: F.pad(h[:, 1:], (1, 0)) + F.pad(h[:, 1:], (0, 1), value=0.5),
    "scatter": lambda s, x, h: torch.slice_scatter(h, h[:, :2] * 2, 1, 1, 3) + torch.select_scatter(h, h[:, 0], 1, 4),
    # modules, tensors of all kinds
    "module": lambda s, x, h: s.mlp(h) + s.scale * h + s.plain,
    "batch norm": lambda s, x, h: F.batch_norm(h, s.plain, s.plain * 2, s.u, s.u, training=False),
    "dropout off": lambda s, x, h: F.dropout(h, 0.5, training=False),
    "clip": lambda s, x, h: clip_gradient(torch.tanh(h @ s.U.T), 0.05),
    # gradients stopped
    "detach": lambda s, x, h: h.detach() * h + s.U.detach().sum() * h,
    "no grad": lambda s, x, h: stopped(s, h) * h,
    "data": lambda s, x, h: h.data * h,
    "in place, stopped": lambda s, x, h: h + stopped_in_place(h),
}  # fmt: skip


def attention(heads):
    return F.softmax(heads @ heads.mT / math.sqrt(3), dim=-1) @ heads


def attention_of_torch(heads):
    heads = heads[:, :, None]
    return F.scaled_dot_product_attention(heads, heads.exp(), heads.sin())[:, :, 0]


def unpacked(h):
    rows, width = h.shape
    assert isinstance(rows, int)
    return h.new_zeros(rows, width) + torch.ones(rows, 1).double() + torch.zeros((rows - 1 + 1, 1)).double()


def cayley(skew):
    return torch.linalg.solve(torch.eye(H) + skew, torch.eye(H) - skew)


def diagonals(square):
    sides = square.diagonal(1, 1, 2), square.diagonal(-2, 1, 2)
    return square.diagonal(dim1=1, dim2=2) + torch.stack([side.sum(-1) for side in sides] * 3, -1)


def cleared(weight):
    weight = weight.clone()
    weight[0] = 0
    weight[:, 1].mul_(2)
    weight.diagonal().shape  # noqa: B018
    weight[2:4, 2:4] += weight[2:4, 2:4]
    return weight


def filled(vector):
    new = torch.zeros(H, dtype=torch.float64)
    new[1:3] = vector[1:3]
    return new


@torch.no_grad()
def stopped(s, h):
    scale = (h @ s.U).abs().mean(-1, keepdim=True)
    return scale + h[:, :1]


def stopped_in_place(h):
    with torch.no_grad():
        copy = h * 2
        copy.add_(1)
        copy[:, 0] = 3
    return copy * h


@pytest.mark.parametrize("name", STEPS)
def test_operations(name: str) -> None:
    agree(cell_of(lambda self, x, h: STEPS[name](self, x, h)))


def in_place_gates(self, x, h):
    gates = x @ self.W.T + h @ self.U.T
    gates.add_(self.u, alpha=0.5)
    gates[:, :2].mul_(0.5)
    a, b = gates[:, :3], gates[:, 3:]
    a.mul_(b.clone())
    gates[:, 5] = 0
    gates[:, 4] += gates[:, 3]
    return gates + a.sum(-1, keepdim=True)


def in_place_views(self, x, h):
    y = h.clone()
    heads = y.view(-1, 2, 3)
    heads[:, 1].mul_(2)
    heads.transpose(1, 2)[:, 0] += 1
    first, second = heads.select(1, 0), heads[:, 1]
    first.copy_(second)
    y.unsqueeze(-1)[:, 4] *= 3
    y.permute(1, 0)[3] = h[:, 0]
    return y + heads.flatten(1)


def in_place_fill(self, x, h):
    out = torch.empty_like(h)
    out[:, :3] = h[:, 3:]
    out[:, 3:].fill_(0.5)
    out[:, ::2] += 1
    out[..., -1].zero_()
    return out.masked_fill_(out > 1, 0.1).clamp_(-1, 1)


def in_place_order(self, x, h):
    y = h * 1
    before = y[:, :3] * 2
    view = y[:, :3]
    y.mul_(3)
    y += 1
    y -= before.repeat(1, 2)
    return y + view.repeat(1, 2)


def built_up(self, x, h):
    rows = torch.zeros(x.shape[0], H, dtype=x.dtype)
    for n in range(H):
        rows[:, n] = h[:, n] * n + rows[:, max(n - 1, 0)]
    return rows


@pytest.mark.parametrize("step", [in_place_gates, in_place_views, in_place_fill, in_place_order, built_up])
def test_work_in_place_on_values_of_the_step(step) -> None:
    agree(cell_of(step))


class Streams(ostinato.Cell):
    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.weight = nn.Parameter(torch.ones(hidden_size, dtype=torch.float64))

    def step(self, x, h, *, reset, gap, kind):
        h = torch.where(reset, torch.zeros_like(h), h) * (~reset).to(h.dtype)
        h = h * torch.exp(-gap.to(h.dtype)) + gap.double() + (gap > 2) * h
        return h + (kind == 1).to(x.dtype) + kind.float() * h


class HalvedInSingle(Streams):
    def step(self, x, h, *, reset, gap, kind):
        return super().step(x, h, reset=reset, gap=gap, kind=kind) + kind.float() / 3.0


def test_bool_and_integer_streams() -> None:
    kinds = {"reset": (1, torch.bool), "gap": (H, torch.int64)}
    agree(Streams(H, H), kinds | {"kind": (1, torch.int32)})
    with pytest.raises(Refused, match=r"aten.relu computes in torch.int64"):
        agree(TimeGapCell(I, H), {"gap": (1, torch.int64)})


class Marked(TimeGapCell):
    mark: Any = 7

    def step(self, x, h, *, gap):
        return torch.where(gap == self.mark, h, super().step(x, h, gap=gap.to(x.dtype)))


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.int16])
def test_integers_are_compared_only_where_no_rounding_joins_two(kind: torch.dtype) -> None:
    agree(Marked(I, H), {"gap": (1, kind)})
    large, other = Marked(I, H), Marked(I, H)
    large.mark, other.mark = 2**24, torch.full((H,), 7)
    for cell in (large, other) if kind.itemsize > 2 else (large,):
        with pytest.raises(Refused, match=r"aten.eq compares integers that torch.float32 does not .*gap == self.mark"):
            trace(cell._frozen_view(), I, {"gap": (1, kind)}, {})
    agree(large.double() if kind.itemsize > 2 else other, {"gap": (1, kind)})
    other.mark = torch.full((H,), 7, dtype=torch.int32)
    agree(other.double(), {"gap": (1, kind)})


def test_an_integer_stream_divided_in_single_precision_is_refused_in_a_double_cell() -> None:
    kinds = {"reset": (1, torch.bool), "gap": (H, torch.int64), "kind": (1, torch.int32)}
    cell = HalvedInSingle(H, H)
    with pytest.raises(Refused, match=r"aten.div computes in torch.float32"):
        traced(cell, kinds)


def test_the_graph_names_its_inputs_and_outputs() -> None:
    graph = traced(TimeGapCell(I, H), {"gap": (1, torch.float32)}, {"speaker": (H, torch.float32)})
    kinds = {name: node["kind"] for name, node in graph.inputs.items()}
    assert kinds == {
        "x": "x",
        "gap": "stream",
        "speaker": "constant",
        "h": "state",
        "weight_ih": "tensor",
        "weight_hh": "tensor",
    }
    assert graph.outputs["output"] is graph.outputs["new.h"]
    graph = traced(cell_of(lambda s, x, h: s.ln(h) * s.plain).double())
    assert list(graph.inputs) == ["x", "h", "plain", "ln.weight", "ln.bias"]


def test_a_value_knows_its_line() -> None:
    graph = traced(ostinato.LSTMCell(I, H))
    assert graph.outputs["new.h"].source.startswith("lstm.py:")
    assert graph.outputs["new.h"].source.endswith("h = o * self._squash(c)")
    graph = traced(cell_of(lambda s, x, h: h * 1.0 + h * 2.0 + h * 3.0 + h * 4.0 + h * 5.0 + h * 6.0))
    assert graph.outputs["output"].source.endswith("…")


def test_tracing_leaves_everything_as_it_was() -> None:
    cell = ostinato.LSTMCell(I, H)
    before = {n: (t.clone(), t._version, t.requires_grad) for n, t in tensors(cell).items()}
    state = torch.get_rng_state()
    with torch.no_grad():
        traced(cell)
    with torch.inference_mode():
        traced(cell)
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in tensors(cell).items():
        assert torch.equal(tensor, before[name][0])
        assert (tensor._version, tensor.requires_grad) == before[name][1:]


def test_no_grad_around_the_trace_is_not_the_steps_own() -> None:
    with torch.no_grad():
        graph = traced(ostinato.GRUCell(I, H))
    assert not any(node.op == "detach" for node in graph.nodes())


class Fresh(ostinato.Cell):
    """Makes tensors of sizes that a trace might take for the batch's."""

    def step(self, x, h):
        whole = torch.zeros(self.hidden_size // 2).repeat(2) + torch.ones(self.input_size)[:1]
        return h + whole + x.new_zeros(x.shape[0], 1)


@pytest.mark.parametrize(("width", "hidden"), [(11, 26), (13, 22), (17 * 19, 11 * 13 * 2), (5, 10)])
def test_widths_that_equal_a_batch_size_are_told_apart(width: int, hidden: int) -> None:
    graph = traced(Fresh(width, hidden))
    x, h = torch.randn(7, width), torch.randn(7, hidden)
    torch.testing.assert_close(interpret.run(graph, {"x": x, "h": h})["output"], h + 1)


def test_a_cell_without_tensors_has_the_dtype_that_is_asked_for() -> None:
    graph = trace(Fresh(I, H)._frozen_view(), I, {}, {}, dtype=torch.float64)
    h = torch.randn(3, H, dtype=torch.float64)
    torch.testing.assert_close(interpret.run(graph, {"x": torch.randn(3, I).double(), "h": h})["output"], h + 1)


LITERAL = torch.ones(H, dtype=torch.float64)


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Unchanged(torch.autograd.Function):
    @staticmethod
    def forward(value):
        return value

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return -grad


def writes_x(self, x, h):
    x[:, 0] = 0
    return h


def writes_through_a_view(self, x, h):
    h[:, :2].mul_(2)
    return h


def writes_a_parameter(self, x, h):
    with torch.no_grad():
        self.U.mul_(2)
    return h


def writes_unseen(self, x, h):
    y = h * 2
    with torch.no_grad():
        y.mul_(0)
    return y


def writes_detached(self, x, h):
    y = h * 2
    y.detach().mul_(0)
    return y


def caught(function, value):
    try:
        return value if function() else -value
    except Exception:
        return value


def branches(self, x, h):
    if h.sum() > 0:
        return h
    return -h


BATCH = "the step depends on the batch size:"


def bounded(value):
    value.data = value.data.clamp(-100.0, 100.0)
    return value


REFUSALS = {
    "branches on a value": (branches, r"sums over the batch axis"),
    "item": (lambda s, x, h: h * float(h[0, 0]), r"picks along the batch axis"),
    "item of a parameter": (lambda s, x, h: h * s.u[0].item(), r"_local_scalar_dense.*branches on a value"),
    "bool of a parameter": (lambda s, x, h: h if s.u.sum() > 0 else -h, r"branches on a value"),
    "equal": (lambda s, x, h: h if torch.equal(h, h) else -h, r"aten.equal.*branches on a value"),
    "allclose": (lambda s, x, h: h if torch.allclose(s.u, s.u) else -h, r"branches on a value"),
    "tolist": (lambda s, x, h: h * s.u.tolist()[0], r"tolist.*takes values out"),
    "numpy": (lambda s, x, h: h * float(s.plain.numpy()[0]), r"numpy.*takes values out"),
    "text": (lambda s, x, h: h * len(str(s.u)), r"repr.*takes values out.*len\(str"),
    "text of a format": (lambda s, x, h: h * len(f"{s.u}"), r"format.*takes values out"),
    "copy": (lambda s, x, h: h + copy.copy(h), r"h \+ copy.copy"),
    "other numbers": (lambda s, x, h: bounded(h + 0), r"Tensor.data: .*puts other numbers .*value.data = "),
    "vmap": (lambda s, x, h: torch.vmap(torch.sin)(h), r"depends on the batch size.*vmap\(torch.sin"),
    "derivative": (lambda s, x, h: torch.func.jvp(torch.sin, (h,), (x,))[1], r"torch.func.s transforms .*jvp\("),
    "batch size": (lambda s, x, h: h / x.shape[0], r"depends on the batch size.*h / x.shape"),
    "length of the batch": (lambda s, x, h: h * len(x), r"len: the step depends on the batch size.*x\.shape\[0\]"),
    "large batches": (lambda s, x, h: h.exp() if x.shape[0] > 64 else h.tanh(), f"{BATCH} it compares it"),
    "one batch size": (lambda s, x, h: h.exp() if h.size(0) == 500 else h.tanh(), f"{BATCH} it compares it"),
    "many elements": (lambda s, x, h: h.exp() if x.numel() > 999 else h.tanh(), f"{BATCH} it compares it"),
    "sorted sizes": (lambda s, x, h: h.exp() if max(x.shape) > 99 else h.tanh(), f"{BATCH} it compares it"),
    "even batches": (lambda s, x, h: h.exp() if x.shape[0] % 2 else h.tanh(), f"{BATCH} it divides or rounds"),
    "blocks of rows": (lambda s, x, h: h * (x.shape[0] // 64), f"{BATCH} it divides or rounds"),
    "bits of the size": (lambda s, x, h: h * (x.shape[0] >> 6), f"{BATCH} it divides or rounds"),
    "a loop over rows": (lambda s, x, h: h + sum(n > 64 for n in range(x.shape[0])), f"{BATCH} it takes it as a plain"),
    "a table of sizes": (lambda s, x, h: h * {128: 2}.get(x.shape[0], 1), f"{BATCH} it takes it as a plain"),
    "a table by index": (lambda s, x, h: h * ([1] * 64)[x.shape[0]], f"{BATCH} it takes it as a plain"),
    "its logarithm": (lambda s, x, h: h * int(math.log2(x.shape[0])), f"{BATCH} it takes it as a plain"),
    "its text": (lambda s, x, h: h * len(f"{x.shape[0]}"), f"{BATCH} it takes it as a plain"),
    "columns by the batch": (lambda s, x, h: h[:, : x.shape[0]] * 2, r"__getitem__: .*depends on the batch size"),
    "parts by the batch": (lambda s, x, h: sum(h.chunk(x.shape[0], -1)), r"chunk: the step depends on the batch size"),
    "rolled by the batch": (lambda s, x, h: h.roll(x.shape[0], -1), r"roll: the step depends on the batch size"),
    "caught": (lambda s, x, h: caught(lambda: x.shape[0] > 64, h), f"{BATCH} it compares it"),
    "an error, caught": (lambda s, x, h: caught(lambda: h.view(64, -1), h), r"catches RuntimeError: shape"),
    "requires_grad": (lambda s, x, h: h if h.requires_grad else -h, r"Tensor.requires_grad: .*wants a gradient"),
    "grad_fn": (lambda s, x, h: h if (h * 2).grad_fn is None else -h, r"Tensor.grad_fn: .*how a tensor was computed"),
    "is_leaf": (lambda s, x, h: h if h.is_leaf else -h, r"Tensor.is_leaf: .*how a tensor was computed"),
    "retain_grad": (lambda s, x, h: (h * 2).retain_grad(), r"Tensor.retain_grad: .*watches a gradient"),
    "register_hook": (lambda s, x, h: (h * 2).register_hook(print), r"Tensor.register_hook: .*watches a gradient"),
    "strides": (lambda s, x, h: h if h.is_contiguous() else -h, r"Tensor.is_contiguous: .*looks at memory"),
    "rand": (lambda s, x, h: h * torch.rand_like(h), r"aten.rand_like draws random numbers"),
    "dropout": (lambda s, x, h: F.dropout(h, 0.5, training=True), r"draws random numbers"),
    "bernoulli": (lambda s, x, h: h * torch.bernoulli(h.sigmoid()), r"aten.bernoulli draws random numbers"),
    "normal": (lambda s, x, h: h + torch.empty(H).normal_(), r"aten.normal_ draws random numbers"),
    "mean": (lambda s, x, h: h - h.mean(), r"aten.mean averages over the batch axis"),
    "mean of the batch": (lambda s, x, h: h - h.mean(0), r"aten.mean averages over the batch axis"),
    "softmax of the batch": (lambda s, x, h: h.softmax(0), r"aten._softmax normalises over the batch axis"),
    "max of all": (lambda s, x, h: h / h.max(), r"aten.max takes the largest over the batch axis"),
    "batch norm": (lambda s, x, h: F.batch_norm(h, None, None, training=True), r"normalises over the batch axis"),
    "flip": (lambda s, x, h: h.flip(0), r"aten.flip turns round the batch axis"),
    "roll": (lambda s, x, h: h.roll(1, 0), r"aten.roll rolls the batch axis"),
    "first row": (lambda s, x, h: h + h[0], r"aten.select picks along the batch axis"),
    "rows": (lambda s, x, h: h + h[:1], r"aten.slice picks along the batch axis"),
    "gram": (lambda s, x, h: (h @ h.T) @ h, r"aten.mm multiplies over the batch axis"),
    "all pairs": (lambda s, x, h: (h[:, None] - h[None]).sum(1), r"lets the rows of the batch depend on each other"),
    "sum of products": (lambda s, x, h: h @ (h.T @ h), r"multiplies over the batch axis"),
    "torn": (lambda s, x, h: h.T.reshape(-1, H), r"torn apart"),
    "cumsum": (lambda s, x, h: h.cumsum(-1), r"aten.cumsum has no native form"),
    "sort": (lambda s, x, h: h.sort(-1).values, r"aten.sort has no native form"),
    "topk": (lambda s, x, h: h.topk(2, -1).values.repeat(1, 3), r"aten.topk has no native form"),
    "embedding": (lambda s, x, h: h + F.embedding((h > 0).long(), s.U).sum(1), r"torch.int64"),
    "gather": (lambda s, x, h: h[:, s.order], r"aten.index picks elements by values"),
    "argmax": (lambda s, x, h: h * h.argmax(-1, keepdim=True), r"aten.argmax has no native form"),
    "indices": (lambda s, x, h: h * h.max(-1, keepdim=True).indices, r"reads what has no native form"),
    "boolean index": (lambda s, x, h: h[h > 0], r"picks elements by values|depends on values"),
    "integers": (lambda s, x, h: h * (h > 0).sum(-1, keepdim=True), r"aten.sum computes in torch.int64"),
    "to an integer": (lambda s, x, h: h.long().double(), r"computes in torch.int64"),
    "to half": (lambda s, x, h: h.half().double(), r"computes in torch.float16"),
    "to single": (lambda s, x, h: h.float().double(), r"computes in torch.float32"),
    "complex": (lambda s, x, h: torch.fft.fft(h).real, r"aten._fft_r2c has no native form"),
    "complex numbers": (lambda s, x, h: (h * 1j).real, r"complex"),
    "global tensor": (lambda s, x, h: h * LITERAL, r"aten.mul reads a tensor of shape \(6,\).*register it as a buffer"),
    "literal": (lambda s, x, h: h + torch.tensor([1.0] * 66)[:H], r"makes a tensor of 66 numbers; register"),
    "autograd.Function": (lambda s, x, h: Reversed.apply(h), r"autograd.Function Reversed has no native form"),
    "its own": (lambda s, x, h: Unchanged.apply(h) * 2, r"autograd.Function Unchanged has no native form"),
    "writes x": (writes_x, r"writes to x, an argument of the step.*x\[:, 0\] = 0"),
    "writes through a view": (writes_through_a_view, r"aten.mul_ writes to h, an argument.*h\[:, :2\].mul_\(2\)"),
    "writes a parameter": (writes_a_parameter, r"aten.mul_ writes to self.U"),
    "writes unseen": (writes_unseen, r"writes under torch.no_grad"),
    "writes detached": (writes_detached, r"no native form"),
    "out": (lambda s, x, h: torch.add(h, h, out=torch.empty_like(h)), r"writes to its arguments in a way"),
    "memory": (lambda s, x, h: h.as_strided((h.shape[0], H), (H, 1)), r"looks at memory"),
    "an error": (lambda s, x, h: h @ s.narrow, r"cannot be traced: RuntimeError: mat1 and mat2.*h @ s.narrow"),
    "assigns": (lambda s, x, h: setattr(s, "kept", h), r"cannot be traced: CellError: .*assigns self.kept"),
    "wrong width": (lambda s, x, h: h[:, :2], r"cannot be traced: CellError: .*must return h as"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_name_the_operation_and_the_line(name: str) -> None:
    step, why = REFUSALS[name]
    cell = cell_of(lambda self, x, h: step(self, x, h)).double()
    before = {n: t.clone() for n, t in tensors(cell).items()}
    state = torch.get_rng_state()
    with pytest.raises(Refused, match=why) as refused:
        traced(cell)
    assert refused.value.source.startswith("test_trace.py:") or name == "assigns"
    assert torch.equal(torch.get_rng_state(), state)
    for path, tensor in tensors(cell).items():
        torch.testing.assert_close(tensor, before[path], equal_nan=True)


def test_other_refusals() -> None:
    with pytest.raises(Refused, match=r"computes in torch.float16"):
        traced(ostinato.LSTMCell(I, H).half())
    with pytest.raises(Refused, match="speaker is complex"):
        traced(TimeGapCell(I, H), {"gap": (1, torch.float32)}, {"speaker": (H, torch.complex64)})
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(Refused, match="autocast"):
        traced(ostinato.LSTMCell(I, H))
    mixed = ostinato.LSTMCell(I, H)
    mixed.bias_ih = nn.Parameter(mixed.bias_ih.double())
    with pytest.raises(Refused):
        traced(mixed)


def test_a_tensor_with_the_name_of_an_argument() -> None:
    class Named(ostinato.Cell):
        def __init__(self, input_size: int, hidden_size: int, name: str) -> None:
            super().__init__(input_size, hidden_size)
            self.name = name
            setattr(self, name, nn.Parameter(torch.ones(hidden_size)))

        def step(self, x, h):
            return torch.tanh(h + x.sum(-1, keepdim=True))

    class Reading(Named):
        def step(self, x, h):
            return super().step(x, h) * getattr(self, self.name)

    for name, kind in (("x", "x"), ("h", "state")):
        assert traced(Named(I, H, name)).inputs[name]["kind"] == kind
        with pytest.raises(Refused, match=f"self.{name} and an argument of the step have one name"):
            traced(Reading(I, H, name))


def test_picking_by_a_list_of_bools() -> None:
    agree(cell_of(lambda s, x, h: h + h[:, [True, False, True, False, False, False]].repeat(1, 3)))
    agree(cell_of(lambda s, x, h: h * h[:, [True] * H]))


def test_a_trace_in_a_fresh_process_imports_nothing() -> None:
    """What torch imports when it is first asked (sympy, dynamo) costs more than the whole compiler."""
    code = (
        "import sys, ostinato; from ostinato.compiler.trace import trace; before = set(sys.modules); "
        "trace(ostinato.LSTMCell(3, 4)._frozen_view(), 3, {}, {}); print(*(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
