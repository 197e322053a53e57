"""Compiled loops on disk: the same numbers from there, and never what another compiler wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from ostinato.compiler import cache
from ostinato.compiler.cpu import machine as machines
from ostinato.compiler.cpu.alone import ELEMENT
from ostinato.compiler.cpu.shared import shared
from ostinato.compiler.cpu.targets import host, named
from ostinato.compiler.kernel import Kernel
from tests.compiler.test_kernel import sized
from tests.support.kernels import Made

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import torch
from tests.compiler.test_kernel import sized
torch.manual_seed(0)
own = sized("LSTM", 5)
own.check(steps=3, rows=2)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for element, target in product(ELEMENT.values(), (host(), named("plain", host().triple))):
        shared(element, target)  # once a process; what is counted here are the loops
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def own() -> Made:
    return sized("LSTM", 5)


def output(cached: bool | None = None) -> torch.Tensor:
    """What a new kernel puts out; ``cached``: whether its code must come from the disk."""
    kernel = Kernel(own().program, torch.float32)
    torch.manual_seed(0)
    joint, _ = kernel.forward(own().loops(steps=3, rows=2, dtype=torch.float32), save=False)
    assert cached is None or kernel.machine(False).cached is cached
    return joint


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*" + cache.SUFFIX))


def test_the_second_comes_from_the_disk(folder: Path) -> None:
    first = output(cached=False)
    assert torch.equal(output(cached=True), first)
    assert len(entries(folder)) == 1


def test_what_is_known_of_the_code_is_kept_beside_it() -> None:
    one, two = (Kernel(own().program, torch.float32).machine(True) for _ in range(2))
    assert (one.about, one.layout, one.target, two.cached) == (two.about, two.layout, two.target, True)
    assert json.loads(json.dumps(one.about.times)) == two.about.times


@pytest.mark.parametrize("what", ["compiler", "llvm", "target", "dtype", "step"])
def test_everything_the_code_depends_on_is_in_its_name(
    what: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output(cached=False)
    if what == "compiler":
        monkeypatch.setattr(machines, "sources", lambda: "another")
    if what == "llvm":
        monkeypatch.setattr(machines.jit, "version", lambda: "another")
    if what == "target":
        monkeypatch.setenv("OSTINATO_TARGET", "plain")
    program = sized("GRU", 5).program if what == "step" else own().program
    dtype = torch.float64 if what == "dtype" else torch.float32
    assert not Kernel(program, dtype).machine(False).cached
    assert len(entries(folder)) == 2


def test_a_changed_line_of_the_compiler_is_another_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, text in enumerate(("a = 1\n", "a = 2\n")):
        package = tmp_path / str(number) / "compiler"
        (package / "cpu").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "cpu" / "emit.py").write_text(text)
    found = []
    for number in (0, 1, 1):
        monkeypatch.setattr(
            machines.ostinato.compiler, "__file__", str(tmp_path / str(number) / "compiler/__init__.py")
        )
        found.append(machines.sources.__wrapped__())
    assert found[0] != found[1] == found[2]


@pytest.mark.parametrize("harm", ["cut", "turned", "emptied", "other"])
def test_an_entry_that_is_harmed_is_made_again(harm: str, folder: Path) -> None:
    first = output(cached=False)
    (entry,) = entries(folder)
    data = bytearray(entry.read_bytes())
    if harm == "turned":
        data[len(data) // 2] ^= 1
    entry.write_bytes({"cut": data[:-9], "turned": data, "emptied": b"", "other": b"not a kernel at all"}[harm])
    assert torch.equal(output(cached=False), first)
    assert torch.equal(output(cached=True), first)


def test_nothing_is_kept_when_it_is_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert torch.equal(output(cached=False), output(cached=False))
    assert not folder.exists()


def test_a_folder_that_may_only_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = output(cached=False)

    def refused(**keywords: object) -> None:
        raise PermissionError("this folder may only be read")

    monkeypatch.setattr(cache.tempfile, "mkstemp", refused)
    assert torch.equal(output(cached=True), first)
    assert not Kernel(own().program, torch.float64).machine(False).cached
    assert len(entries(folder)) == 1


def test_a_place_where_no_folder_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "kernels"))
    assert torch.equal(output(cached=False), output(cached=False))


def test_two_processes_at_once(folder: Path) -> None:
    command = [sys.executable, "-c", CODE]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    done = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], done[0][1] + done[1][1]
    assert Kernel(own().program, torch.float64).machine(True).cached
    made = "forward with and without what is kept, backward, a weight's product over all steps, what all kernels share"
    assert len(entries(folder)) == 5, made
    assert not list(folder.glob("*.part"))
