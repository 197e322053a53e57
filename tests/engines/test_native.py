"""The compiled loop as autograd and users see it; that it equals the loop is tests/layers' business."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

import ostinato
from ostinato import errors
from ostinato.engines import kernels, known, native
from tests.support.own_cells import NormalisedCell, PeepholeLSTMCell, TimeGapCell

CELLS = (PeepholeLSTMCell, NormalisedCell, ostinato.ChoGRUCell, ostinato.LSTMCell)


class Scaled(ostinato.Cell):
    """A step that reads a plain attribute."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.randn(hidden_size, input_size))
        self.slope = 0.5

    def step(self, x, h):
        return torch.tanh(linear(x, self.weight_ih) + self.slope * h)


class Sorted(Scaled):
    def step(self, x, h):
        return torch.tanh(linear(x, self.weight_ih)) + h.sort(-1).values


class Straight(torch.autograd.Function):
    """The sign, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, value):
        return value.sign()

    @staticmethod
    def backward(ctx, grad):
        return grad


class StraightThrough(Scaled):
    def step(self, x, h):
        return Straight.apply(linear(x, self.weight_ih) + self.slope * h)


def make(cell, **options) -> ostinato.Recurrent:
    return ostinato.Recurrent(cell, 4, 5, **({"engine": "native", "dtype": torch.float64} | options))


def looped(layer, *arguments, **keywords):
    with ostinato.engine("loop"):
        return layer(*arguments, **keywords)


def close(one, two) -> None:
    torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(6, 3, 4, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [None, [6, 0, 2]])
def test_a_gradient_penalty(cell, lengths, x) -> None:
    """An opaque backward would give a wrong one, silently."""
    layer, found = make(cell, bidirectional=True, num_layers=2), []
    for run in (layer, lambda *a, **k: looped(layer, *a, **k)):
        output, _ = run(x, lengths=lengths)
        (grad,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), [x, *layer.parameters()], allow_unused=True))
    for one, two in zip(*found, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            close(one, two)


@pytest.mark.parametrize("cell", CELLS)
def test_second_derivatives(cell) -> None:
    layer = make(cell, bidirectional=True)
    x = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters(), strict=True)
    values = [v.detach().clone().requires_grad_() for v in values]

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, *values), fast_mode=True)


def test_backward_twice_and_only_then_freed(x) -> None:
    layer = make(PeepholeLSTMCell)
    output, _ = layer(x)
    first = torch.autograd.grad(output.sum(), x, retain_graph=True)[0]
    close(torch.autograd.grad(output.sum(), x)[0], first)
    with pytest.raises(RuntimeError, match=r"backward through the graph a second time"):
        torch.autograd.grad(output.sum(), x)


def test_what_is_saved_must_not_be_written_to(x) -> None:
    layer = make(PeepholeLSTMCell)
    output, _ = layer(x)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        output.sum().backward()
    output, _ = layer(x)
    output.add_(1)  # the output is also what the state was, which the backward reads
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        output.sum().backward()


def test_an_output_may_be_written_to_where_the_backward_does_not_read_it(x) -> None:
    layer = make(ostinato.ElmanCell)
    output, _ = layer(x)
    (2 * output).add_(1).sum().backward()
    with torch.no_grad():
        output, _ = layer(x)
    output.mul_(torch.ones((), dtype=torch.float64, requires_grad=True))
    assert output.requires_grad


def test_saved_tensors_go_through_hooks_and_checkpoints(x) -> None:
    layer, packed = make(PeepholeLSTMCell, num_layers=2), []
    output, _ = layer(x)
    expected = torch.autograd.grad(output.sum(), [x, *layer.parameters()])

    def pack(tensor):
        packed.append(tensor.shape)
        return tensor.numpy(force=True).copy()

    with torch.autograd.graph.saved_tensors_hooks(pack, torch.from_numpy):
        output, _ = layer(x)
    for one, two in zip(torch.autograd.grad(output.sum(), [x, *layer.parameters()]), expected, strict=True):
        close(one, two)
    assert packed
    output = checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    for one, two in zip(torch.autograd.grad(output.sum(), [x, *layer.parameters()]), expected, strict=True):
        close(one, two)


def test_the_first_call_may_be_within_a_checkpoint(x, monkeypatch) -> None:
    monkeypatch.setattr(known, "_by_text", {})
    layer = make(PeepholeLSTMCell)
    output = checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    found, expected = (torch.autograd.grad(made.sum(), x)[0] for made in (output, looped(layer, x)[0]))
    close(found, expected)


def test_hooks_on_saved_tensors_see_the_first_call_as_any_other(x, monkeypatch) -> None:
    monkeypatch.setattr(known, "_by_text", {})
    layer, packed = make(PeepholeLSTMCell), []
    for _ in range(2):
        with torch.autograd.graph.saved_tensors_hooks(lambda t: packed[-1].append(t.shape) or t, lambda t: t):
            packed.append([])
            layer(x)[0].sum().backward()
    assert packed[0] == packed[1]


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "recompute": "chunks"}], ids=["one way", "chunks"])
def test_a_layer_on_the_cpu_while_torchs_default_device_is_another(x, options) -> None:
    layer = make(PeepholeLSTMCell, **options)
    cases: list[dict] = [{}, {}, {}, {"lengths": [2, 0, len(x)][: x.shape[1]]}]  # the third call goes the short way
    expected = [looped(layer, x, **case)[0] for case in cases]
    grads = [torch.autograd.grad(output.sum(), [x, *layer.parameters()]) for output in expected]
    with torch.device("meta"):
        for case, output, own in zip(cases, expected, grads, strict=True):
            made, _ = layer(x, **case)
            close(made, output)
            layer.last(made, **case)
            for one, two in zip(torch.autograd.grad(made.sum(), [x, *layer.parameters()]), own, strict=True):
                close(one, two)
        if not layer.bidirectional:
            close(ostinato.stream(layer, x.shape[1]).step(x[0]), expected[0][0])
            close(next(ostinato.chunks(layer, x, 2, lengths=cases[-1]["lengths"])).output, expected[-1][:2])


def test_only_what_needs_a_gradient_gets_one(x) -> None:
    layer = make(PeepholeLSTMCell)
    layer.weight_hh_l0.requires_grad_(False)
    output, _ = layer(x.detach())
    output.sum().backward()
    assert layer.weight_hh_l0.grad is None
    assert layer.weight_ih_l0.grad is not None
    layer.requires_grad_(False)
    assert not layer(x.detach())[0].requires_grad
    assert layer(x)[0].requires_grad
    with torch.inference_mode():
        close(layer(x)[0].clone(), looped(layer, x)[0])


def test_gradients_of_the_final_state_alone(x) -> None:
    layer = make(PeepholeLSTMCell, bidirectional=True)
    found = []
    for run in (layer, lambda x: looped(layer, x)):
        _, (_, c) = run(x)
        found.append(torch.autograd.grad(c[1].sum(), [x, *layer.parameters()], allow_unused=True))
    for one, two in zip(*found, strict=True):
        close(torch.zeros(()) if one is None else one, torch.zeros_like(one) if two is None else two)


def test_memory_is_freed(x) -> None:
    """An output that the backward reads must not keep itself alive."""
    layer = make(PeepholeLSTMCell)
    gc.collect()
    gc.disable()
    try:
        output, _ = layer(x)
        alive = weakref.ref(output)
        del output, _
        assert alive() is None
    finally:
        gc.enable()


def test_a_changed_attribute_is_never_run_by_an_old_kernel(x, monkeypatch) -> None:
    layer = make(Scaled)
    for slope in (0.5, 0.25, 0.5):
        layer.slots[0].template.slope = slope
        close(layer(x)[0], looped(layer, x)[0])
    close(layer.eval()(x)[0], looped(layer, x)[0])
    monkeypatch.setattr(Scaled, "step", lambda self, x, h: linear(x, self.weight_ih) - h)
    close(layer(x)[0], looped(layer, x)[0])
    with torch.no_grad():
        layer.weight_ih_l0.data.add_(1)
    close(layer(x)[0], looped(layer, x)[0])


def test_the_same_step_is_compiled_once(monkeypatch, x) -> None:
    made = []
    monkeypatch.setattr(
        native.known.pipeline, "build", lambda *a, _f=native.known.pipeline.build: made.append(a) or _f(*a)
    )

    class Fresh(Scaled):
        def step(self, x, h):
            return super().step(x, h) + 0.125

    layer = make(Fresh, bidirectional=True)
    layer(x)
    layer(x[:2, :1])
    assert len(made) == 1
    make(Fresh)(x)
    assert len(made) == 1
    with torch.no_grad():
        layer(x)
    assert len(made) == 2


def test_layers_travel(x) -> None:
    layer = make(PeepholeLSTMCell, num_layers=2)
    expected = layer(x)[0]
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        close(other(x)[0], expected)


def test_a_step_without_a_native_form_runs_in_the_loop_and_says_so_once(x) -> None:
    layer = make(Sorted, engine="auto", num_layers=2)
    with pytest.warns(UserWarning, match=r"Sorted runs step by step.*aten.sort.*test_native.py.*h.sort\(-1\)"):
        output, _ = layer(x)
    close(output, looped(layer, x)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
    assert "aten.sort has no native form (test_native.py" in ostinato.explain(layer).why
    layer.engine = "native"
    with pytest.raises(errors.EngineError, match=r"engine 'native' cannot run this: .*aten.sort.*engine='auto'"):
        layer(x)
    with pytest.raises(errors.EngineError, match=r"aten.sort"):
        ostinato.explain(layer)


def test_a_derivative_of_its_own_is_not_replaced(x) -> None:
    """Whether the tracer refuses such a step or the trial finds it out: the gradient is the user's."""
    layer = make(StraightThrough, engine="auto")
    with pytest.warns(UserWarning, match=r"StraightThrough runs step by step"):
        output, _ = layer(x)
    (grad,) = torch.autograd.grad(output.sum(), x)
    (expected,) = torch.autograd.grad(looped(layer, x)[0].sum(), x)
    close(grad, expected)
    assert grad.abs().max() > 0


