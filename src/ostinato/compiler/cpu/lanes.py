"""Arithmetic on vectors, one method an instruction: the words the mathematical functions are written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ostinato.compiler.cpu.text import Code, Vector

Value = str | float
"""A value's name in the text, or a number for every lane."""


def fma(code: Code, vector: Vector, a: str, b: str, c: str) -> str:
    """``a · b + c``: one instruction where the target has it, else a product and a sum."""
    if vector.fused:
        t = vector.type
        return code.intrinsic(f"llvm.fma.{vector.suffix}", t, (t, a), (t, b), (t, c))
    product = code.let(f"fmul {vector.type} {a}, {b}")
    return code.let(f"fadd {vector.type} {product}, {c}")


class Lanes:
    """Instructions on vectors of one type. Numbers are constants of the type; masks come from comparisons."""

    def __init__(self, code: Code, vector: Vector) -> None:
        self.code = code
        self.vector = vector

    def of(self, element: str) -> Lanes:
        """The same number of lanes of another element."""
        return Lanes(self.code, replace(self.vector, element=element))

    def value(self, value: Value) -> str:
        return value if isinstance(value, str) else self.vector.number(value)

    def _two(self, instruction: str, a: Value, b: Value) -> str:
        return self.code.let(f"{instruction} {self.vector.type} {self.value(a)}, {self.value(b)}")

    def add(self, a: Value, b: Value) -> str:
        return self._two("fadd", a, b)

    def sub(self, a: Value, b: Value) -> str:
        return self._two("fsub", a, b)

    def mul(self, a: Value, b: Value) -> str:
        return self._two("fmul", a, b)

    def div(self, a: Value, b: Value) -> str:
        return self._two("fdiv", a, b)

    def neg(self, a: str) -> str:
        return self.code.let(f"fneg {self.vector.type} {a}")

    def fma(self, a: Value, b: Value, c: Value) -> str:
        return fma(self.code, self.vector, self.value(a), self.value(b), self.value(c))

    def call(self, name: str, *values: Value) -> str:
        """An intrinsic whose arguments and result are all of this type."""
        t = self.vector.type
        return self.code.intrinsic(f"llvm.{name}.{self.vector.suffix}", t, *((t, self.value(v)) for v in values))

    def abs(self, a: str) -> str:
        return self.call("fabs", a)

    def copysign(self, a: Value, sign: str) -> str:
        return self.call("copysign", a, sign)

    def scale(self, a: str, n: str) -> str | None:
        """``a·2ⁿ`` for whole numbers n, rounded once; None if there is no instruction for it."""
        v = self.vector
        if not v.scaling or v.lanes * v.bytes % v.scaling:
            return None
        own = replace(v, lanes=v.scaling // v.bytes)
        name = f"llvm.x86.avx512.mask.scalef.p{'s' if v.element == 'float' else 'd'}.{8 * v.scaling}"
        given = (own.type, "zeroinitializer"), (f"i{own.lanes}", "-1"), ("i32", "4")  # no lane masked; rounded as usual
        parts = [
            self.code.intrinsic(name, own.type, (own.type, x), (own.type, y), *given)
            for x, y in zip(self._parts(a, own), self._parts(n, own), strict=True)
        ]
        while len(parts) > 1:
            parts = [self._joined(parts[k], parts[k + 1], v.lanes // len(parts)) for k in range(0, len(parts), 2)]
        return parts[0]

    def _parts(self, a: str, own: Vector) -> list[str]:
        """A vector's registers."""
        v = self.vector
        if v.lanes == own.lanes:
            return [a]
        starts = range(0, v.lanes, own.lanes)
        return [
            self.code.let(f"shufflevector {v.type} {a}, {v.type} poison, {consecutive(start, start + own.lanes)}")
            for start in starts
        ]

    def _joined(self, a: str, b: str, lanes: int) -> str:
        half = replace(self.vector, lanes=lanes).type
        return self.code.let(f"shufflevector {half} {a}, {half} {b}, {consecutive(0, 2 * lanes)}")

    # Comparisons are ordered: with a NaN they are false; "une" and "uno" are true.
    def compare(self, how: str, a: Value, b: Value) -> str:
        return self._two(f"fcmp {how}", a, b)

    def select(self, mask: str, a: Value, b: Value) -> str:
        v = self.vector
        return self.code.let(f"select {v.mask} {mask}, {v.type} {self.value(a)}, {v.type} {self.value(b)}")

    def lower(self, a: str, limit: Value) -> str:
        """The smaller of the two; NaN stays."""
        return self.select(self.compare("ogt", a, limit), limit, a)

    def higher(self, a: str, limit: Value) -> str:
        """The larger of the two; NaN stays."""
        return self.select(self.compare("olt", a, limit), limit, a)

    def both(self, a: str, b: str) -> str:
        return self.code.let(f"and {self.vector.mask} {a}, {b}")

    def either(self, a: str, b: str) -> str:
        return self.code.let(f"or {self.vector.mask} {a}, {b}")

    def differ(self, a: str, b: str) -> str:
        return self.code.let(f"xor {self.vector.mask} {a}, {b}")

    def any(self, mask: str) -> str:
        """One bit: whether any lane's is set."""
        n = self.vector.lanes
        if n == 1:
            return mask
        bits = self.code.let(f"bitcast {self.vector.mask} {mask} to i{n}")
        return self.code.let(f"icmp ne i{n} {bits}, 0")

    # The bits of numbers, as whole numbers.
    def bits(self, a: str) -> str:
        return self.code.let(f"bitcast {self.vector.type} {a} to {self.vector.integer}")

    def unbits(self, a: str) -> str:
        return self.code.let(f"bitcast {self.vector.integer} {a} to {self.vector.type}")

    def whole(self, instruction: str, a: str, b: str | int) -> str:
        """An instruction on integers of the same width: ``add``, ``shl``, ``icmp eq``, …"""
        right = self.vector.whole(b) if isinstance(b, int) else b
        return self.code.let(f"{instruction} {self.vector.integer} {a}, {right}")

    def widen(self, a: str) -> str:
        """float to double."""
        return self.code.let(f"fpext {self.vector.type} {a} to {self.of('double').vector.type}")

    def narrow(self, a: str) -> str:
        """double to float, rounded."""
        return self.code.let(f"fptrunc {self.vector.type} {a} to {self.of('float').vector.type}")

    def polynomial(self, x: str, coefficients: Sequence[float]) -> str:
        """``c[0] + c[1]·x + …``, by Estrin's scheme: few instructions wait for one another."""
        terms: list[Value] = list(coefficients)
        power = x
        while len(terms) > 1:
            pairs: list[Value] = [
                self.fma(terms[i + 1], power, terms[i]) if i + 1 < len(terms) else terms[i]
                for i in range(0, len(terms), 2)
            ]
            terms = pairs
            if len(terms) > 1:
                power = self.mul(power, power)
        return self.value(terms[0])


def consecutive(start: int, stop: int) -> str:
    """Which lanes a shuffle takes, one after the other."""
    return f"<{stop - start} x i32> <" + ", ".join(f"i32 {n}" for n in range(start, stop)) + ">"


def slowly(m: Lanes, easy: str, fast: Sequence[str], function: tuple[str, str], inputs: Sequence[str]) -> list[str]:
    """Values that instructions got right where the mask ``easy`` is set; one call a lane for the others.

    ``function`` is a name and the text of a function on doubles that returns a structure, as many values as ``fast``:
    doubles, or i64 for values that are integers. The calls are jumped over when every lane is easy.
    """
    code, v = m.code, m.vector
    name, text = function
    code.declarations[name] = text
    start, call, done = (code.name(stem) for stem in ("easy", "hard", "both"))
    ones = "true" if v.lanes == 1 else "<" + ", ".join(["i1 true"] * v.lanes) + ">"
    hard = m.differ(easy, ones)
    any_hard = m.any(hard)
    code.do(f"br label %{start}")
    code.label(start)
    code.do(f"br i1 {any_hard}, label %{call}, label %{done}")
    code.label(call)
    types = _results(text)
    vectors = [v.integer if t == "i64" else v.type for t in types]
    slow = list(fast)
    for lane in range(v.lanes):
        parts = [_lane(m, value, lane) for value in inputs]
        found = code.let(f"call {{{', '.join(types)}}} @{name}({', '.join(f'double {p}' for p in parts)})")
        for n, t in enumerate(types):
            part = code.let(f"extractvalue {{{', '.join(types)}}} {found}, {n}")
            if t == "double" and v.element == "float":
                part = code.let(f"fptrunc double {part} to float")
                t = "float"
            slow[n] = (
                part if v.lanes == 1 else code.let(f"insertelement {vectors[n]} {slow[n]}, {t} {part}, i32 {lane}")
            )
    slow = [code.let(f"select {v.mask} {hard}, {t} {a}, {t} {b}") for t, a, b in zip(vectors, slow, fast, strict=True)]
    code.do(f"br label %{done}")
    code.label(done)
    return [
        code.let(f"phi {t} [ {a}, %{start} ], [ {b}, %{call} ]") for t, a, b in zip(vectors, fast, slow, strict=True)
    ]


def _results(text: str) -> list[str]:
    """The types of the structure a function returns."""
    return [part.strip() for part in text[text.index("{") + 1 : text.index("}")].split(",")]


def _lane(m: Lanes, value: str, lane: int) -> str:
    """One lane of a vector, as a double."""
    v = m.vector
    part = value if v.lanes == 1 else m.code.let(f"extractelement {v.type} {value}, i32 {lane}")
    return m.code.let(f"fpext float {part} to double") if v.element == "float" else part
