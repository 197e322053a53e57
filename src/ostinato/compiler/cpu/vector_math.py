"""exp, log and their kin on vectors, as instructions: no call, no table, no branch, every lane right.

All are within 3 units in the last place of float and of double, over their whole range, and treat infinities, NaN,
signed zeros and denormal numbers as torch does. Polynomials were fitted to the functions, at equal ripple.
"""

from __future__ import annotations

from dataclasses import dataclass

from ostinato.compiler.cpu.lanes import Lanes
from ostinato.compiler.cpu.text import Code, Vector


@dataclass(frozen=True)
class _Format:
    """What the functions need to know of a floating-point format."""

    fraction: int  # bits after the point
    bias: int
    magic: float  # adding it rounds to a whole number, left in the low bits
    ln2: tuple[float, float]  # the first so short that its product with an exponent is exact
    exp_low: float  # exp is 0 from here down
    exp_high: float  # and infinite from here up
    exp: tuple[float, ...]  # (exp(r) - 1 - r) / r² for |r| ≤ ln(2) / 2
    atanh: tuple[float, ...]  # (log((1 + s) / (1 - s)) - 2s) / s³ in s², for |s| ≤ 0.1716


_FLOAT = _Format(
    fraction=23,
    bias=127,
    magic=1.5 * 2.0**23,
    ln2=(0.693359375, -2.12194440e-4),
    exp_low=-104.0,
    exp_high=88.8,
    exp=(0.5, 0.16666576846, 0.0416665544377, 0.00836320297158, 0.00139262134663),
    atanh=(0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841),
)
_DOUBLE = _Format(
    fraction=52,
    bias=1023,
    magic=1.5 * 2.0**52,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
    exp_low=-746.0,
    exp_high=710.0,
    exp=(
        0.5,
        0.16666666666666671008,
        0.041666666666666669767,
        0.0083333333333261120526,
        0.0013888888888883731828,
        0.00019841269874901259234,
        0.000024801587325605322782,
        2.7557255297969644392e-6,
        2.7557273570102139673e-7,
        2.5105259538448493419e-8,
        2.0914717341716375952e-9,
    ),
    atanh=(
        6.666666666666735130e-01,
        3.999999999940941908e-01,
        2.857142874366239149e-01,
        2.222219843214978396e-01,
        1.818357216161805012e-01,
        1.531383769920937332e-01,
        1.479819860511658591e-01,
    ),
)


def _format(vector: Vector) -> _Format:
    return _FLOAT if vector.element == "float" else _DOUBLE


def _reduce(m: Lanes, x: str) -> tuple[str, str]:
    """x = n·ln(2) + r: r, and n in the low bits of an integer (above them, bits a shift by ``fraction`` drops)."""
    f = _format(m.vector)
    shifted = m.fma(x, 1.4426950408889634, f.magic)
    n = m.sub(shifted, f.magic)
    r = m.fma(n, -f.ln2[0], x)
    return m.fma(n, -f.ln2[1], r), m.bits(shifted)


def _expm1_near(m: Lanes, r: str) -> str:
    """exp(r) - 1 for |r| ≤ ln(2) / 2."""
    return m.fma(m.mul(r, r), m.polynomial(r, _format(m.vector).exp), r)


def exp(code: Code, v: Vector, x: str) -> str:
    """exp(x). Scaled in two steps, so that a denormal result is rounded once."""
    m, f = Lanes(code, v), _format(v)
    r, n = _reduce(m, m.higher(m.lower(x, f.exp_high), f.exp_low))
    p = m.add(_expm1_near(m, r), 1.0)
    half = m.whole("lshr", n, 1)
    rest = m.whole("sub", n, half)
    return m.mul(m.mul(p, m.unbits(_power(m, half))), m.unbits(_power(m, rest)))


def _power(m: Lanes, n: str, less: int = 0) -> str:
    """The bits of 2ⁿ⁻ˡᵉˢˢ."""
    f = _format(m.vector)
    return m.whole("add", m.whole("shl", n, f.fraction), (f.bias - less) << f.fraction)


def expm1(code: Code, v: Vector, x: str) -> str:
    """exp(x) - 1, exact to the last places near zero too."""
    m, f = Lanes(code, v), _format(v)
    r, n = _reduce(m, m.higher(m.lower(x, f.exp_high), -40.0))
    half = m.unbits(_power(m, n, 1))
    result = m.mul(m.fma(half, _expm1_near(m, r), m.sub(half, 0.5)), 2.0)
    tiny = m.compare("olt", m.abs(x), 2.0 ** -(f.fraction + 2))
    return m.select(tiny, x, result)


def sigmoid(code: Code, v: Vector, x: str) -> str:
    """1 / (1 + exp(-x)), written so that it does not lose the small results of a large negative x."""
    m = Lanes(code, v)
    e = exp(code, v, m.lower(x, 40.0))
    return m.div(e, m.add(e, 1.0))


def tanh(code: Code, v: Vector, x: str) -> str:
    """tanh(x): a rational function in float, by expm1 in double. Never beyond ±1."""
    m = Lanes(code, v)
    if v.element == "float":
        near = m.higher(m.lower(x, 9.02), -9.02)
        t = m.mul(near, near)
        ratio = m.div(m.polynomial(t, _TANH[0]), m.polynomial(t, _TANH[1]))
        return m.higher(m.lower(m.mul(near, ratio), 1.0), -1.0)
    r, n = _reduce(m, m.higher(m.mul(m.abs(x), -2.0), -44.0))
    power = m.unbits(_power(m, n))
    e = m.fma(power, _expm1_near(m, r), m.sub(power, 1.0))
    return m.copysign(m.div(e, m.add(e, 2.0)), x)


_TANH = (
    (1.0, 0.133810255721, 0.00349558742369, 2.06090467501e-5, 1.33545685002e-8),
    (1.0, 0.467143411706, 0.025876981135, 0.000328563261839, 7.77652944361e-7),
)
"""tanh(x) / x for |x| ≤ 9 in x²: above and below the line."""
