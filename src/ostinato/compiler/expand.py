"""Composite and normalising operations written out: what is left is what the native back-ends emit.

Run after differentiation: torch's derivative of softplus or of a norm is finite where that of the formula is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ostinato.compiler.graph import Builder, Graph, Node, rewrite
from ostinato.compiler.maths import Maths


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


def _sixth(m: Maths, x: Node) -> Node:
    return m("div", _clamp(m, m("add", x, 3.0), 0.0, 6.0), 6.0)


def _logsigmoid(m: Maths, x: Node) -> Node:
    return m("sub", m("minimum", x, 0.0), m("log1p", m("exp", m("neg", m("abs", x)))))


def _atan(m: Maths, x: Node) -> Node:
    """Cephes: the argument is brought below 0.66, where a quotient of polynomials is exact to double precision."""
    size = m("abs", x)
    large, middle = m("gt", size, 2.414213562373095), m("gt", size, 0.66)
    turned = m("div", m("sub", size, 1.0), m("add", size, 1.0))
    small = m("where", large, m("neg", m("reciprocal", size)), m("where", middle, turned, size))
    start = m("where", large, math.pi / 2, m("where", middle, math.pi / 4, 0.0))
    z = m("mul", small, small)
    top = _polynomial(m, z, _ATAN_TOP)
    bottom = _polynomial(m, z, _ATAN_BOTTOM)
    angle = m("add", m("mul", m.chain("mul", small, z), m("div", top, bottom)), small)
    total = m("add", start, angle)
    return m("where", m("lt", x, 0.0), m("neg", total), m("where", m("eq", x, 0.0), x, total))


_ATAN_TOP = (
    -8.750608600031904122785e-1,
    -1.615753718733365076637e1,
    -7.500855792314704667340e1,
    -1.228866684490136173410e2,
    -6.485021904942025371773e1,
)
_ATAN_BOTTOM = (
    1.0,
    2.485846490142306297962e1,
    1.650270098316988542046e2,
    4.328810604912902668951e2,
    4.853903996359136964868e2,
    1.945506571482613964425e2,
)


def _polynomial(m: Maths, z: Node, coefficients: tuple[float, ...]) -> Node:
    value: Node | float = coefficients[0]
    for coefficient in coefficients[1:]:
        value = m("add", z if value == 1.0 else m("mul", z, value), coefficient)
    assert isinstance(value, Node)
    return value


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
    "softplus": _softplus,
    "silu": lambda m, x: m("mul", x, m("sigmoid", x)),
    "gelu": _gelu,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "hardtanh": lambda m, x, min_val=-1.0, max_val=1.0: _clamp(m, x, min_val, max_val),
    "hardsigmoid": _sixth,
    "hardswish": lambda m, x: m("mul", x, _sixth(m, x)),
    "mish": lambda m, x: m("mul", x, m("tanh", _softplus(m, x))),
    "logsigmoid": _logsigmoid,
    "clamp": _clamp,
    "atan": _atan,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "norm": _norm,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "detach": _same,
    "clip_gradient": _same,
}
"""Composite operation → its value, from the node's inputs and attributes."""