@pytest.mark.parametrize("part", ["forward", "backward"])
def test_a_wrong_kernel_is_never_believed(part, monkeypatch, x) -> None:
    class Wrong(kernels.ReferenceKernel):
        def forward(self, loops, save):
            output, rans = super().forward(loops, save)
            return (output * 1.01 if part == "forward" else output), rans

        def backward(self, *arguments):
            found = super().backward(*arguments)
            if part == "backward":
                for grads in found:
                    grads.streams.update({name: value + 0.1 for name, value in grads.streams.items()})
            return found

    monkeypatch.setattr("ostinato.engines.compiled.make_kernel", Wrong)

    class Fresh(Scaled):
        def step(self, x, h):
            return super().step(x, h) - (0.0625 if part == "forward" else 0.03125)

    layer = make(Fresh, engine="auto")
    what = "result" if part == "forward" else "gradient"
    with pytest.warns(UserWarning, match=rf"failed its trial against the loop: its {what} differs"):
        output, _ = layer(x)
    close(output, looped(layer, x)[0])


@pytest.mark.parametrize(
    ("cell", "scale"),
    [("gru", 50), ("rnn", 100), ("multiplicative-gru", 10), ("layer-norm-lstm", 100)],
)
def test_rounding_that_large_weights_make_large_is_no_fault(monkeypatch, cell: str, scale: int) -> None:
    monkeypatch.setattr(known, "_by_text", {})
    layer = ostinato.Recurrent(cell, 200, 300, engine="native")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(scale)
    assert layer(torch.randn(3, 2, 200))[0].requires_grad


