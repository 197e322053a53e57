"""Weights taken apart by rows: in one split where the parts are the whole, as torch does it where they are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

import ostinato
from ostinato.compiler.pipeline import compile_graph
from ostinato.compiler.trace import trace
from ostinato.engines.splits import splits_of

H = 4
Take = Callable[[Tensor], tuple[Tensor, ...]]


class Parts(ostinato.Cell):
    """Products of h with parts of one weight."""

    take: Take

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.w = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.reset_parameters()

    def step(self, x, h):
        total = x
        for n, part in enumerate(self.take(self.w)):
            total = total + linear(h, part).sum(1, keepdim=True) * (n + 1)
        return torch.tanh(total)


WHOLE: dict[str, Take] = {
    "chunk": lambda w: w.chunk(3),
    "split": lambda w: w.split(2 * H),
    "split with sizes": lambda w: w.split((H, 2 * H)),
    "slices": lambda w: (w[: 2 * H], w[2 * H :]),
    "from the end": lambda w: (w[:-H], w[-H:]),
    "the other way round": lambda w: (w[H:], w[:H]),
    "one of them twice": lambda w: (w[H:], w[:H], w[H:]),
}
OTHER: dict[str, Take] = {
    "a part is left out": lambda w: (w[:H], w[2 * H :]),
    "parts overlap": lambda w: (w[: 2 * H], w[H:]),
    "every other row": lambda w: (w[::2], w[1::2]),
    "columns": lambda w: (w[:, :H], w.t()[:, H:].t()),
    "all of it": lambda w: (w,),
}


def cell_of(take: Take) -> type[ostinato.Cell]:
    return type("Own", (Parts,), {"take": staticmethod(take)})


@pytest.mark.parametrize("name", [*WHOLE, *OTHER])
def test_what_is_one_split(name: str) -> None:
    graph = trace(cell_of({**WHOLE, **OTHER}[name])(H, H)._frozen_view(), H, {}, {})
    found = splits_of(compile_graph(graph, True).program.prepare)
    assert len(found) == (name in WHOLE)
    for split in found:
        assert (split.tensor, sum(split.sizes), len(split.sizes)) == ("w", 3 * H, len(set(split.names)))


@pytest.mark.parametrize("name", [*WHOLE, *OTHER])
def test_the_loops_numbers_and_gradients(name: str) -> None:
    torch.manual_seed(0)
    layer = ostinato.Recurrent(cell_of({**WHOLE, **OTHER}[name]), H, H, bidirectional=True, engine="native").double()
    x = torch.randn(5, 3, H, dtype=torch.float64)
    found = []
    for engine in ("native", "loop"):
        with ostinato.engine(engine):
            output, h_n = layer(x)
        grads = torch.autograd.grad((output * torch.arange(2.0 * H)).sum() + h_n.sum(), list(layer.parameters()))
        found.append([output, h_n, *grads])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two)


def test_the_gradient_is_one_join() -> None:
    layer = ostinato.Recurrent("mgu", H, H, engine="native")
    output, _ = layer(torch.randn(5, 3, H))
    names, nodes = set(), [output.grad_fn]
    while nodes:
        node = nodes.pop()
        names.add(type(node).__name__)
        nodes += [n for n, _ in node.next_functions if n is not None]
    assert "SplitWithSizesBackward0" in names
    assert not {n for n in names if n.startswith("Slice")}
