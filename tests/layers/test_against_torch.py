"""RNN, GRU and LSTM equal torch.nn's over the product of options: outputs, final states and every gradient."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import ostinato

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-11}


@dataclass(frozen=True)
class Case:
    kind: str
    layers: int
    bidirectional: bool
    bias: bool
    batch_first: bool
    proj: bool
    relu: bool
    dtype: torch.dtype
    form: str
    engine: str
    steps: int
    rows: int
    with_hx: bool

    def make(self, module) -> nn.Module:
        options = {}
        if self.kind == "LSTM" and self.proj:
            options["proj_size"] = 3
        if self.kind == "RNN" and self.relu:
            options["nonlinearity"] = "relu"
        torch.manual_seed(1)
        return getattr(module, self.kind)(
            4,
            5,
            self.layers,
            bias=self.bias,
            batch_first=self.batch_first,
            bidirectional=self.bidirectional,
            dtype=self.dtype,
            **options,
        )


cases = st.builds(
    Case,
    kind=st.sampled_from(["LSTM", "GRU", "RNN"]),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    bias=st.booleans(),
    batch_first=st.booleans(),
    proj=st.booleans(),
    relu=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    form=st.sampled_from(["batched", "unbatched", "packed", "packed sorted"]),
    engine=st.sampled_from(["loop", "aten", "auto", "native"]),
    steps=st.integers(1, 7),
    rows=st.integers(1, 4),
    with_hx=st.booleans(),
)


def call(case: Case, layer: nn.Module):
    """Run on the case's input and gather output, states and all gradients, as a dict of tensors."""
    torch.manual_seed(2)
    directions = 2 if case.bidirectional else 1
    width = layer.proj_size if case.kind == "LSTM" and layer.proj_size else 5
    unbatched = case.form == "unbatched"
    shape = (case.steps, case.rows, 4)
    if unbatched:
        shape = (case.steps, 4)
    elif case.batch_first:
        shape = (case.rows, case.steps, 4)
    x = torch.randn(shape, dtype=case.dtype, requires_grad=True)
    state_shape = (case.layers * directions, *(() if unbatched else (case.rows,)))
    h = torch.randn(*state_shape, width, dtype=case.dtype, requires_grad=True)
    c = torch.randn(*state_shape, 5, dtype=case.dtype, requires_grad=True)
    hx = ((h, c) if case.kind == "LSTM" else h) if case.with_hx else None
    input = x
    if case.form.startswith("packed"):
        lengths = torch.randint(1, case.steps + 1, (case.rows,))
        if case.form == "packed sorted":
            lengths = lengths.sort(descending=True).values
        input = pack_padded_sequence(
            x, lengths, batch_first=case.batch_first, enforce_sorted=case.form == "packed sorted"
        )
    output, state = layer(input, hx)
    assert isinstance(output, PackedSequence) == case.form.startswith("packed")
    if isinstance(output, PackedSequence):
        output, _ = pad_packed_sequence(output, batch_first=case.batch_first)
    state = state if isinstance(state, tuple) else (state,)
    loss = sum((t * torch.randn_like(t)).sum() for t in (output, *state))
    named = dict(layer.named_parameters()) | {"input": x}
    if case.with_hx:
        named |= {"h_0": h} | ({"c_0": c} if case.kind == "LSTM" else {})
    grads = torch.autograd.grad(loss, list(named.values()))
    values = {"output": output} | {f"state {n}": s for n, s in enumerate(state)}
    return values | {f"grad {n}": g for n, g in zip(named, grads, strict=True)}


@settings(max_examples=220, deadline=None, derandomize=True)
@given(case=cases)
def test_equals_torch(case: Case) -> None:
    theirs, ours = case.make(nn), case.make(ostinato)
    ours.engine = case.engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # oneDNN says that it has no projection
        expected, got = call(case, theirs), call(case, ours)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        assert got[name].shape == value.shape, name
        scale = value.abs().max().clamp(min=1).item()
        torch.testing.assert_close(
            got[name], value, rtol=0, atol=TOLERANCE[case.dtype] * scale, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"bias": False}])