def test_a_gradient_is_tried_before_it_is_first_wanted(monkeypatch, x) -> None:
    """The trial asks for what the call does: no loop is compiled that will not run, and none runs untried."""
    asked = []

    class Wrong(kernels.ReferenceKernel):
        def backward(self, loops, rans, grad_output, grad_finals, wanted):
            asked.append("x" in wanted)
            found = super().backward(loops, rans, grad_output, grad_finals, wanted)
            for grads in found:
                grads.streams.update({name: value + 0.1 for name, value in grads.streams.items() if name == "x"})
            return found

    class Fresh(Scaled):
        def step(self, x, h):
            return super().step(x, h) - 0.015625 * h * x[..., :1]

    monkeypatch.setattr("ostinato.engines.compiled.make_kernel", Wrong)
    layer = make(Fresh, engine="auto")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x.detach())[0].sum().backward()
        assert asked == [False, False]  # the trial's and the call's
    with pytest.warns(UserWarning, match=r"failed its trial against the loop: its gradient differs"):
        output, _ = layer(x)
    assert asked == [False, False, True]
    close(torch.autograd.grad(output.sum(), x)[0], torch.autograd.grad(looped(layer, x)[0].sum(), x)[0])
    close(layer(x.detach())[0], looped(layer, x)[0])


def test_the_reference_in_the_place_of_machine_code(monkeypatch, x) -> None:
    monkeypatch.setattr("ostinato.engines.compiled.make_kernel", kernels.ReferenceKernel)

    class Fresh(PeepholeLSTMCell):
        def step(self, x, h, c):
            h, c = super().step(x, h, c)
            return h * 0.75, c

    layer, found = make(Fresh, bidirectional=True), []
    for run in (layer, lambda *a, **k: looped(layer, *a, **k)):
        output, (h, c) = run(x, lengths=[3, 0, 6])
        grads = torch.autograd.grad(output.square().sum() + h.sum() + c.sum(), [x, *layer.parameters()])
        found.append((output, h, c, *grads))
    for one, two in zip(*found, strict=True):
        close(one, two)


