"""Which processor a kernel is written for: the width of its vectors, its registers, and what LLVM is told of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ostinato.compiler.cpu.text import Vector
from ostinato.errors import InvalidValue

VARIABLE = "OSTINATO_TARGET"


@dataclass(frozen=True)
class Target:
    """A family of processors.

    Attributes:
        name: ``"avx512"``, ``"avx2"``, ``"neon"`` or ``"plain"``.
        triple: LLVM's word for processor, system and object format.
        cpu: LLVM's name for the family; never the processor's own, so that one cache serves all of a family.
        features: LLVM's feature string, added to what ``cpu`` has.
        bytes: the size of a vector register.
        registers: how many there are.
        fused: whether a multiply-add is one instruction; without it LLVM would call the C library.
        rounding: the same for rounding to a whole number.
        scaling: whether a register times powers of two is one instruction.
    """

    name: str
    triple: str
    cpu: str
    features: str
    bytes: int
    registers: int
    fused: bool
    rounding: bool
    scaling: bool = False

    def lanes(self, element: str) -> int:
        """How many elements a register holds."""
        return self.bytes // (4 if element == "float" else 8)

    def vector(self, element: str, lanes: int | None = None) -> Vector:
        """A vector this processor computes with; a full register unless told otherwise."""
        scaling = self.bytes if self.scaling else 0
        return Vector(element, self.lanes(element) if lanes is None else lanes, self.fused, self.rounding, scaling)


# "-prefer-256-bit": LLVM must not halve vectors that were chosen with care.
FAMILIES: dict[str, Callable[[str], Target]] = {
    "avx512": lambda triple: Target("avx512", triple, "x86-64-v4", "-prefer-256-bit", 64, 32, True, True, True),
    "avx2": lambda triple: Target("avx2", triple, "x86-64-v3", "", 32, 16, True, True),
    "neon": lambda triple: Target("neon", triple, "generic", "+neon", 16, 32, True, True),
    "plain": lambda triple: Target("plain", triple, "", "", 16, 16, False, False),
}
"""From the widest; each but the last has needs in :data:`NEEDS`."""

NEEDS: dict[str, frozenset[str]] = {
    "avx512": frozenset({"avx512f", "avx512vl", "avx512dq", "avx512bw", "avx512cd", "avx2", "fma", "bmi2"}),
    "avx2": frozenset({"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe"}),
}


def named(name: str, triple: str) -> Target:
    """A family by name, whatever this machine is: tests emit for all of them."""
    return FAMILIES[name](triple)


@cache
def triple() -> str:
    """This machine's triple. On Windows in ELF, which needs no C runtime beside it."""
    from llvmlite import binding as llvm

    text: str = llvm.get_process_triple()
    return f"{text}-elf" if "windows" in text and not text.endswith("-elf") else text


@cache
def possible() -> tuple[str, ...]:
    """The families this machine belongs to, the widest first."""
    architecture = triple().split("-")[0]
    if architecture in ("aarch64", "arm64"):
        return ("neon", "plain")
    if architecture not in ("x86_64", "amd64"):
        return ("plain",)
    has = _features()
    return (*(name for name, needs in NEEDS.items() if needs <= has), "plain")


def _features() -> set[str]:
    from llvmlite import binding as llvm

    try:
        return {name for name, there in llvm.get_host_cpu_features().items() if there}
    except RuntimeError:  # a processor LLVM cannot ask
        return set()


def host() -> Target:
    """The widest family of this machine, or the one ``OSTINATO_TARGET`` names."""
    return _choose(os.environ.get(VARIABLE, ""))


def why_not() -> str | None:
    """Why ``OSTINATO_TARGET`` names no family of this machine; None if it does, or is not set."""
    return _fault(os.environ.get(VARIABLE, ""))


@cache
def _fault(asked: str) -> str | None:
    name = asked.strip().lower()
    if name and name not in FAMILIES:
        return f"{VARIABLE} must be one of {', '.join(FAMILIES)}, or unset; got {asked!r}"
    if name and name not in possible():
        return f"{VARIABLE} names {name}, which this processor is not; it is {', '.join(possible())}"
    return None


@cache
def _choose(asked: str) -> Target:
    if (fault := _fault(asked)) is not None:
        raise InvalidValue(fault)
    return named(asked.strip().lower() or possible()[0], triple())
