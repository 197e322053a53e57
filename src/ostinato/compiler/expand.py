"""Composite and normalising operations written out: what is left is what the native back-ends emit.

Run after differentiation: torch's derivative of softplus or of a norm is finite where that of the formula is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ostinato.compiler.graph import Builder, Graph, Node, rewrite
from ostinato.compiler.maths import Maths
from ostinato.compiler.special import SPECIAL


def expand(graph: Graph) -> Graph:
    """The graph in elementwise operations, sum, amax, amin, views and products only."""
    return rewrite(graph, _rule)


def _rule(build: Builder, node: Node, inputs: tuple[Node, ...]) -> Node | None:
    formula = FORMULAS.get(node.op)
    if formula is not None:
        return formula(Maths(build, node.source), *inputs, **dict(node.attrs))
    return None


def _softplus(m: Maths, x: Node, beta: float = 1.0, threshold: float = 20.0) -> Node:
    scaled = x if beta == 1 else m("mul", x, beta)
    soft = m("log1p", m("exp", scaled))
    return m("where", m("gt", scaled, threshold), x, soft if beta == 1 else m("div", soft, beta))


def _gelu(m: Maths, x: Node, approximate: str = "none") -> Node:
    if approximate == "none":
        return m("mul", m("mul", x, 0.5), m("add", 1.0, m("erf", m("mul", x, math.sqrt(0.5)))))
    cube = m.chain("mul", x, x, x)
    inner = m("mul", math.sqrt(2 / math.pi), m("add", x, m("mul", 0.044715, cube)))
    return m("mul", m("mul", x, 0.5), m("add", 1.0, m("tanh", inner)))


def _elu(m: Maths, x: Node, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Node:
    below = m("mul", m("expm1", _times(m, x, input_scale)), alpha * scale)
    return m("where", m("gt", x, 0.0), _times(m, x, scale), below)


def _times(m: Maths, x: Node, factor: float) -> Node:
    return x if factor == 1 else m("mul", x, factor)


def _leaky_relu(m: Maths, x: Node, negative_slope: float = 0.01) -> Node:
    return m("where", m("gt", x, 0.0), x, m("mul", x, negative_slope))


def _clamp(m: Maths, x: Node, min: float | None = None, max: float | None = None) -> Node:
    x = x if min is None else m("maximum", x, float(min))
    return x if max is None else m("minimum", x, float(max))


def _softshrink(m: Maths, x: Node, lambd: float) -> Node:
    """What is not a number stays so."""
    low = m("where", m("lt", x, -lambd), m("add", x, lambd), m("mul", x, 0.0))
    return m("where", m("gt", x, lambd), m("sub", x, lambd), low)


def _sixth(m: Maths, x: Node) -> Node:
    return m("div", _clamp(m, m("add", x, 3.0), 0.0, 6.0), 6.0)


def _logsigmoid(m: Maths, x: Node) -> Node:
    return m("sub", m("minimum", x, 0.0), m("log1p", m("exp", m("neg", m("abs", x)))))


def _softmax(m: Maths, x: Node) -> Node:
    power = m("exp", m("sub", x, m.over_last("amax", x)))
    return m("div", power, m.over_last("sum", power))


def _log_softmax(m: Maths, x: Node) -> Node:
    lower = m("sub", x, m.over_last("amax", x))
    total = m("log", m.reduced("sum", m("exp", lower)))
    return m("sub", lower, m.build.broadcast(total, x.shape))


def _logsumexp(m: Maths, x: Node) -> Node:
    """An infinite maximum is not subtracted: ∞ - ∞ is NaN."""
    top = m.reduced("amax", x)
    top = m("where", m("eq", m("abs", top), math.inf), 0.0, top)
    power = m("exp", m("sub", x, m.build.broadcast(top, x.shape)))
    return m("add", m("log", m.reduced("sum", power)), top)


def _norm(m: Maths, x: Node) -> Node:
    return m("sqrt", m.reduced("sum", m("mul", x, x)))


def _centred(m: Maths, x: Node) -> Node:
    mean = m("div", m.reduced("sum", x), float(x.shape[-1]))
    return m("sub", x, m.build.broadcast(mean, x.shape))


def inverse_deviation(m: Maths, x: Node, eps: float) -> Node:
    """One over the standard deviation that a layer norm divides by."""
    return inverse_root(m, _centred(m, x), eps)


def _layer_norm(m: Maths, x: Node, eps: float) -> Node:
    return _rms_norm(m, _centred(m, x), eps)


def inverse_root(m: Maths, x: Node, eps: float) -> Node:
    """One over the root of the mean square that a root-mean-square norm divides by."""
    return m("rsqrt", m("add", m("div", m.reduced("sum", m("mul", x, x)), float(x.shape[-1])), eps))


def _rms_norm(m: Maths, x: Node, eps: float) -> Node:
    return m("mul", x, m.build.broadcast(inverse_root(m, x, eps), x.shape))


def _same(m: Maths, x: Node, **attrs: Any) -> Node:
    return x


FORMULAS: dict[str, Callable[..., Node]] = {
    **SPECIAL,
    "softplus": _softplus,
    "silu": lambda m, x: m("mul", x, m("sigmoid", x)),
    "gelu": _gelu,
    "elu": _elu,
    "celu": lambda m, x, alpha=1.0: _elu(m, x, alpha, 1.0, 1 / alpha),
    "leaky_relu": _leaky_relu,
    "hardtanh": lambda m, x, min_val=-1.0, max_val=1.0: _clamp(m, x, min_val, max_val),
    "hardsigmoid": _sixth,
    "hardswish": lambda m, x: m("mul", x, _sixth(m, x)),
    "mish": lambda m, x: m("mul", x, m("tanh", _softplus(m, x))),
    "logsigmoid": _logsigmoid,
    "clamp": _clamp,
    "hardshrink": lambda m, x, lambd: m("where", m.between(x, -lambd, lambd), 0.0, x),
    "softshrink": _softshrink,
    "power": lambda m, x, exponent: m("sqrt", x) if exponent == 0.5 else m("pow", x, exponent),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "norm": _norm,
    "largest": lambda m, x: m.reduced("amax", x),
    "smallest": lambda m, x: m.reduced("amin", x),
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "detach": _same,
    "clip_gradient": _same,
}
"""Composite operation → its value, from the node's inputs and attributes."""