def test_without_a_compiler(monkeypatch, x) -> None:
    monkeypatch.setattr(kernels.jit, "available", lambda: "llvmlite cannot be imported")
    layer = make(PeepholeLSTMCell, engine="auto")
    with pytest.warns(UserWarning, match="slower: llvmlite cannot be imported; engine='loop' says") as said:
        output = layer(x)[0]
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(layer(x)[0], output)
        close(looped(layer, x)[0], output)
        ostinato.LSTM(4, 5, dtype=torch.float64)(x)
    assert ostinato.explain(layer).why == "llvmlite cannot be imported"
    layer.engine = "native"
    with pytest.raises(errors.EngineError, match=r"llvmlite cannot be imported; engine='auto'"):
        layer(x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_other_dtypes_fall_through(dtype) -> None:
    layer = ostinato.Recurrent(ostinato.ChoGRUCell, 4, 5).to(dtype)
    found = ostinato.explain(layer)
    assert found.engine == "loop"
    assert str(dtype) in found.why
    if dtype != torch.complex64:
        assert layer(torch.randn(3, 2, 4, dtype=dtype))[0].dtype == dtype
    layer.engine = "native"
    with pytest.raises(errors.EngineError, match=r"float32 and float64"):
        layer(torch.randn(3, 2, 4, dtype=dtype))


def test_parametrized_weights_and_streams_of_flags(x) -> None:
    layer = nn.utils.parametrizations.weight_norm(make(TimeGapCell), "weight_hh_l0")
    found = []
    gap = torch.rand(6, 3, 1, dtype=torch.float64, requires_grad=True)
    speaker = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    for run in (layer, lambda *a, **k: looped(layer, *a, **k)):
        output, _ = run(x, lengths=[6, 1, 4], gap=gap, speaker=speaker)
        grads = torch.autograd.grad(output.square().sum(), [x, gap, speaker, *layer.parameters()])
        found.append((output, *grads))
    for one, two in zip(*found, strict=True):
        close(one, two)

    class Reset(Scaled):
        def step(self, x, h, *, reset):
            return super().step(x, torch.where(reset, torch.zeros_like(h), h))

    layer = make(Reset)
    reset = torch.rand(6, 3, 5) < 0.5
    close(layer(x, reset=reset)[0], looped(layer, x, reset=reset)[0])
    counts = torch.randint(0, 3, (6, 3, 1))
    layer = make(TimeGapCell, engine="auto")
    close(layer(x, gap=counts)[0], looped(layer, x, gap=counts)[0])


@pytest.mark.parametrize("name", ["layer-norm-gru", "layer-norm-lstm", "slstm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_norm_of_a_single_element_is_no_fault(name, dtype) -> None:
    """Its gradient is zero, and what is computed of it is rounding."""
    for seed in range(3):
        torch.manual_seed(seed)
        layer = ostinato.Recurrent(name, 17, 1, engine="native", dtype=dtype)
        assert layer(torch.randn(5, 2, 17, dtype=dtype))[0].shape == (5, 2, 1)


class TwoMatrices(ostinato.Cell):
    """Two parameters of one shape, to be tied, and a keyword of the width of x."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.w = nn.Parameter(torch.rand(hidden_size, hidden_size))
        self.u = nn.Parameter(torch.rand(hidden_size, hidden_size))

    def step(self, x, h, *, gap):
        return torch.tanh(linear(x, self.w) + linear(h, self.u) * gap)


def tied(kind: str) -> tuple[ostinato.Recurrent, dict]:
    """A layer in which one tensor stands at several places, and how it is called."""
    if kind == "late":
        layer = ostinato.LSTM(4, 4, dtype=torch.float64, engine="native")
        layer(torch.randn(5, 2, 4, dtype=torch.float64))
        layer.weight_hh_l0 = layer.weight_ih_l0
        return layer, {}
    options = {"recompute": "chunks"} if kind == "chunks" else {}
    layer = ostinato.Recurrent(TwoMatrices, 4, 4, bidirectional=True, dtype=torch.float64, **options)
    layer.w_l0_reverse = layer.u_l0 = layer.w_l0
    return layer, {"gap": None}


@pytest.mark.parametrize("kind", ["late", "keyword", "chunks"])
@pytest.mark.parametrize("leaf", [False, True])
def test_one_tensor_at_several_places_in_a_gradient_penalty(kind: str, leaf: bool) -> None:
    layer, keywords = tied(kind)
    x, found = torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True), []
    leaves = [x, *layer.parameters()]
    for engine in ("native", "loop"):
        with ostinato.engine(engine):
            for _ in range(3):  # the third call goes the short way
                read = x if leaf else x * 1
                output, _ = layer(read, **dict.fromkeys(keywords, read))
        first = torch.autograd.grad(output.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        found.append((*first, *second))
    for one, two in zip(*found, strict=True):
        close(one, two)
