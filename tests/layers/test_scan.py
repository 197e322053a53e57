"""Linear recurrences for all steps at once agree with the layers that run them step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

import ostinato
from ostinato.errors import InvalidShape, InvalidType, InvalidValue
from ostinato.functional import linear_scan

Layer = ostinato.Recurrent


def by_steps(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    states = []
    for a_t, b_t in zip(a, b, strict=True):
        h = a_t * h + b_t
        states.append(h)
    return torch.stack(states)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 63, 64])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_it_is_the_loop(steps: int, dtype: torch.dtype) -> None:
    a, b, h = random(steps, 2, 3, dtype=dtype), random(steps, 2, 3, dtype=dtype), random(2, 3, dtype=dtype)
    weight = torch.randn(steps, 2, 3, dtype=dtype)
    both = (by_steps(a, b, h), linear_scan(a, b, h))
    results = [[y, *torch.autograd.grad((y * weight).abs().square().sum(), (a, b, h))] for y in both]
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-10, atol=1e-10)


def test_from_zeros_and_with_one_decay_for_all_steps() -> None:
    a, b = random(3), random(7, 2, 3)[:, 0]
    torch.testing.assert_close(linear_scan(a, b), by_steps(a.expand(7, 3), b, torch.zeros(3, dtype=torch.float64)))
    h = random(3)
    torch.testing.assert_close(linear_scan(a, b, h), by_steps(a.expand(7, 3), b, h))


def test_decays_of_zero_and_below_and_of_one() -> None:
    a = torch.tensor([0.0, -2.0, 1.0, 0.0, 3.0]).unsqueeze(1)
    b = torch.ones(5, 1)
    assert linear_scan(a, b).flatten().tolist() == [1.0, -1.0, 0.0, 1.0, 4.0]


def test_a_real_input_with_complex_decays() -> None:
    a = torch.polar(torch.rand(5, 2), torch.rand(5, 2))
    b = torch.randn(5, 2)
    torch.testing.assert_close(linear_scan(a, b), by_steps(a, b.to(a.dtype), torch.zeros(2, dtype=a.dtype)))


def test_no_steps() -> None:
    assert linear_scan(torch.zeros(0, 3), torch.zeros(0, 3), torch.ones(3)).shape == (0, 3)


def test_derivatives_of_both_orders_and_transforms() -> None:
    inputs = (random(5, 2), random(5, 2), random(2))
    assert torch.autograd.gradcheck(linear_scan, inputs)
    assert torch.autograd.gradgradcheck(linear_scan, inputs)
    a, b = torch.rand(4, 5, 2), torch.randn(4, 5, 2)
    mapped = torch.func.vmap(linear_scan)(a, b)
    torch.testing.assert_close(mapped[1], linear_scan(a[1], b[1]))


def test_it_has_logarithmic_depth() -> None:
    """As many rounds as a tree has levels: nodes on the longest way from the result to b, not one for each step."""

    def depth(node: object) -> int:
        known: dict[object, int] = {}
        stack = [node]
        while stack:
            top = stack[-1]
            below = [n for n, _ in top.next_functions if n is not None]
            waiting = [n for n in below if n not in known]
            if waiting:
                stack += waiting
            else:
                known[stack.pop()] = 1 + max((known[n] for n in below), default=0)
        return known[node]

    depths = [depth(linear_scan(random(t, 1), random(t, 1)).grad_fn) for t in (256, 512, 1024)]
    assert depths[2] - depths[1] == depths[1] - depths[0] < 20


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (torch.ones(3, 2), torch.ones(4, 2)),
            InvalidShape,
            r"a must be \(4, 2\) as b, or broadcast to it",
        ),
        ((torch.ones(4, 2), torch.ones(4, 2), torch.ones(3)), InvalidShape, r"h_0 must be \(2,\), b without its steps"),
        ((torch.ones(()), torch.ones(())), InvalidValue, "with the steps along its first axis"),
        ((torch.ones(2), torch.ones(2, dtype=torch.long)), InvalidValue, "b must hold real or complex numbers"),
        ((0.5, torch.ones(2)), InvalidType, "a must be a tensor, got float"),
    ],
)
def test_bad_arguments(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        linear_scan(*arguments)


def min_gru(layer: Layer, x: Tensor, h: Tensor) -> Tensor:
    z, new = linear(x, layer.weight_ih_l0, layer.bias_ih_l0).chunk(2, dim=-1)
    z = torch.sigmoid(z)
    return linear_scan(1 - z, z * new, h)


def min_lstm(layer: Layer, x: Tensor, h: Tensor) -> Tensor:
    f, i, new = linear(x, layer.weight_ih_l0, layer.bias_ih_l0).chunk(3, dim=-1)
    f, i = torch.sigmoid(f), torch.sigmoid(i)
    return linear_scan(f / (f + i), i / (f + i) * new, h)


def sru(layer: Layer, x: Tensor, c: Tensor) -> Tensor:
    new, f, r, past = linear(x, layer.weight_ih_l0).chunk(4, dim=-1)
    b_f, b_r = layer.bias_ih_l0.chunk(2)
    f, r = torch.sigmoid(f + b_f), torch.sigmoid(r + b_r)
    return r * linear_scan(f, (1 - f) * new, c) + (1 - r) * past * 3**0.5


def qrnn(layer: Layer, x: Tensor, c: Tensor) -> Tensor:
    z, f, o = linear(x, layer.weight_ih_l0, layer.bias_ih_l0).chunk(3, dim=-1)
    f = torch.sigmoid(f)
    return torch.sigmoid(o) * linear_scan(f, (1 - f) * torch.tanh(z), c)


def lru(layer: Layer, x: Tensor, re: Tensor, im: Tensor) -> Tensor:
    decay = torch.exp(torch.complex(-torch.exp(layer.nu_l0), torch.exp(layer.theta_l0)))
    B, C = (torch.complex(*w.chunk(2)) for w in (layer.weight_ih_l0, layer.weight_ho_l0))
    h = linear_scan(decay, torch.exp(layer.gamma_l0) * linear(x.to(B.dtype), B), torch.complex(re, im))
    return linear(h, C).real + linear(x, layer.weight_io_l0)


PARALLEL: dict[str, tuple[Callable[..., Tensor], dict[str, object]]] = {
    "min-gru": (min_gru, {}),
    "min-lstm": (min_lstm, {}),
    "sru": (sru, {"peephole": False}),
    "qrnn": (qrnn, {}),
    "lru": (lru, {}),
}


@pytest.mark.parametrize("engine", ["loop", "native"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", PARALLEL)
def test_layers_agree_with_their_parallel_form(name: str, engine: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    parallel, options = PARALLEL[name]
    layer = ostinato.Recurrent(name, 4, 5, engine=engine, dtype=dtype, **options)
    x = random(60, 3, 4, dtype=dtype)
    states = [random(1, 3, 5, dtype=dtype) for _ in range(2 if name == "lru" else 1)]
    step_by_step = layer(x, states[0] if len(states) == 1 else tuple(states))[0]
    at_once = parallel(layer, x, *(s[0] for s in states))
    wanted = [x, *states, *layer.parameters()]
    results = [[y, *torch.autograd.grad(y.square().mean(), wanted)] for y in (step_by_step, at_once)]
    tolerance = 1e-11 if dtype == torch.float64 else 2e-5
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(two, one, rtol=tolerance, atol=tolerance)
