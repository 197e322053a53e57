"""From IR text to machine code in an object file, and from an object file to functions that can be called.

llvmlite is imported here when it is first needed; the rest of the package imports without it.
"""

from __future__ import annotations

import os
import re
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ostinato.compiler.cpu.targets import Target, triple

OLDEST = (0, 44)
MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe")
"""How object files begin: ELF, Mach-O."""

_lock = threading.RLock()
"""For all that LLVM does, to the end of its objects: llvmlite has a lock of its own, which a fork must find open."""

if hasattr(os, "register_at_fork"):  # In a child nobody would give it back.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@cache
def available() -> str | None:
    """Why no native code can be made here; None if it can."""
    try:
        import llvmlite
    except (ImportError, OSError) as problem:  # OSError: its LLVM is not there, or cannot be loaded
        return f"llvmlite cannot be imported ({problem}); it comes with: pip install llvmlite"
    version = tuple(int(part) for part in re.findall(r"\d+", llvmlite.__version__)[:2])
    if version < OLDEST:
        return f"llvmlite {llvmlite.__version__} is older than {'.'.join(map(str, OLDEST))}: pip install -U llvmlite"
    try:
        _llvm()
    except Exception as problem:  # whatever a broken LLVM raises, the answer is the loop
        return f"llvmlite {llvmlite.__version__} does not start: {problem}"
    return None


@cache
def _llvm() -> Any:
    """llvmlite's binding, with this machine's code generator ready."""
    from llvmlite import binding as llvm

    with _lock:
        if tuple(int(part) for part in re.findall(r"\d+", _version())[:2]) < (0, 45):
            llvm.initialize()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    return llvm


def _version() -> str:
    import llvmlite

    return str(llvmlite.__version__)


def version() -> str:
    """What made the code: part of a cache's key."""
    return f"llvmlite {_version()} LLVM {'.'.join(map(str, _llvm().llvm_version_info))}"


def compile(text: str, target: Target) -> bytes:
    """The object file of a module's text. Raises RuntimeError, with LLVM's words, for text that is no IR."""
    with _lock:
        return _object(text, target)


def _object(text: str, target: Target) -> bytes:
    machine = _machine(target)
    return bytes(machine.emit_object(_module(text, target, machine)))


def assembly(text: str, target: Target, comments: bool = False) -> str:
    """The same as assembly, to read; with LLVM's comments, every value kept on the stack is a ``Spill``."""
    with _lock:
        machine = _machine(target)
        machine.set_asm_verbosity(comments)
        return str(machine.emit_assembly(_module(text, target, machine)))


def _machine(target: Target) -> Any:
    """LLVM's code generator for a target. The small code model keeps constants one instruction away."""
    return _find(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small", jit=False
    )


@cache
def _find(wanted: str) -> Any:
    llvm = _llvm()
    try:
        return llvm.Target.from_triple(wanted)
    except RuntimeError:  # another processor than this one
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        return llvm.Target.from_triple(wanted)


def _module(text: str, target: Target, machine: Any) -> Any:
    llvm = _llvm()
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    _simplify(module, machine)
    return module


def _simplify(module: Any, machine: Any) -> None:
    """The few passes that text written by hand needs: the loops are unrolled and vectorised as they are meant to be."""
    llvm = _llvm()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = False
    options.loop_unrolling = options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.run(module, builder)


@dataclass(frozen=True)
class Loaded:
    """Functions in memory; they live as long as this does.

    Attributes:
        addresses: the address of each, by name.
    """

    addresses: dict[str, int]
    engine: Any

    def __getitem__(self, name: str) -> int:
        return self.addresses[name]


def load(object: bytes, names: Iterable[str]) -> Loaded:
    """Map an object file into memory. Raises RuntimeError for what is no object file, or lacks a name."""
    if object[:4] not in MAGIC:  # LLVM would end the process
        raise RuntimeError("these bytes are no object file")
    missing = undefined_symbols(object)
    if missing:
        raise RuntimeError(f"the object file needs {', '.join(missing)}, which no kernel may")
    with _lock:
        engine, addresses = _mapped(object, names)
    lacking = [name for name, address in addresses.items() if not address]
    if lacking:
        raise RuntimeError(f"the object file has no function {', '.join(lacking)}")
    return Loaded(addresses, engine)


def _mapped(object: bytes, names: Iterable[str]) -> tuple[Any, dict[str, int]]:
    llvm = _llvm()
    module = llvm.parse_assembly("")
    module.triple = triple()
    # The engine's own memory manager puts code and constants side by side, as the small code model needs.
    machine = _find(triple()).create_target_machine(codemodel="small", reloc="pic")
    engine = llvm.create_mcjit_compiler(module, machine, use_lmm=True)
    engine.add_object_file(llvm.ObjectFileRef.from_data(object))
    engine.finalize_object()
    return engine, {name: int(engine.get_function_address(name)) for name in names}


def undefined_symbols(object: bytes) -> list[str]:
    """The names an ELF object file needs from elsewhere. A kernel needs none: not libm's, not memset."""
    if object[:5] != b"\x7fELF\x02":
        return []
    start, size, count = struct.unpack_from("<Q", object, 40)[0], *struct.unpack_from("<HH", object, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", object, start + size * n) for n in range(count)]
    names = []
    for _, kind, _, _, offset, length, link, _, _, step in sections:
        if kind != 2:  # the table of symbols
            continue
        strings = sections[link][4]
        for at in range(offset + step, offset + length, step):
            name, info, _, section = struct.unpack_from("<IBBH", object, at)
            if section == 0 and info & 15 != 4:
                names.append(object[strings + name : object.index(b"\0", strings + name)].decode())
    return names
