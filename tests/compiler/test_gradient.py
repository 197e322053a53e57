"""The derived backward of every operation is torch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ostinato.compiler.gradient import derive
from ostinato.compiler.graph import Builder, Graph, Node
from ostinato.compiler.interpret import COMPOSITE, NORMALISING, POINTWISE, run
from ostinato.compiler.vjp import FUSED
from tests.compiler.whole import close

W = 5
TWO = ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "remainder", "fmod", "floor_divide")
POSITIVE = ("log", "log1p", "log10", "sqrt", "rsqrt", "power", "pow", "div", "remainder", "fmod")
BOOLS = ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not")
ATTRS = {
    "gelu": [{"approximate": "none"}, {"approximate": "tanh"}],
    "softplus": [{"beta": 1.0, "threshold": 20.0}, {"beta": 2.0, "threshold": 1.0}],
    "elu": [{"alpha": 1.0, "scale": 1.0, "input_scale": 1.0}, {"alpha": 1.67, "scale": 1.05, "input_scale": 1.0}],
    "celu": [{"alpha": 1.0}, {"alpha": 0.7}],
    "power": [{"exponent": 0.5}, {"exponent": 1 / 3}, {"exponent": 2.5}],
    "hardshrink": [{"lambd": 0.5}],
    "softshrink": [{"lambd": 0.5}],
    "leaky_relu": [{"negative_slope": 0.1}],
    "hardtanh": [{"min_val": -0.5, "max_val": 0.7}],
    "clamp": [{"min": -0.5, "max": 0.7}, {"min": 0.1}, {"max": 0.2}],
    "layer_norm": [{"eps": 1e-5}],
    "rms_norm": [{"eps": 1e-5}],
}


def agrees(graph: Graph, values: dict[str, Tensor], tolerance: float = 1e-9) -> None:
    """The gradients of every input with rows, and of every param."""
    derived = derive(graph)
    leaves = {n: v.requires_grad_() if v.is_floating_point() else v for n, v in values.items()}
    out = run(graph, leaves)
    seeds = {f"grad.{n.removeprefix('new.')}": torch.randn_like(v) for n, v in out.items()}
    made = run(derived.graph, {n: v.detach() for n, v in (leaves | seeds).items()})
    reached = [n for n, v in out.items() if v.requires_grad]
    wanted = [n for n, v in leaves.items() if v.requires_grad]
    expected = torch.autograd.grad(
        [out[n] for n in reached],
        [leaves[n] for n in wanted],
        [seeds[f"grad.{n.removeprefix('new.')}"] for n in reached],
        allow_unused=True,
    )
    for name, want in zip(wanted, expected, strict=True):
        want = torch.zeros_like(leaves[name]) if want is None else want
        got = torch.zeros_like(leaves[name])
        if graph.inputs[name].rows:
            got = made[f"grad.{name}"]
        for p in derived.products:
            if p.param == name:
                equation = "bhn,bhk->hnk" if leaves[name].dim() == 3 else "bn,bk->nk"
                g, v = made[p.grad], made[p.value]
                if leaves[name].dim() == 2:
                    g, v = g.reshape(-1, g.shape[-1]), v.reshape(-1, v.shape[-1])
                got = got + torch.einsum(equation, g, v)
        for s in derived.sums:
            if s.param == name:
                got = got + made[s.grad].sum(0)
        close(got, want, f"gradient of {name}", tolerance)


def step(make, *names: str, width: int = W) -> tuple[Graph, Builder]:
    """A step whose states are ``names`` and whose only work is ``make``."""
    b = Builder()
    states = {n: b.input("state", n, (width,), True) for n in names}
    value = make(b, *states.values())
    return Graph(dict(states), {"output": value} | {f"new.{n}": s for n, s in states.items()}), b


def values(graph: Graph, positive: bool = False) -> dict[str, Tensor]:
    found = {}
    for name, node in graph.inputs.items():
        value = torch.randn([*((3,) if node.rows else ()), *node.shape], dtype=torch.float64)
        found[name] = value.abs() + 0.3 if positive else value
    return found


UNARY = sorted((set(POINTWISE) | set(COMPOSITE)) - set(TWO) - set(BOOLS) - {"where"})


@pytest.mark.parametrize(("op", "attrs"), [(op, a) for op in UNARY for a in ATTRS.get(op, [{}])], ids=str)
def test_elementwise_operations(op: str, attrs: dict) -> None:
    graph, _ = step(lambda b, h: b.pointwise(op, h, **attrs), "h")
    given = values(graph, op in POSITIVE)
    if op not in POSITIVE:
        given["h"] = given["h"] * 3
    if op == "logit":
        given["h"] = given["h"].sigmoid()
    agrees(graph, given)


@pytest.mark.parametrize("op", TWO)
@pytest.mark.parametrize("which", ["both", "first", "second"])
def test_operations_of_two(op: str, which: str) -> None:
    def make(b: Builder, h: Node, c: Node) -> Node:
        return b.pointwise(op, h if which != "second" else b.const(1.5), c if which != "first" else b.const(2.5))

    graph, _ = step(make, "h", "c")
    agrees(graph, values(graph, op in POSITIVE))


def test_equal_values_share_the_gradient_of_a_maximum() -> None:
    graph, _ = step(lambda b, h, c: b.pointwise("maximum", h, c), "h", "c")
    same = torch.randn(3, W, dtype=torch.float64)
    agrees(graph, {"h": same, "c": same.clone()})


def test_where_and_comparisons() -> None:
    def make(b: Builder, h: Node, c: Node) -> Node:
        test = b.pointwise("gt", h, b.const(0.0), dtype="bool")
        both = b.pointwise("and", test, b.pointwise("lt", c, b.const(0.5), dtype="bool"), dtype="bool")
        return b.pointwise("where", both, b.pointwise("mul", h, c), b.const(3.0))

    graph, _ = step(make, "h", "c")
    agrees(graph, values(graph))


@pytest.mark.parametrize("op", sorted(NORMALISING))
def test_normalising_operations(op: str) -> None:
    def make(b: Builder, h: Node) -> Node:
        shape = (1,) if op in ("logsumexp", "norm") else h.shape
        return b.make(op, (h,), shape, True, **ATTRS.get(op, [{}])[0])

    graph, _ = step(make, "h")
    agrees(graph, values(graph))


def test_the_norm_of_zeros_has_no_gradient() -> None:
    graph, _ = step(lambda b, h: b.make("norm", (h,), (1,), True), "h")
    agrees(graph, {"h": torch.zeros(3, W, dtype=torch.float64)})


VIEWS = {
    "slice": lambda b, h: b.slice(h, 0, 2, 5),
    "stepped slice": lambda b, h: b.slice(h, 0, 1, 6, 2),
    "slice to the end": lambda b, h: b.slice(h, 0, 0, 6, 3),
    "two slices": lambda b, h: b.pointwise("mul", b.slice(h, 0, 0, 4), b.slice(h, 0, 2, 6)),
    "cat": lambda b, h: b.cat((b.pointwise("tanh", h), h, b.slice(h, 0, 1, 3)), 0),
    "reshape": lambda b, h: b.pointwise("exp", b.reshape(h, (2, 3))),
    "permute": lambda b, h: b.permute(b.pointwise("exp", b.reshape(h, (1, 2, 3))), (2, 0, 1)),
    "broadcast": lambda b, h: b.broadcast(b.reshape(h, (2, 1, 3)), (2, 4, 3)),
    "broadcast more axes": lambda b, h: b.broadcast(h, (2, 4, 6)),
    "sum": lambda b, h: b.reduce("sum", b.reshape(h, (2, 3)), [0]),
    "sum of all": lambda b, h: b.reduce("sum", b.reshape(h, (2, 3)), [0, 1]),
    "amax": lambda b, h: b.reduce("amax", b.reshape(h, (2, 3)), [1]),
    "amin": lambda b, h: b.reduce("amin", h, [0]),
    "detach": lambda b, h: b.pointwise("mul", h, b.make("detach", (h,), h.shape, True)),
    "clip_gradient": lambda b, h: b.make("clip_gradient", (h,), h.shape, True, limit=0.3),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_and_reductions(name: str) -> None:
    graph, _ = step(VIEWS[name], "h", width=6)
    agrees(graph, values(graph))


def test_the_largest_of_equals_share_the_gradient() -> None:
    graph, _ = step(VIEWS["amin"], "h", width=6)
    agrees(graph, {"h": torch.tensor([[1.0, 2, 1, 3, 1, 5]] * 3, dtype=torch.float64)})


def test_products_and_params_at_every_row() -> None:
    b = Builder()
    h = b.input("state", "h", (6,), True)
    w, v = b.input("param", "w", (4, 6), False), b.input("param", "v", (2, 4, 3), False)
    u = b.input("param", "u", (4, 3), False)
    one, some = b.input("param", "one", (), False), b.input("param", "some", (2, 1), False)
    heads = b.linear(b.reshape(h, (2, 3)), v)
    parts = b.linear(b.reshape(h, (2, 3)), u)
    total = b.pointwise("add", b.pointwise("mul", heads, parts), b.broadcast(b.linear(h, w), (2, 4)))
    total = b.pointwise("mul", total, b.pointwise("add", b.broadcast(one, (2, 4)), b.broadcast(some, (2, 4))))
    twice = b.pointwise("mul", total, b.broadcast(some, (2, 4)))
    inputs = {"h": h, "w": w, "v": v, "u": u, "one": one, "some": some}
    graph = Graph(inputs, {"output": b.reshape(twice, (8,)), "new.h": h})
    agrees(graph, values(graph))


def test_softplus_far_out_has_torchs_gradient() -> None:
    graph, _ = step(lambda b, h: b.pointwise("softplus", h, beta=1.0, threshold=20.0), "h")
    agrees(graph, {"h": torch.tensor([[-1e4, -30.0, 0.0, 30.0, 1e4]] * 3, dtype=torch.float64)})


def test_no_random_number_is_drawn_and_no_mode_disturbs() -> None:
    before = torch.get_rng_state()
    with torch.no_grad(), torch.inference_mode():
        graph, _ = step(lambda b, h: b.pointwise("tanh", h), "h")
        assert "mul" in str(derive(graph).graph)
    assert torch.equal(before, torch.get_rng_state())


def test_every_fused_backward_is_one_that_torch_has() -> None:
    own = {"detach", "alias", "scalar_tensor", "zeros_like"}
    assert all(hasattr(torch.ops.aten, name) for name in FUSED if name not in own)
