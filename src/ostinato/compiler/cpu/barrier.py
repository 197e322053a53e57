"""Where threads wait for each other: a spin, and after a while the processor is given away.

Two words on cache lines of their own: how many have come, and how often all have met.
"""

from __future__ import annotations

from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code


def emit_meet(code: Code, target: Target, patience: int, yields_to: int) -> None:
    """Define ``meet(counter, table, parties)``: wait until all have come, spin shortly, then give the processor away.

    Args:
        patience: which word of the table is the address of how many looks come before that; the number may change at
            any time. ``yields_to``: which is that of what is called then.
    """
    with code.function("void @meet(ptr %counter, ptr %table, i64 %parties) nounwind"):
        turn = code.let("getelementptr inbounds i8, ptr %counter, i64 128")
        old = code.let(f"load atomic i64, ptr {turn} acquire, align 8")
        come = code.let("atomicrmw add ptr %counter, i64 1 acq_rel, align 8")
        last = code.let("sub i64 %parties, 1")
        is_last = code.let(f"icmp eq i64 {come}, {last}")
        code.do(f"br i1 {is_last}, label %last, label %wait")
        code.label("last")
        code.do("store atomic i64 0, ptr %counter monotonic, align 8")
        following = code.let(f"add i64 {old}, 1")
        code.do(f"store atomic i64 {following}, ptr {turn} release, align 8")
        code.do("br label %met")
        code.label("wait")
        looks = code.let(f"load atomic i64, ptr {_word(code, patience)} monotonic, align 8")
        yielding = _word(code, yields_to)
        code.do("br label %spin")
        code.label("spin")
        code.do("%looked = phi i64 [ 0, %wait ], [ %more, %again ]")
        now = code.let(f"load atomic i64, ptr {turn} acquire, align 8")
        moved = code.let(f"icmp ne i64 {now}, {old}")
        code.do("%more = add i64 %looked, 1")
        code.do(f"br i1 {moved}, label %met, label %pause")
        code.label("pause")
        _pause(code, target)
        patient = code.let(f"icmp ult i64 %more, {looks}")
        code.do(f"br i1 {patient}, label %again, label %yield")
        code.label("yield")
        code.do(f"call i32 {yielding}()")
        code.do("br label %again")
        code.label("again")
        code.do("br label %spin")
        code.label("met")


def _word(code: Code, number: int) -> str:
    """An address out of the table."""
    place = code.let(f"getelementptr inbounds ptr, ptr %table, i64 {number}")
    return code.let(f"load ptr, ptr {place}, align 8")


def _pause(code: Code, target: Target) -> None:
    """Tell the processor that this is a waiting loop."""
    if target.triple.startswith(("x86", "i686", "amd64")):
        code.intrinsic("llvm.x86.sse2.pause", "void")
    elif target.triple.startswith(("aarch64", "arm64")):
        code.intrinsic("llvm.aarch64.hint", "void", ("i32", "1"))
