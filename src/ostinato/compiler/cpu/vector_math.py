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
    root: int  # the bits of √½
    magic_bits: int  # the bits of magic
    magic: float  # adding it rounds to a whole number, left in the low bits
    ln2: tuple[float, float]  # the first so short that its product with an exponent is exact
    exp_low: float  # exp is 0 from here down
    exp_high: float  # and infinite from here up
    exp: tuple[float, ...]  # (exp(r) - 1 - r) / r² for |r| ≤ ln(2) / 2
    atanh: tuple[float, ...]  # (log((1 + s) / (1 - s)) - 2s) / s³ in s², for |s| ≤ 0.1716


_FLOAT = _Format(
    fraction=23,
    bias=127,
    root=0x3F3504F3,
    magic_bits=0x4B400000,
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
    root=0x3FE6A09E667F3BCD,
    magic_bits=0x4338000000000000,
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


def _reduce(m: Lanes, x: str) -> tuple[str, str, str]:
    """x = n·ln(2) + r: r, and n, as a number and in the low bits of an integer.

    Above those are bits that a shift by ``fraction`` drops.
    """
    f = _format(m.vector)
    shifted = m.fma(x, 1.4426950408889634, f.magic)
    n = m.sub(shifted, f.magic)
    r = m.fma(n, -f.ln2[0], x)
    return m.fma(n, -f.ln2[1], r), n, m.bits(shifted)


def _expm1_near(m: Lanes, r: str) -> str:
    """exp(r) - 1 for |r| ≤ ln(2) / 2."""
    return m.fma(m.mul(r, r), m.polynomial(r, _format(m.vector).exp), r)


def exp(code: Code, v: Vector, x: str, more: str | None = None, high: float | None = None) -> str:
    """exp(x), or exp(x + more) for a small ``more``; from ``high`` on the same. A denormal result is rounded once."""
    m, f = Lanes(code, v), _format(v)
    r, whole, n = _reduce(m, m.higher(m.lower(x, f.exp_high if high is None else high), f.exp_low))
    if more is not None:
        r = m.add(r, more)
    p = m.add(_expm1_near(m, r), 1.0)
    scaled = m.scale(p, whole)
    if scaled is not None:
        return scaled
    # In two steps: 2ⁿ alone may be no number of the format, or a denormal one.
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
    r, _, n = _reduce(m, m.higher(m.lower(x, f.exp_high), -40.0))
    half = m.unbits(_power(m, n, 1))
    result = m.mul(m.fma(half, _expm1_near(m, r), m.sub(half, 0.5)), 2.0)
    tiny = m.compare("olt", m.abs(x), 2.0 ** -(f.fraction + 2))
    return m.select(tiny, x, result)


def sigmoid(code: Code, v: Vector, x: str) -> str:
    """1 / (1 + exp(-x)), written so that it does not lose the small results of a large negative x."""
    m = Lanes(code, v)
    e = exp(code, v, x, high=40.0)
    return m.div(e, m.add(e, 1.0))


def tanh(code: Code, v: Vector, x: str) -> str:
    """tanh(x), by expm1: a cheaper rational function is 5 ulp off, which 1 - tanh² multiplies near saturation."""
    m = Lanes(code, v)
    r, _, n = _reduce(m, m.higher(m.mul(m.abs(x), -2.0), -44.0))
    power = m.unbits(_power(m, n))
    e = m.fma(power, _expm1_near(m, r), m.sub(power, 1.0))
    return m.copysign(m.div(e, m.add(e, 2.0)), x)


def split(m: Lanes, x: str) -> tuple[str, str]:
    """x = 2ᵏ·g with g from √½ to √2: k as a number, and g. For x > 0 that is no denormal."""
    f = _format(m.vector)
    bits = m.bits(x)
    # As an integer: √½ becomes the lower end of the binade whose exponent is 0.
    over = m.whole("add", bits, (f.bias << f.fraction) - f.root)
    k = m.whole("sub", m.whole("lshr", over, f.fraction), f.bias)
    g = m.unbits(m.whole("sub", bits, m.whole("shl", k, f.fraction)))
    return m.sub(m.unbits(m.whole("add", k, f.magic_bits)), f.magic), g


def normal(m: Lanes, x: str) -> tuple[str, str]:
    """x without denormals: those times a power of two, and the exponent to take off again."""
    f = _format(m.vector)
    small = m.compare("olt", x, 2.0 ** (1 - f.bias))
    return m.select(small, m.mul(x, 2.0 ** (f.fraction + 2)), x), m.select(small, float(f.fraction + 2), 0.0)


def log(code: Code, v: Vector, x: str) -> str:
    """The natural logarithm; -inf at zero, NaN below."""
    m = Lanes(code, v)
    scaled, taken = normal(m, x)
    k, g = split(m, scaled)
    return _log_edges(m, x, _log(m, m.sub(k, taken), m.sub(g, 1.0), None))


def _log(m: Lanes, k: str, f: str, more: str | None) -> str:
    """k·ln(2) + log(1 + f) + more, for 1 + f from √½ to √2."""
    ln2 = _format(m.vector).ln2
    s = m.div(f, m.add(f, 2.0))
    z = m.mul(s, s)
    series = m.mul(z, m.polynomial(z, _format(m.vector).atanh))
    half = m.mul(m.mul(f, f), 0.5)
    small = m.mul(k, ln2[1]) if more is None else m.fma(k, ln2[1], more)
    inner = m.fma(s, m.add(half, series), small)
    return m.fma(k, ln2[0], m.sub(f, m.sub(half, inner)))


def _log_edges(m: Lanes, x: str, result: str) -> str:
    infinite = float("inf")
    result = m.select(m.compare("oeq", x, infinite), infinite, result)
    result = m.select(m.compare("oeq", x, 0.0), -infinite, result)
    return m.select(m.compare("ult", x, 0.0), float("nan"), result)


def log1p(code: Code, v: Vector, x: str) -> str:
    """log(1 + x), exact to the last places near zero too: what 1 + x lost is put back."""
    m, f = Lanes(code, v), _format(v)
    u = m.add(x, 1.0)
    k, g = split(m, u)
    near = m.compare("oeq", k, 0.0)
    lost = m.select(m.compare("oge", k, 2.0), m.sub(1.0, m.sub(u, x)), m.sub(x, m.sub(u, 1.0)))
    lost = m.select(near, 0.0, m.div(lost, u))
    result = _log(m, k, m.select(near, x, m.sub(g, 1.0)), lost)
    tiny = m.compare("olt", m.abs(x), 2.0 ** -(f.fraction + 2))
    return m.select(tiny, x, _log_edges(m, u, result))


def erf(code: Code, v: Vector, x: str) -> str:
    """The error function: an odd polynomial near zero, 1 - exp(…) beyond."""
    m = Lanes(code, v)
    wide = v.element == "double"
    a = m.lower(m.abs(x), 6.0 if wide else 4.1)
    t = m.mul(a, a)
    near = m.fma(x, m.polynomial(t, _ERF[v.element]), x)
    if wide:
        u = m.div(m.sub(a, 2.0), m.add(a, 2.0))
        rest = m.mul(exp(code, v, m.neg(t)), m.polynomial(u, _ERFCX))
    else:
        rest = exp(code, v, m.fma(a, m.polynomial(a, _LOG_ERFC), m.neg(a)))
    far = m.copysign(m.sub(1.0, rest), x)
    return m.select(m.compare("olt", a, 1.0 if wide else 0.927734375), near, far)


_ERF = {
    "float": (0.128379166, -0.376125336, 0.112819925, -2.67681349e-2, 4.99119423e-3, -5.96761703e-4),
    "double": (
        0.12837916709551257377,
        -0.37612638903183748056,
        0.11283791670954878666,
        -0.026866170645076793248,
        0.0052239776248180144673,
        -0.00085483269808337899052,
        0.00012055331111642710923,
        -0.000014925595266831181565,
        1.6461000484121368033e-6,
        -1.6350312701054695011e-7,
        1.4659775274047435814e-8,
        -1.137284885679167367e-9,
        5.9571761477489114044e-11,
    ),
}
"""erf(x) / x - 1 in x², up to 0.93 and 1."""

_LOG_ERFC = (-0.128717512, -0.634846687, -0.106777877, 2.42546219e-2, -3.88396438e-3, 3.83197126e-4, -1.72853470e-5)
"""log(1 - erf(a)) / a + 1, from 0.93 to 4."""

_ERFCX = (
    0.25539567631050574375,
    -0.42718584741395839652,
    0.24165819424246646392,
    -0.078978581015732125421,
    0.0037328924043277639248,
    0.0069974617392004437674,
    -0.00084714325092038440093,
    -0.00098197702656788892271,
    0.000043555602195154722071,
    0.00017436116545392263717,
    0.000027525480361206066702,
    -0.000027579864674305785853,
    -0.000013968072301771460687,
    1.3926211836188029282e-6,
    3.789215643758463968e-6,
    1.1780775215625582789e-6,
    -5.3226968556557864552e-7,
    -4.2153010542383210218e-7,
)
"""exp(a²)·(1 - erf(a)) in (a - 2) / (a + 2), from 1 to 6."""
