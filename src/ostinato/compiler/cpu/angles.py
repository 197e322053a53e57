"""sin and cos on vectors, right for every angle.

An angle is n quarter turns and a rest. Up to a million the rest is found by subtracting n times π/2 in three parts;
beyond, it is out of a product with as many binary digits of 2/π as it takes (Payne and Hanek), lane by lane.
"""

from __future__ import annotations

from ostinato.compiler.cpu.lanes import Lanes, slowly
from ostinato.compiler.cpu.text import Code, Vector

_MAGIC = 1.5 * 2.0**52
_LIMIT = 2.0**20
_PI_HALF = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)

# (sin(r) - r) / r³ and (cos(r) - 1 + r²/2) / r⁴ in r², for |r| ≤ π/4.
_SIN = {
    "float": (-0.166666646611, 0.00833274803752, -0.000195878405213),
    "double": (
        -0.16666666666666664621,
        0.0083333333333309461029,
        -0.00019841269836754970014,
        2.755731610068302914e-6,
        -2.5051131455427947391e-8,
        1.5918101230274120348e-10,
    ),
}
_COS = {
    "float": (0.0416666646583, -0.00138883028023, 2.45478916198e-5),
    "double": (
        0.041666666666666665387,
        -0.0013888888888887395746,
        0.000024801587298763433164,
        -2.7557317270560324065e-7,
        2.0876146024689746601e-9,
        -1.1382614868556324576e-11,
    ),
}


def sin(code: Code, v: Vector, x: str) -> str:
    """The sine of x radians."""
    m = Lanes(code, v)
    tiny = m.compare("olt", m.abs(x), 2.0**-14 if v.element == "float" else 2.0**-28)
    return m.select(tiny, x, _wave(m, x, 0))


def cos(code: Code, v: Vector, x: str) -> str:
    """The cosine of x radians."""
    return _wave(Lanes(code, v), x, 1)


def _wave(m: Lanes, x: str, quarter: int) -> str:
    """sin(x + quarter · π/2)."""
    element = m.vector.element
    r, n = _rest(m, x)
    n = m.whole("add", n, quarter)
    t = m.mul(r, r)
    sine = m.fma(m.mul(r, t), m.polynomial(t, _SIN[element]), r)
    cosine = m.sub(1.0, m.sub(m.mul(t, 0.5), m.mul(m.mul(t, t), m.polynomial(t, _COS[element]))))
    odd = m.whole("icmp ne", m.whole("and", n, 1), 0)
    sign = m.whole("shl", m.whole("and", n, 2), m.vector.bits - 2)
    return m.unbits(m.whole("xor", m.bits(m.select(odd, cosine, sine)), sign))


def _rest(m: Lanes, x: str) -> tuple[str, str]:
    """The rest within ±π/4, and n in the low two bits of an integer. Found in double, for floats too."""
    d = m.of("double")
    wide = m.widen(x) if d.vector != m.vector else x
    shifted = d.fma(wide, 0.6366197723675814, _MAGIC)
    n = d.sub(shifted, _MAGIC)
    r = wide
    for part in _PI_HALF:
        r = d.fma(n, -part, r)
    easy = d.compare("ult", d.abs(wide), _LIMIT)
    r, bits = slowly(d, easy, [r, d.bits(shifted)], _QUADRANT, [wide])
    if d.vector == m.vector:
        return r, bits
    return d.narrow(r), d.code.let(f"trunc {d.vector.integer} {bits} to {m.vector.integer}")


_WORDS = (
    "0000000000000000 a2f9836e4e441529 fc2757d1f534ddc0 db6295993c439041 fe5163abdebbc561 b7246e3a424dd2e0 "
    "06492eea09d1921c fe1deb1cb129a73e e88235f52ebb4484 e99c7026b45f7e41 3991d639835339f4 9c845f8bbdf9283b "
    "1ff897ffde05980f ef2f118b5a0a6d1f 6d367ecf27cb09b7 4f463f669e5fea2d 7527bac7ebe5f17b 3d0739f78a5292ea "
    "6bfb5fb11f8d5d08 56033046fc7b6bab f0cfbc209af4361d"
)
"""2/π in binary, after 64 zeros."""

