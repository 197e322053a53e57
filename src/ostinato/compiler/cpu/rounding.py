"""Rounding to whole numbers, and what division leaves: exact on every processor.

Where an instruction rounds, it does; elsewhere adding and subtracting a large power of two drops what is after the
point.
"""

from __future__ import annotations

from collections.abc import Callable

from ostinato.compiler.cpu.lanes import Lanes, slowly
from ostinato.compiler.cpu.text import Code, Vector


def round(code: Code, v: Vector, x: str) -> str:
    """To the nearest whole number; halves to the even one, as torch does."""
    m = Lanes(code, v)
    if v.rounding:
        return m.call("roundeven", x)
    limit = 2.0 ** (23 if v.element == "float" else 52)
    size = m.abs(x)
    whole = m.copysign(m.sub(m.add(size, limit), limit), x)
    return m.select(m.compare("olt", size, limit), whole, x)


def _corrected(name: str, wrong: str, step: float) -> Callable[[Code, Vector, str], str]:
    """Round to nearest, and go one back where that went too far."""

    def write(code: Code, v: Vector, x: str) -> str:
        m = Lanes(code, v)
        if v.rounding:
            return m.call(name, x)
        near = round(code, v, x)
        return m.copysign(m.select(m.compare(wrong, near, x), m.add(near, step), near), x)

    return write


floor = _corrected("floor", "ogt", -1.0)
ceil = _corrected("ceil", "olt", 1.0)


def trunc(code: Code, v: Vector, x: str) -> str:
    """Towards zero."""
    m = Lanes(code, v)
    return m.call("trunc", x) if v.rounding else m.copysign(floor(code, v, m.abs(x)), x)


def fmod(code: Code, v: Vector, x: str, y: str) -> str:
    """What is left of x after whole multiples of y, with x's sign: exact, however large the quotient."""
    m = Lanes(code, v)
    a, b = m.abs(x), m.abs(y)
    if not v.fused and v.element == "float":
        d = m.of("double")
        a, b = m.widen(a), m.widen(b)
    else:
        d = m
    infinite = float("inf")
    ratio = d.div(a, b)
    # Below this a multiply-add, or a product in double, has no rounding.
    limit = 2.0**22 if v.element == "float" else 2.0**51
    if not v.fused and v.element == "double":
        limit = 1.0
    easy = d.either(d.compare("olt", ratio, limit), d.compare("oeq", b, infinite))
    quotient = trunc(code, d.vector, ratio)
    rest = d.fma(d.neg(quotient), b, a)
    rest = d.select(d.compare("olt", rest, 0.0), d.add(rest, b), rest)
    rest = d.select(d.compare("olt", a, b), a, rest)
    (rest,) = slowly(d, easy, [rest], _FMOD, [a, b])
    return m.copysign(rest if d is m else d.narrow(rest), x)


def remainder(code: Code, v: Vector, x: str, y: str) -> str:
    """What is left of x after whole multiples of y, with y's sign, as torch and Python have it."""
    m = Lanes(code, v)
    rest = fmod(code, v, x, y)
    other = m.differ(m.compare("olt", rest, 0.0), m.compare("olt", y, 0.0))
    return m.select(m.both(other, m.compare("one", rest, 0.0)), m.add(rest, y), rest)


_FMOD = (
    "ostinato.fmod",
    """
define internal {double} @ostinato.fmod(double %x, double %y) noinline cold nounwind {
start:
  %xb = bitcast double %x to i64
  %yb = bitcast double %y to i64
  %x.inf = icmp uge i64 %xb, 9218868437227405312
  %y.nan = icmp ugt i64 %yb, 9218868437227405312
  %y.0 = icmp eq i64 %yb, 0
  %bad.1 = or i1 %x.inf, %y.nan
  %bad = or i1 %bad.1, %y.0
  br i1 %bad, label %none, label %sound
none:
  ret {double} { double 0x7FF8000000000000 }
sound:
  %less = icmp ult i64 %xb, %yb
  br i1 %less, label %small, label %divide
small:
  %same = insertvalue {double} undef, double %x, 0
  ret {double} %same
divide:
  %xe.0 = lshr i64 %xb, 52
  %ye.0 = lshr i64 %yb, 52
  %xf = and i64 %xb, 4503599627370495
  %yf = and i64 %yb, 4503599627370495
  %xn = icmp eq i64 %xe.0, 0
  %yn = icmp eq i64 %ye.0, 0
  %x1 = or i64 %xf, 4503599627370496
  %y1 = or i64 %yf, 4503599627370496
  %xm = select i1 %xn, i64 %xf, i64 %x1
  %ym = select i1 %yn, i64 %yf, i64 %y1
  %xe = select i1 %xn, i64 1, i64 %xe.0
  %ye = select i1 %yn, i64 1, i64 %ye.0
  %first = urem i64 %xm, %ym
  %places = sub i64 %xe, %ye
  br label %head
head:
  %rest = phi i64 [ %first, %divide ], [ %next, %body ]
  %left = phi i64 [ %places, %divide ], [ %fewer, %body ]
  %more = icmp sgt i64 %left, 0
  br i1 %more, label %body, label %done
body:
  %few = icmp slt i64 %left, 11
  %step = select i1 %few, i64 %left, i64 11
  %wide = shl i64 %rest, %step
  %next = urem i64 %wide, %ym
  %fewer = sub i64 %left, %step
  br label %head
done:
  %number = sitofp i64 %rest to double
  %power = sub i64 %ye, 1075
  %half = ashr i64 %power, 1
  %other = sub i64 %power, %half
  %half.e = add i64 %half, 1023
  %other.e = add i64 %other, 1023
  %half.b = shl i64 %half.e, 52
  %other.b = shl i64 %other.e, 52
  %half.d = bitcast i64 %half.b to double
  %other.d = bitcast i64 %other.b to double
  %scaled = fmul double %number, %half.d
  %result = fmul double %scaled, %other.d
  %pair = insertvalue {double} undef, double %result, 0
  ret {double} %pair
}
""",
)
"""Long division of the significands, eleven bits at a time."""
