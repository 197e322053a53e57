"""Parameters are ordinary ones: everything torch does to a module's parameters works, and acts once a forward."""

from __future__ import annotations

import copy
import io
import os
import pickle
import socket
import warnings
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import ostinato
from tests.support.own_cells import NormalisedCell, PeepholeLSTMCell

LAYERS = [
    lambda: ostinato.LSTM(4, 5, 2, bidirectional=True),
    lambda: ostinato.GRU(4, 5),
    lambda: ostinato.RNN(4, 5, engine="loop"),
    lambda: ostinato.Recurrent(PeepholeLSTMCell, 4, 5, 2),
    lambda: ostinato.Recurrent(NormalisedCell, 4, 5, bidirectional=True),
]


def out(layer, *arguments, **keywords):
    return layer(*arguments, **keywords)[0]


@pytest.fixture
def x():
    return torch.randn(6, 3, 4)


@pytest.mark.parametrize("make", LAYERS)
def test_copies(make, x) -> None:
    layer = make()
    expected = out(layer, x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(out(twin, x), expected)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert torch.equal(out(layer, x), expected)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    fresh = make()
    fresh.load_state_dict(torch.load(buffer, weights_only=True), strict=True)
    assert torch.equal(out(fresh, x), expected)


@pytest.mark.parametrize("make", LAYERS)
def test_dtypes(make, x) -> None:
    layer = make()
    expected = out(layer, x)
    assert out(layer.double(), x.double()).dtype == torch.float64
    torch.testing.assert_close(out(layer, x.double()).float(), expected, rtol=0, atol=1e-5)
    assert out(layer.half(), x.half()).dtype == torch.float16
    assert out(layer.bfloat16(), x.bfloat16()).dtype == torch.bfloat16
    layer.to(torch.float32)
    assert all(p.dtype == torch.float32 for p in layer.parameters())


@pytest.mark.parametrize("make", LAYERS)
def test_functional_call_and_ensembles(make, x) -> None:
    layers = [make() for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(layers)
    base = layers[0]
    for layer in layers:
        state = dict(layer.named_parameters()) | dict(layer.named_buffers())
        torch.testing.assert_close(torch.func.functional_call(base, state, (x,))[0], out(layer, x))
    with torch.no_grad():
        together = torch.func.vmap(lambda p, b: torch.func.functional_call(base, (p, b), (x,))[0])(parameters, buffers)
    for one, layer in zip(together, layers, strict=True):
        torch.testing.assert_close(one, out(layer, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", LAYERS)
def test_transforms(make, x) -> None:
    layer = make()
    expected = torch.autograd.functional.jacobian(lambda v: out(layer, v).sum(0).sum(0), x)
    torch.testing.assert_close(torch.func.jacrev(lambda v: out(layer, v).sum(0).sum(0))(x), expected)
    torch.testing.assert_close(torch.func.jacfwd(lambda v: out(layer, v).sum(0).sum(0))(x), expected)
    rows = torch.func.vmap(lambda row: out(layer, row), in_dims=1, out_dims=1)(x)
    torch.testing.assert_close(rows, out(layer, x))
    tangent = torch.randn_like(x)
    with torch.autograd.forward_ad.dual_level():
        dual = out(layer, torch.autograd.forward_ad.make_dual(x, tangent))
        moved = torch.autograd.forward_ad.unpack_dual(dual).tangent
    _, along = torch.func.jvp(lambda v: out(layer, v), (x,), (tangent,))
    torch.testing.assert_close(moved, along)


@pytest.mark.parametrize("make", LAYERS)
def test_backward_in_eval_mode(make, x) -> None:
    layer = make().eval()
    out(layer, x).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters() if p.dim() > 1)


class Count(nn.Module):
    """A parametrization that counts how often it is computed."""

    def __init__(self, factor=0.5):
        super().__init__()
        self.calls = 0
        self.factor = factor

    def forward(self, weight):
        self.calls += 1
        return self.factor * weight


@pytest.mark.parametrize("engine", ["loop", "auto"])
def test_parametrizations_act_once_a_forward(engine, x) -> None:
    layer = ostinato.LSTM(4, 5, engine=engine)
    plain = copy.deepcopy(layer)
    with torch.no_grad():
        plain.weight_hh_l0.mul_(0.5)
    for name, factor in (("weight_hh_l0", 0.5), ("weight_ih_l0", 1.0)):
        count = Count(factor)
        parametrize.register_parametrization(layer, name, count)
        count.calls = 0
        torch.testing.assert_close(out(layer, x), out(plain, x))
        assert count.calls == 1
    out(layer, x).sum().backward()
    assert layer.parametrizations.weight_hh_l0.original.grad is not None


def test_parametrized_submodules_and_cells_act_once(x) -> None:
    layer = ostinato.Recurrent(NormalisedCell, 4, 5)
    count = Count()
    parametrize.register_parametrization(layer.ln_l0, "weight", count)
    count.calls = 0
    out(layer, x)
    assert count.calls == 1

    class Antisymmetric(ostinato.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.weight = nn.Parameter(torch.randn(hidden_size, hidden_size))
            parametrize.register_parametrization(self, "weight", Count())

        def step(self, x, h):
            return torch.tanh(h @ self.weight + 1)

    layer = ostinato.Recurrent(Antisymmetric, 4, 5)
    inner = layer.parametrizations_l0.weight[0]
    inner.calls = 0
    out(layer, x).sum().backward()
    assert inner.calls == 1
    assert layer.parametrizations_l0.weight.original.grad.abs().sum() > 0


@pytest.mark.parametrize("engine", ["loop", "auto"])
def test_weight_and_spectral_norm_and_pruning(engine, x) -> None:
    for change in (
        lambda m: parametrizations.weight_norm(m, "weight_hh_l0"),
        lambda m: parametrizations.spectral_norm(m, "weight_hh_l0"),
        lambda m: prune.l1_unstructured(m, "weight_hh_l0", amount=0.5),
    ):
        torch.manual_seed(0)
        layer = ostinato.GRU(4, 5, engine=engine)
        change(layer)
        layer.eval()
        reference = nn.GRU(4, 5)
        with torch.no_grad():
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
                getattr(reference, name).copy_(getattr(layer, name))
        torch.testing.assert_close(out(layer, x), out(reference, x))
        out(layer, x).sum().backward()


def test_no_warnings_of_flattening(x) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out(copy.deepcopy(ostinato.LSTM(4, 5, 2)), x)


def test_reset_parameters_draws_torchs_numbers() -> None:
    ours, theirs = ostinato.LSTM(4, 5, 2, bidirectional=True), nn.LSTM(4, 5, 2, bidirectional=True)
    for layer in (ours, theirs):
        torch.manual_seed(11)
        layer.reset_parameters()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)
    parametrize.register_parametrization(ours, "weight_hh_l0", Count())
    with pytest.raises(ValueError, match=r"remove the parametrization"):
        ours.reset_parameters()


def test_options_of_the_beginning() -> None:
    layer = ostinato.LSTM(4, 5, 2, forget_bias=1.0, recurrent_init="orthogonal")
    for k in range(2):
        total = getattr(layer, f"bias_ih_l{k}") + getattr(layer, f"bias_hh_l{k}")
        assert torch.equal(total[5:10], torch.ones(5))
        assert not torch.equal(total[:5], torch.ones(5))
        for gate in getattr(layer, f"weight_hh_l{k}").chunk(4):
            torch.testing.assert_close(gate @ gate.T, torch.eye(5), rtol=0, atol=1e-5)
    for gate in ostinato.LSTM(4, 5, proj_size=3, recurrent_init="orthogonal").weight_hh_l0.chunk(4):
        torch.testing.assert_close(gate.T @ gate, torch.eye(3), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"forget_bias"):
        ostinato.LSTM(4, 5, bias=False, forget_bias=1.0)


def test_names_follow_one_rule() -> None:
    layer = ostinato.Recurrent(NormalisedCell, 4, 5, 2, bidirectional=True)
    names = set(layer.state_dict())
    assert {"weight_ih_l0", "ln_l1_reverse.weight", "scale_l0_reverse", "ln_l0.bias"} <= names
    assert len(names) == 4 * 5


def test_distributed_data_parallel(x) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    try:
        layer = ostinato.LSTM(4, 5, 2)
        wrapped = nn.parallel.DistributedDataParallel(layer)
        torch.testing.assert_close(out(wrapped, x), out(layer, x))
        out(wrapped, x).sum().backward()
        assert layer.weight_ih_l0.grad is not None
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("make", "lengths", "backend"),
    [
        *product(LAYERS, [[6, 0, 2]], ["aot_eager"]),
        *product([LAYERS[0], LAYERS[4]], [None], ["aot_eager"]),
        *product([LAYERS[1], LAYERS[3]], [None], ["eager"]),
    ],
)
def test_under_compile(make, lengths, backend, x) -> None:
    torch.compiler.reset()
    layer = make()
    compiled = torch.compile(layer, backend=backend)
    expected = out(layer, x, lengths=lengths)
    expected.sum().backward()
    grads = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    got = out(compiled, x, lengths=lengths)
    got.sum().backward()
    torch.testing.assert_close(got, expected)
    for p, grad in zip(layer.parameters(), grads, strict=True):
        torch.testing.assert_close(p.grad, grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", LAYERS)
def test_on_the_meta_device(make) -> None:
    layer = make().to("meta")
    assert out(layer, torch.randn(6, 3, 4, device="meta")).shape[:2] == (6, 3)


def test_cells_that_know_no_device_are_built_there() -> None:
    layer = ostinato.Recurrent(PeepholeLSTMCell, 4, 5, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in layer.parameters()} == {("meta", torch.float64)}