_TABLE = ", ".join(f"i64 {int(word, 16)}" for word in _WORDS.split())

_QUADRANT = (
    "ostinato.quadrant",
    f"""
@ostinato.two_over_pi = private unnamed_addr constant [21 x i64] [{_TABLE}]
declare i64 @llvm.fshl.i64(i64, i64, i64)
declare i128 @llvm.ctlz.i128(i128, i1)
define internal {{double, i64}} @ostinato.quadrant(double %x) noinline cold nounwind {{
start:
  %bits = bitcast double %x to i64
  %exponent.0 = lshr i64 %bits, 52
  %exponent.1 = and i64 %exponent.0, 2047
  %finite = icmp ne i64 %exponent.1, 2047
  %low = icmp ult i64 %exponent.1, 1043
  %exponent = select i1 %low, i64 1043, i64 %exponent.1
  %fraction = and i64 %bits, 4503599627370495
  %whole = or i64 %fraction, 4503599627370496
  %place = sub i64 %exponent, 1013
  %word = lshr i64 %place, 6
  %shift = and i64 %place, 63
  %p0 = getelementptr i64, ptr @ostinato.two_over_pi, i64 %word
  %p1 = getelementptr i64, ptr %p0, i64 1
  %p2 = getelementptr i64, ptr %p0, i64 2
  %p3 = getelementptr i64, ptr %p0, i64 3
  %w0 = load i64, ptr %p0
  %w1 = load i64, ptr %p1
  %w2 = load i64, ptr %p2
  %w3 = load i64, ptr %p3
  %b0 = call i64 @llvm.fshl.i64(i64 %w0, i64 %w1, i64 %shift)
  %b1 = call i64 @llvm.fshl.i64(i64 %w1, i64 %w2, i64 %shift)
  %b2 = call i64 @llvm.fshl.i64(i64 %w2, i64 %w3, i64 %shift)
  %m = zext i64 %whole to i128
  %c1 = zext i64 %b1 to i128
  %c2 = zext i64 %b2 to i128
  %high.64 = mul i64 %whole, %b0
  %high.z = zext i64 %high.64 to i128
  %high = shl i128 %high.z, 64
  %middle = mul i128 %m, %c1
  %low.128 = mul i128 %m, %c2
  %carried = lshr i128 %low.128, 64
  %sum.0 = add i128 %high, %middle
  %turns = add i128 %sum.0, %carried
  %n.128 = lshr i128 %turns, 125
  %n.64 = trunc i128 %n.128 to i64
  %n.up = add i64 %n.64, 1
  %n = lshr i64 %n.up, 1
  %rest = shl i128 %turns, 2
  %below = icmp slt i128 %rest, 0
  %negated = sub i128 0, %rest
  %size = select i1 %below, i128 %negated, i128 %rest
  %zeros = call i128 @llvm.ctlz.i128(i128 %size, i1 false)
  %normal = shl i128 %size, %zeros
  %top.128 = lshr i128 %normal, 65
  %top = trunc i128 %top.128 to i64
  %number = sitofp i64 %top to double
  %zeros.64 = trunc i128 %zeros to i64
  %scale.e = sub i64 960, %zeros.64
  %scale.b = shl i64 %scale.e, 52
  %scale = bitcast i64 %scale.b to double
  %quarters = fmul double %number, %scale
  %size.r = fmul double %quarters, 0x3FF921FB54442D18
  %minus = fneg double %size.r
  %r.plus = select i1 %below, double %minus, double %size.r
  %n.minus = sub i64 0, %n
  %backwards = icmp slt i64 %bits, 0
  %r.flipped = fneg double %r.plus
  %r.sign = select i1 %backwards, double %r.flipped, double %r.plus
  %n.sign = select i1 %backwards, i64 %n.minus, i64 %n
  %r = select i1 %finite, double %r.sign, double 0x7FF8000000000000
  %one = insertvalue {{double, i64}} undef, double %r, 0
  %two = insertvalue {{double, i64}} %one, i64 %n.sign, 1
  ret {{double, i64}} %two
}}
""",
)
"""The rest and n of one angle of 2²⁰ or more."""
