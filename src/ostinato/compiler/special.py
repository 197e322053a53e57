"""Functions that the native back-ends have no instruction for, written out with those they have.

Each formula keeps its relative precision where the textbook's loses it: near zero, in the tails, at whole powers, and
next to the largest number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ostinato.compiler.graph import Node
from ostinato.compiler.maths import Maths


def _sinh(m: Maths, x: Node) -> Node:
    """From ``expm1``, which is exact near zero; far out from two factors, so that it overflows no sooner than it is."""
    size = m("abs", x)
    less = m("expm1", size)
    near = m("mul", m("add", less, m("div", less, m("add", less, 1.0))), 0.5)
    value = m("where", m("gt", size, FAR), _half_exp(m, size), near)
    return m("where", m("gt", x, 0.0), value, m("where", m("lt", x, 0.0), m("neg", value), x))


def _cosh(m: Maths, x: Node) -> Node:
    size = m("abs", x)
    power = m("exp", size)
    near = m("mul", m("add", power, m("reciprocal", power)), 0.5)
    return m("where", m("gt", size, FAR), _half_exp(m, size), near)


FAR = 40.0
"""From here on e⁻ˣ adds nothing to eˣ, in either precision."""


def _half_exp(m: Maths, size: Node) -> Node:
    root = m("exp", m("mul", size, 0.5))
    return m("mul", m("mul", root, 0.5), root)


def _exp2(m: Maths, x: Node) -> Node:
    return m("pow", 2.0, x)


NORMAL = 37.0
"""Powers up to here are told apart by their values; of numbers below the normal ones, several are one power of ten."""


def _log(base: float) -> Callable[[Maths, Node], Node]:
    """To another base: the whole number where ``x`` is that power of it."""

    def formula(m: Maths, x: Node) -> Node:
        value = m("div", m("log", x), math.log(base))
        whole = m("round", value)
        exact = m("and", m("eq", m("pow", base, whole), x), m("le", m("abs", whole), NORMAL))
        return m("where", exact, whole, value)

    return formula


def _erfc(m: Maths, x: Node) -> Node:
    """``exp(-x²) / (1 + 2x)`` times what is left, which is close to one from zero to infinity. The square is split, for
    its rounding would be a factor of the result."""
    size = m("minimum", m("abs", x), 30.0)
    high = m("mul", m("round", m("mul", size, 128.0)), 1 / 128)
    rest = m("mul", m("sub", high, size), m("add", high, size))
    power = m("exp", m("neg", m("mul", high, high)))
    power = m("add", power, m("mul", power, m("expm1", rest)))
    left = polynomial(m, m("div", m("sub", size, 4.0), m("add", size, 4.0)), _ERFC)
    tail = m("div", m("mul", power, left), m("add", m("mul", size, 2.0), 1.0))
    beyond = m("where", m("lt", x, 0.0), m("sub", 2.0, tail), tail)
    return m("where", m("lt", m("abs", x), 0.5), m("sub", 1.0, m("erf", x)), m("where", m("ne", x, x), x, beyond))


_ERFC = (
    -1.0190442585028551e-08,
    -1.1935057886622725e-08,
    1.0491326021388408e-07,
    6.623194365305261e-08,
    -8.21691353014782e-07,
    3.0047971741695846e-07,
    5.708102767452187e-06,
    -1.1225324333280949e-05,
    -2.4398782846468327e-05,
    0.00015062272429446397,
    -0.00019925675907315162,
    -0.000757773503399632,
    0.005031969981776659,
    -0.016197734030340097,
    0.037167515537730636,
    -0.06633036581426367,
    0.09373283499830311,
    -0.10103906603622627,
    0.06809705425469467,
    0.015379652102618583,
    -0.13962111684056253,
    1.2329951186255526,
)
"""erfc(x) · exp(x²) · (1 + 2x) in (x - 4) / (x + 4), for 0.48 ≤ x ≤ 30: a Chebyshev fit, relative error 6e-18."""


def _atan(m: Maths, x: Node) -> Node:
    """After S. Moshier's Cephes library (netlib.org/cephes): the argument is brought below 0.66, where a quotient of
    polynomials is exact to double precision."""
    size = m("abs", x)
    large, middle = m("gt", size, 2.414213562373095), m("gt", size, 0.66)
    turned = m("div", m("sub", size, 1.0), m("add", size, 1.0))
    small = m("where", large, m("neg", m("reciprocal", size)), m("where", middle, turned, size))
    start = m("where", large, math.pi / 2, m("where", middle, math.pi / 4, 0.0))
    z = m("mul", small, small)
    top = polynomial(m, z, _ATAN_TOP)
    bottom = polynomial(m, z, _ATAN_BOTTOM)
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


def polynomial(m: Maths, z: Node, coefficients: Sequence[float]) -> Node:
    """Horner's scheme, the highest power first."""
    value: Node | float = coefficients[0]
    for coefficient in coefficients[1:]:
        value = m("add", z if value == 1.0 else m("mul", z, value), coefficient)
    assert isinstance(value, Node)
    return value


def _sinc(m: Maths, x: Node) -> Node:
    turned = m("mul", x, math.pi)
    return m("where", m("eq", x, 0.0), 1.0, m("div", m("sin", turned), turned))


def _logit(m: Maths, x: Node) -> Node:
    return m("log", m("div", x, m("sub", 1.0, x)))


def _floor_divide(m: Maths, a: Node, b: Node) -> Node:
    """From the remainder: the quotient as rounded may already be the next whole number (1 / 0.1 is 10, and 1 // 0.1 is
    9). Dividing by zero gives what dividing gives."""
    quotient, left = m("div", a, b), m("fmod", a, b)
    whole = m("div", m("sub", a, left), b)
    number = b["value"] if b.op == "const" else None
    if number == 0:
        return quotient
    apart = m("lt", m("mul", left, m("sign", b) if number is None else math.copysign(1.0, number)), 0.0)
    whole = m("where", apart, m("sub", whole, 1.0), whole)
    below = m("floor", whole)
    nearest = m("where", m("gt", m("sub", whole, below), 0.5), m("add", below, 1.0), below)
    signed = m("where", m("eq", whole, 0.0), m("mul", quotient, 0.0), nearest)
    return signed if number is not None else m("where", m("eq", b, 0.0), quotient, signed)


SPECIAL: dict[str, Callable[..., Node]] = {
    "atan": _atan,
    "cosh": _cosh,
    "erfc": _erfc,
    "exp2": _exp2,
    "floor_divide": _floor_divide,
    "log2": _log(2.0),
    "log10": _log(10.0),
    "logit": _logit,
    "sinc": _sinc,
    "sinh": _sinh,
}
"""Operation → its value, from the node's inputs."""
