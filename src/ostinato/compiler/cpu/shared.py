"""What all kernels call, compiled once for a target's vectors: each finds it through a table of addresses."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache as once
from typing import Any

from ostinato.compiler.cpu import jit, threads
from ostinato.compiler.cpu.barrier import emit_meet
from ostinato.compiler.cpu.copying import COPIERS, emit_copiers, emit_copy
from ostinato.compiler.cpu.ready import from_text, load
from ostinato.compiler.cpu.targets import Target
from ostinato.compiler.cpu.text import Code

FUNCTIONS = (*COPIERS, "copy", "meet")

TABLE = (*FUNCTIONS, "patience", "yield")
"""What the table's words are the addresses of: the functions; how often a thread looks at a barrier before it gives its
processor away; and what it calls then."""


@dataclass(frozen=True)
class Shared:
    """The functions in memory. ``table``: their addresses, as :data:`TABLE` lists them."""

    loaded: jit.Loaded
    table: Any

    @property
    def address(self) -> int:
        """Of the table."""
        return ctypes.addressof(self.table)


@once
def shared(element: str, target: Target) -> Shared:
    """The functions for numbers of one kind, ``"float"`` or ``"double"``."""
    loaded = load(*from_text(text(element, target), target), FUNCTIONS).loaded
    words = *(loaded[name] for name in FUNCTIONS), threads.patience(), threads.sched_yield()
    return Shared(loaded, (ctypes.c_int64 * len(words))(*words))


def text(element: str, target: Target) -> str:
    """The functions as LLVM's text."""
    code, vector = Code(), target.vector(element)
    emit_copiers(code, vector)
    emit_copy(code, vector)
    emit_meet(code, target, TABLE.index("patience"), TABLE.index("yield"))
    return code.text()


def call(code: Code, table: str, name: str, arguments: str) -> None:
    """A kernel's call of one of the functions. ``table``: the table's address."""
    place = code.let(f"getelementptr inbounds ptr, ptr {table}, i64 {TABLE.index(name)}")
    function = code.let(f"load ptr, ptr {place}, align 8")
    code.do(f"call void {function}({arguments})")