def test_a_seed_gives_torchs_own_numbers(kind: str, dtype: torch.dtype, options: dict) -> None:
    made = []
    for module in (nn, ostinato):
        torch.manual_seed(7)
        made.append(getattr(module, kind)(4, 5, dtype=dtype, **options).state_dict())
    theirs, ours = made
    assert list(theirs) == list(ours)
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("engine", ["loop", "aten"])
def test_seeded_dropout_is_torchs_own(kind: str, engine: str) -> None:
    layers = [getattr(module, kind)(4, 5, 3, dropout=0.5, bidirectional=True) for module in (nn, ostinato)]
    layers[1].load_state_dict(layers[0].state_dict())
    layers[1].engine = engine
    x = torch.randn(7, 2, 4)
    outputs = []
    for layer in layers:
        torch.manual_seed(3)
        outputs.append(layer(x)[0])
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-5)
    for layer in layers:
        layer.eval()
    torch.testing.assert_close(layers[1](x)[0], layers[0](x)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell", "RNNCell"])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("with_hx", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_equal_torch(cell: str, batched: bool, with_hx: bool, bias: bool) -> None:
    made = []
    for module in (nn, ostinato):
        torch.manual_seed(5)
        made.append(getattr(module, cell)(4, 5, bias=bias, dtype=torch.float64))
    theirs, ours = made
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    rows = (3,) if batched else ()
    x = torch.randn(*rows, 4, dtype=torch.float64, requires_grad=True)
    h, c = (torch.randn(*rows, 5, dtype=torch.float64) for _ in range(2))
    hx = ((h, c) if cell == "LSTMCell" else h) if with_hx else None
    for expected, got in zip(_leaves(theirs(x, hx)), _leaves(ours(x, hx)), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
        wanted = [x, *theirs.parameters()]
        e = torch.autograd.grad(expected.sum(), wanted, retain_graph=True)
        g = torch.autograd.grad(got.sum(), [x, *ours.parameters()], retain_graph=True)
        for one, two in zip(e, g, strict=True):
            torch.testing.assert_close(two, one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("engine", ["loop", "aten"])
def test_nothing_to_read(kind: str, engine: str) -> None:
    layer = getattr(ostinato, kind)(4, 5, 2, bidirectional=True, engine=engine)
    hx = torch.randn(4, 3, 5)
    output, state = layer(torch.zeros(0, 3, 4), (hx, hx) if kind == "LSTM" else hx)
    assert output.shape == (0, 3, 10)
    assert all(torch.equal(s, hx) for s in _leaves(state))
    output, state = layer(torch.zeros(6, 0, 4))
    assert output.shape == (6, 0, 10)
    assert all(s.shape == (4, 0, 5) for s in _leaves(state))


def kept(layer: nn.Module, run) -> int:
    """Bytes of the storages that a call's graph keeps, but for the layer's own."""
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    own = {parameter.untyped_storage().data_ptr() for parameter in layer.parameters()}
    return sum(storage.nbytes() for address, storage in storages.items() if address not in own)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(("engine", "width"), [("native", 5), ("auto", 5), ("aten", 5), ("native", 1), ("native", 2)])
def test_no_more_is_kept_than_torch_keeps(kind, engine, width) -> None:
    ours, theirs = getattr(ostinato, kind)(width, 8, engine=engine), getattr(nn, kind)(width, 8)
    x, lengths = torch.randn(40, 16, width, requires_grad=True), torch.arange(40, 8, -2)

    def packed() -> None:
        output, _ = theirs(pack_padded_sequence(x, lengths, enforce_sorted=False))
        pad_packed_sequence(output)

    assert kept(ours, lambda: ours(x, lengths=lengths)) <= kept(theirs, packed)
    assert kept(ours, lambda: ours(x)) <= kept(theirs, lambda: theirs(x))


def _leaves(value):
    return torch.utils._pytree.tree_leaves(value)
