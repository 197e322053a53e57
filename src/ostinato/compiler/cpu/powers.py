"""x to the power y: exp(y · log(x)), with the logarithm as precise as the largest power needs."""

from __future__ import annotations

from ostinato.compiler.cpu import rounding, vector_math
from ostinato.compiler.cpu.lanes import Lanes
from ostinato.compiler.cpu.text import Code, Vector

_INFINITE = float("inf")
_LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)
_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
"""2/3 in two parts."""


def pow(code: Code, v: Vector, x: str, y: str) -> str:
    """x to the power y, with every edge as the C standard has it: a negative x takes whole powers only."""
    m = Lanes(code, v)
    d = m.of("double")
    size = m.abs(x)
    if v.element == "float":
        wide = vector_math.log(code, d.vector, m.widen(size))
        power = d.narrow(vector_math.exp(code, d.vector, d.mul(m.widen(y), wide)))
    else:
        power = _power(m, size, y)
    one = m.either(m.compare("oeq", size, 1.0), m.compare("oeq", y, 0.0))
    power = m.select(one, 1.0, power)
    whole = m.compare("oeq", rounding.trunc(code, v, y), y)
    half = m.mul(y, 0.5)
    odd = m.both(whole, m.compare("une", rounding.trunc(code, v, half), half))
    power = m.select(odd, m.copysign(power, x), power)
    below = m.both(m.compare("olt", x, 0.0), m.compare("ogt", x, -_INFINITE))
    broken = m.both(below, m.compare("une", rounding.trunc(code, v, y), y))
    return m.select(broken, float("nan"), power)


def _power(m: Lanes, x: str, y: str) -> str:
    """The same for x ≥ 0, in double."""
    high, low = _log(m, x)
    high = m.select(m.compare("oeq", x, 0.0), -_INFINITE, high)
    high = m.select(m.compare("oeq", x, _INFINITE), _INFINITE, high)
    high = m.select(m.compare("uno", x, x), x, high)
    product, rest = _product(m, y, high)
    rest = m.fma(y, low, rest)
    rest = m.select(m.compare("olt", m.abs(product), 1000.0), rest, 0.0)
    return vector_math.exp(m.code, m.vector, product, rest)


def _log(m: Lanes, x: str) -> tuple[str, str]:
    """log(x) as a sum of two numbers, right to some 64 bits: 2s + ⅔s³ + ⅖s⁵ + …, s = (g - 1) / (g + 1)."""
    scaled, taken = vector_math.normal(m, x)
    k, g = vector_math.split(m, scaled)
    k = m.sub(k, taken)
    above = m.sub(g, 1.0)
    below, below_rest = _sum(m, g, "1")
    s = m.div(above, below)
    back, back_rest = _product(m, s, below)
    left = m.sub(m.sub(above, back), back_rest)
    s_rest = m.div(m.sub(left, m.mul(s, below_rest)), below)
    square, square_rest = _product(m, s, s)
    square_rest = m.fma(m.mul(s, 2.0), s_rest, square_rest)
    cube, cube_rest = _product(m, square, s)
    cube_rest = m.fma(square, s_rest, m.fma(square_rest, s, cube_rest))
    third, third_rest = _product(m, cube, _THIRDS[0])
    third_rest = m.fma(cube_rest, _THIRDS[0], m.fma(cube, _THIRDS[1], third_rest))
    others = m.mul(m.mul(cube, square), m.polynomial(square, [2 / n for n in range(5, 27, 2)]))
    total, rest = _sum(m, m.mul(k, _LN2[0]), m.mul(s, 2.0))
    total, more = _sum(m, total, third)
    small = m.add(m.fma(k, _LN2[1], others), m.fma(s_rest, 2.0, third_rest))
    small = m.add(small, m.add(rest, more))
    high = m.add(total, small)
    return high, m.sub(small, m.sub(high, total))


def _sum(m: Lanes, a: str, b: str) -> tuple[str, str]:
    """a + b, and what its rounding lost."""
    b = m.value(1.0) if b == "1" else b
    total = m.add(a, b)
    part = m.sub(total, a)
    return total, m.add(m.sub(a, m.sub(total, part)), m.sub(b, part))


def _product(m: Lanes, a: str, b: str | float) -> tuple[str, str]:
    """a · b, and what its rounding lost."""
    product = m.mul(a, b)
    if m.vector.fused:
        return product, m.fma(a, b, m.neg(product))
    a1, a2 = _halves(m, a)
    b1, b2 = _halves(m, m.value(b))
    rest = m.add(m.sub(m.mul(a1, b1), product), m.mul(a1, b2))
    return product, m.add(m.add(rest, m.mul(a2, b1)), m.mul(a2, b2))


def _halves(m: Lanes, a: str) -> tuple[str, str]:
    """a as a sum of two numbers of half its digits."""
    long = m.mul(a, 134217729.0)
    high = m.sub(long, m.sub(long, a))
    return high, m.sub(a, high)
