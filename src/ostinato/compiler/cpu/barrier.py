"""Where threads wait for each other: a spin, and after a while the processor is given away.

Two words on cache lines of their own: how many have come, and how often all have met.
"""

from __future__ import annotations

from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code


def emit_barrier(code: Code, target: Target, counter: str, patience: str, yields_to: str, parties: str) -> None:
    """Wait until all have come here: spin shortly, then give the processor away.

    Args:
        patience: address of how many looks come before that; the number may change at any time.
    """
    several = code.let(f"icmp sgt i64 {parties}, 1")
    with code.when(several):
        turn = code.let(f"getelementptr inbounds i8, ptr {counter}, i64 128")
        old = code.let(f"load atomic i64, ptr {turn} acquire, align 8")
        come = code.let(f"atomicrmw add ptr {counter}, i64 1 acq_rel, align 8")
        last = code.let(f"sub i64 {parties}, 1")
        is_last = code.let(f"icmp eq i64 {come}, {last}")
        then, wait, spin, yields, done = (code.name(n) for n in ("last", "wait", "spin", "yield", "met"))
        code.do(f"br i1 {is_last}, label %{then}, label %{wait}")
        code.label(then)
        code.do(f"store atomic i64 0, ptr {counter} monotonic, align 8")
        following = code.let(f"add i64 {old}, 1")
        code.do(f"store atomic i64 {following}, ptr {turn} release, align 8")
        code.do(f"br label %{done}")
        code.label(wait)
        looks = code.let(f"load atomic i64, ptr {patience} monotonic, align 8")
        count, more = "%" + code.name("n"), "%" + code.name("n")
        again = code.name("again")
        code.do(f"br label %{spin}")
        code.label(spin)
        code.do(f"{count} = phi i64 [ 0, %{wait} ], [ {more}, %{again} ]")
        now = code.let(f"load atomic i64, ptr {turn} acquire, align 8")
        moved = code.let(f"icmp ne i64 {now}, {old}")
        code.do(f"{more} = add i64 {count}, 1")
        pause = code.name("pause")
        code.do(f"br i1 {moved}, label %{done}, label %{pause}")
        code.label(pause)
        _pause(code, target)
        patient = code.let(f"icmp ult i64 {more}, {looks}")
        code.do(f"br i1 {patient}, label %{again}, label %{yields}")
        code.label(yields)
        code.do(f"call i32 {yields_to}()")
        code.do(f"br label %{again}")
        code.label(again)
        code.do(f"br label %{spin}")
        code.label(done)


def _pause(code: Code, target: Target) -> None:
    """Tell the processor that this is a waiting loop."""
    if target.triple.startswith(("x86", "i686", "amd64")):
        code.intrinsic("llvm.x86.sse2.pause", "void")
    elif target.triple.startswith(("aarch64", "arm64")):
        code.intrinsic("llvm.aarch64.hint", "void", ("i32", "1"))
