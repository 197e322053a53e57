"""From text to an object file to a function."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.compiler.cpu import jit, targets

TEXT = "define i64 @twice(i64 %n) {\n  %m = mul i64 %n, 2\n  ret i64 %m\n}\n"
CALLS = """
declare double @cbrt(double)
define double @f(double %x) {
  %y = call double @cbrt(double %x)
  ret double %y
}
"""


def call(loaded: jit.Loaded, name: str, number: int) -> int:
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded[name])(number)


def test_native_code_can_be_made_here() -> None:
    assert jit.available() is None
    assert "LLVM" in jit.version()


def test_a_function_runs_and_two_modules_may_share_a_name() -> None:
    first = jit.load(jit.compile(TEXT, targets.host()), ["twice"])
    second = jit.load(jit.compile(TEXT.replace("2\n", "3\n"), targets.host()), ["twice"])
    assert (call(first, "twice", 21), call(second, "twice", 21)) == (42, 63)


def test_an_object_file_runs_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "twice.o").write_bytes(jit.compile(TEXT, targets.host()))
    code = (
        "import ctypes, sys; from pathlib import Path; from ostinato.compiler.cpu import jit\n"
        "loaded = jit.load(Path(sys.argv[1]).read_bytes(), ['twice'])\n"
        "print(ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded['twice'])(4))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "twice.o")], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_the_same_text_is_the_same_code() -> None:
    assert jit.compile(TEXT, targets.host()) == jit.compile(TEXT, targets.host())


@pytest.mark.parametrize("text", ["define nonsense", "define i32 @f() {\n ret i64 0\n}"])
def test_text_that_is_no_ir(text: str) -> None:
    with pytest.raises(RuntimeError):
        jit.compile(text, targets.host())


def test_what_cannot_be_loaded() -> None:
    with pytest.raises(RuntimeError, match="no object file"):
        jit.load(b"junk", ["twice"])
    with pytest.raises(RuntimeError, match="no function thrice"):
        jit.load(jit.compile(TEXT, targets.host()), ["twice", "thrice"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="object files are read as ELF")
def test_an_object_file_that_needs_the_c_library_is_refused() -> None:
    made = jit.compile(CALLS, targets.host())
    assert jit.undefined_symbols(made) == ["cbrt"]
    with pytest.raises(RuntimeError, match="cbrt"):
        jit.load(made, ["f"])


@pytest.mark.parametrize(
    ("family", "triple", "word"),
    [
        ("avx512", "x86_64-linux-gnu", "zmm"),
        ("avx2", "x86_64-linux-gnu", "ymm"),
        ("plain", "x86_64-linux-gnu", "xmm"),
        ("neon", "aarch64-linux-gnu", ".4s"),
        ("neon", "arm64-apple-macosx11", ".4s"),
    ],
)
def test_every_family_can_be_emitted_anywhere(family: str, triple: str, word: str) -> None:
    target = targets.named(family, triple)
    t = target.vector("float").type
    body = f"  %x = load {t}, ptr %p\n  %y = fadd {t} %x, %x\n  store {t} %y, ptr %p\n  ret void\n"
    text = f"define void @f(ptr %p) {{\n{body}}}"
    assert word in jit.assembly(text, target)
    assert jit.compile(text, target)


def test_comments_show_what_is_kept_on_the_stack() -> None:
    target = targets.host()
    t = target.vector("float").type
    numbers = range(target.registers + 8)
    loads = "".join(f"  %p{n} = getelementptr {t}, ptr %p, i64 {n}\n  %v{n} = load {t}, ptr %p{n}\n" for n in numbers)
    stores = "".join(f"  store {t} %v{n}, ptr %p{len(numbers) - 1 - n}\n" for n in numbers)
    text = f"define void @f(ptr %p) {{\n{loads}{stores}  ret void\n}}"
    assert "Spill" in jit.assembly(text, target, comments=True)
    assert "Spill" not in jit.assembly(text, target)
    assert "Spill" not in jit.assembly(TEXT, target, comments=True)


def test_without_llvmlite_the_reason_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['llvmlite'] = None\n"
        "import ostinato; from ostinato.compiler.cpu import jit; print(jit.available())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install llvmlite" in done.stdout, done.stderr


def test_an_llvmlite_whose_library_does_not_load_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("raise OSError('libLLVM.so: cannot open shared object file')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import ostinato, torch; layer = ostinato.GRU(3, 4); layer(torch.randn(2, 3)); print(ostinato.explain(layer))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "libLLVM.so: cannot open shared object file" in done.stdout, done.stderr


def test_an_old_llvmlite_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llvmlite.__version__", "0.43.0")
    assert "0.43.0 is older than 0.44" in (jit.available.__wrapped__() or "")
