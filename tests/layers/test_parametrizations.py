"""torch's parametrizations on a layer's weights: computed once a call, the same in every engine, kept in files."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

import ostinato

T, B, I, H = 20, 3, 4, 5
NAME = "weight_hh_l0"
ENGINES = ["auto", "loop", "native", "aten"]


def weight_norm(raw, _):
    g, v = raw["original0"], raw["original1"]
    return g * v / v.square().sum(1, keepdim=True).sqrt()


def spectral_norm(raw, module):
    """One power iteration from the vectors that are kept, and the weight over the singular value they give."""
    w, v = raw["original"], module._v
    u = F.normalize(w.detach() @ v, dim=0, eps=1e-12)
    v = F.normalize(w.detach().T @ u, dim=0, eps=1e-12)
    return w / (u @ w @ v)


def orthogonal(raw, module):
    """torch's own map of the raw weight to an orthogonal one: that it is orthogonal is tested apart."""
    return module(raw["original"])


KINDS = {
    "weight_norm": (parametrizations.weight_norm, weight_norm),
    "spectral_norm": (parametrizations.spectral_norm, spectral_norm),
    "orthogonal": (parametrizations.orthogonal, orthogonal),
}


def made(kind, engine="auto", cell=ostinato.LSTM, **options):
    torch.manual_seed(3)
    rnn = cell(I, H, 2, engine=engine, dtype=torch.float64, **options)
    KINDS[kind][0](rnn, NAME)
    return rnn


def raws(rnn):
    held = rnn.parametrizations[NAME]
    return dict(held.named_parameters(recurse=False))


def by_hand(rnn, kind, x, weight_dropout=0.0):
    """torch.nn.LSTM with the weight worked out here, from copies taken before the layer's own call."""
    raw = {name: p.detach().clone().requires_grad_() for name, p in raws(rnn).items()}
    weight = KINDS[kind][1](raw, copy.deepcopy(rnn.parametrizations[NAME][0]))
    theirs = nn.LSTM(I, H, 2, dtype=torch.float64, device="meta")
    own = {name: (weight if name == NAME else getattr(rnn, name)) for name, _ in theirs.named_parameters()}
    if weight_dropout:
        own |= {n: F.dropout(own[n], weight_dropout) for n in own if n.startswith("weight_hh")}
    return functional_call(theirs, own, (x,))[0], raw


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight_dropout", [0.0, 0.5])
def test_once_a_call_in_every_engine(kind, engine, weight_dropout):
    rnn = made(kind, engine, weight_dropout=weight_dropout)
    x = torch.randn(T, B, I, dtype=torch.float64)
    # Twice: a spectral norm that iterated more or less than once a call would show in the second.
    for seed in range(2):
        rnn.zero_grad()
        torch.manual_seed(seed)
        expected, raw = by_hand(rnn, kind, x, weight_dropout)
        torch.manual_seed(seed)
        output, _ = rnn(x)
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-11)
        found = torch.autograd.grad(output.square().sum(), [raws(rnn)[name] for name in raw])
        wanted = torch.autograd.grad(expected.square().sum(), list(raw.values()))
        for one, two in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


def test_an_orthogonal_weight_is_orthogonal():
    rnn = made("orthogonal")
    eye = torch.eye(H, dtype=torch.float64)
    torch.testing.assert_close(rnn.weight_hh_l0.T @ rnn.weight_hh_l0, eye)
    rnn(torch.randn(T, B, I, dtype=torch.float64))[0].sum().backward()
    torch.optim.SGD(rnn.parameters(), lr=1.0).step()
    torch.testing.assert_close(rnn.weight_hh_l0.T @ rnn.weight_hh_l0, eye)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_brings_all_of_it_back(kind, tmp_path):
    rnn = made(kind, weight_dropout=0.5)
    x = torch.randn(T, B, I, dtype=torch.float64)
    for _ in range(3):
        rnn(x)
    torch.save(rnn.state_dict(), tmp_path / "weights")
    torch.manual_seed(9)
    again = ostinato.LSTM(I, H, 2, dtype=torch.float64, weight_dropout=0.5)
    KINDS[kind][0](again, NAME)
    again.load_state_dict(torch.load(tmp_path / "weights"))
    torch.manual_seed(1)
    expected = rnn(x)[0]
    torch.manual_seed(1)
    assert torch.equal(again(x)[0], expected)
    assert torch.equal(again.eval()(x)[0], rnn.eval()(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_taken_off_the_weight_stays(kind):
    rnn = made(kind).eval()
    x = torch.randn(T, B, I, dtype=torch.float64)
    before = rnn(x)[0]
    parametrize.remove_parametrizations(rnn, NAME)
    assert isinstance(rnn.weight_hh_l0, nn.Parameter)
    torch.testing.assert_close(rnn(x)[0], before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_has_the_weights_as_they_are(kind):
    rnn = made(kind, cell=ostinato.GRU).eval()
    x = torch.randn(T, B, I, dtype=torch.float64)
    live = ostinato.stream(rnn, B)
    with torch.no_grad():
        next(rnn.parametrizations.parameters()).add_(0.1)
        torch.testing.assert_close(torch.stack([live.step(f) for f in x]), rnn(x)[0], rtol=0, atol=1e-12)


def test_on_a_highway_s_gate():
    rnn = ostinato.GRU(I, H, 2, connection="highway", dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    before = rnn(x)[0]
    parametrizations.weight_norm(rnn, "highway_weight_l1")
    torch.testing.assert_close(rnn(x)[0], before, rtol=0, atol=1e-12)
    rnn(x)[0].sum().backward()
    assert rnn.parametrizations.highway_weight_l1.original0.grad.any()
    with pytest.raises(ValueError, match="highway's gate of layer 1 anew: remove the parametrization"):
        rnn.reset_parameters()


def test_a_cell_that_brings_its_own():
    class Normed(ostinato.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.weight_ih = nn.Parameter(torch.randn(hidden_size, input_size))
            self.weight_hh = nn.Parameter(torch.randn(hidden_size, hidden_size))
            parametrizations.weight_norm(self, "weight_hh")

        def step(self, x, h):
            return torch.tanh(x @ self.weight_ih.T + h @ self.weight_hh.T)

    rnn = ostinato.Recurrent(Normed, I, H, weight_dropout=0.5, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.manual_seed(1)
    output, _ = rnn(x)
    torch.manual_seed(1)
    weight = F.dropout(weight_norm(dict(rnn.parametrizations_l0.weight_hh.named_parameters()), None), 0.5)
    h, expected = torch.zeros(B, H, dtype=torch.float64), []
    for step in x:
        h = torch.tanh(step @ rnn.weight_ih_l0.T + h @ weight.T)
        expected.append(h)
    torch.testing.assert_close(output, torch.stack(expected), rtol=0, atol=1e-12)
