"""Any number of threads, of any make: the same bits forward, the same gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ostinato.compiler.cpu import launch, threads
from ostinato.compiler.program import Gradients, Loop, Ran
from ostinato.compiler.trace import trace
from tests.compiler import test_kernel
from tests.compiler.cells import I
from tests.compiler.cpu import test_apart
from tests.support.kernels import Made, compare, every, expected, seeds_of
from tests.support.own_cells import NormalisedCell

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def everything_is_shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OSTINATO_CACHE", "off")
    monkeypatch.setattr(launch, "SHARED_WORK", 0)
    monkeypatch.setattr(launch, "SHARED_PASS", 0)
    yield
    torch.set_num_threads(1)


@cache
def made(name: str) -> Made:
    if name == "LayerNorm":
        return Made(trace(NormalisedCell(I, 40).double(), I, {}, {}))
    return test_kernel.sized(name, 40) if name in test_kernel.SIZED else test_kernel.made(name)


def tensors(ran: Ran) -> list[Tensor]:
    return [ran.output, *ran.finals.values(), *ran.saved.values(), *ran.trajectories.values()]


def all_of(grads: Gradients) -> list[Tensor]:
    return [g for part in (grads.streams, grads.constants, grads.states, grads.params) for g in part.values()]


@pytest.mark.parametrize("sizes", [None, [1.0, 0.7, 0.7, 0.3, 0.0]], ids=["full", "ragged"])
@pytest.mark.parametrize("rows", [1, 3, 34])
@pytest.mark.parametrize("name", ["LSTM", "LayerNorm", "reordered"])
def test_the_same_bits_for_every_number_of_threads(name: str, rows: int, sizes: list[float] | None) -> None:
    """Few rows: threads split columns and meet at barriers. Many: each has its own."""
    own = made(name)
    kernel, lengths = own.kernel(torch.float32), None if sizes is None else [int(rows * s) for s in sizes]
    loops = own.loops(steps=5, rows=rows, sizes=lengths, directions=2, dtype=torch.float32)
    seeds = seeds_of(own.program, loops, torch.float32)
    first = None
    for number in (1, 2, 3, 4):
        torch.set_num_threads(number)
        joint, rans = kernel.forward(loops, save=True)
        found = [joint, *(t for ran in rans for t in tensors(ran))]
        first = first or found
        assert all(map(torch.equal, first, found)), f"{number} threads"
        wanted = every(own.program, loops[0])
        once = kernel.backward(loops, rans, seeds.output, seeds.finals, wanted)
        again = kernel.backward(loops, rans, seeds.output, seeds.finals, wanted)
        assert all(torch.equal(a, b) for d in range(2) for a, b in zip(all_of(once[d]), all_of(again[d]), strict=True))
        if number > 2:
            compare(own.program, loops, kernel, seeds)


def test_the_same_bits_without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that give their processor away at every barrier."""
    own = made("LSTM")
    kernel = own.kernel(torch.float32)
    (loop,) = own.loops(steps=30, rows=3, dtype=torch.float32)
    torch.set_num_threads(3)
    first = tensors(kernel.forward([loop], save=True)[1][0])
    patience = threads._crowd.patience
    monkeypatch.setattr(patience, "value", 0)
    assert all(map(torch.equal, first, tensors(kernel.forward([loop], save=True)[1][0])))


@pytest.mark.parametrize("sizes", [None, [1.0, 0.7, 0.7, 0.3, 0.0]], ids=["full", "ragged"])
@pytest.mark.parametrize("rows", [1, 3, 34])
@pytest.mark.parametrize("name", ["LSTM", "LayerNorm", "reordered", "reduced"])
def test_the_same_bits_beside_other_processes(
    name: str, rows: int, sizes: list[float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a pair's parts run one after the other on one thread, and where they cannot."""
    together, in_turn = (everything(made(name), rows, sizes, monkeypatch, crowded) for crowded in (False, True))
    assert all(map(torch.equal, together, in_turn))


@pytest.mark.parametrize("rows", [1, 3, 34])
@pytest.mark.parametrize("name", ["minGRU", "QRNN"])
def test_columns_that_never_meet_beside_other_processes(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    together, in_turn = (
        everything(test_apart.made(name), rows, None, monkeypatch, crowded) for crowded in (False, True)
    )
    assert all(map(torch.equal, together, in_turn))


def everything(
    own: Made, rows: int, sizes: list[float] | None, monkeypatch: pytest.MonkeyPatch, crowded: bool
) -> list[Tensor]:
    """What a pair of threads puts out, forward and backward."""
    torch.manual_seed(0)
    kernel, lengths = own.kernel(torch.float32), None if sizes is None else [int(rows * s) for s in sizes]
    loops = own.loops(steps=5, rows=rows, sizes=lengths, directions=1, dtype=torch.float32)
    seeds, wanted = seeds_of(own.program, loops, torch.float32), every(own.program, loops[0])
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "_others_want_them", lambda _, turns: crowded and turns > 0)
    joint, rans = kernel.forward(loops, save=True)
    grads = kernel.backward(loops, rans, seeds.output, seeds.finals, wanted)
    return [joint, *(t for ran in rans for t in tensors(ran)), *(g for one in grads for g in all_of(one))]


@pytest.mark.parametrize("name", ["LSTM", "LayerNorm"])
def test_a_row_alone_is_the_row_in_a_batch(name: str) -> None:
    own = made(name)
    kernel = own.kernel(torch.float32)
    (loop,) = own.loops(steps=3, rows=11, dtype=torch.float32)
    torch.set_num_threads(2)
    _, (ran,) = kernel.forward([loop], save=False)
    for row in (0, 4, 10):
        one = replace(
            loop,
            rows=1,
            streams={n: v[row::11] for n, v in loop.streams.items()},
            states={n: v[row : row + 1] for n, v in loop.states.items()},
        )
        _, (alone,) = kernel.forward([one], save=False)
        assert torch.equal(alone.output, ran.output[row::11])


def test_several_callers_at_once() -> None:
    own = made("LSTM")
    kernel = own.kernel()
    torch.set_num_threads(2)
    cases = [own.loops(steps=4, rows=3 + n, directions=1 + n % 2) for n in range(8)]
    wanted = [[ran.output for ran in expected(own.program, loops, None)[0]] for loops in cases]

    def call(loops: list[Loop]) -> list[Tensor]:
        torch.set_num_threads(2)
        return [ran.output for ran in kernel.forward(loops, save=True)[1]]

    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for outputs, want in zip(pool.map(call, cases), wanted, strict=True):
                for a, b in zip(outputs, want, strict=True):
                    torch.testing.assert_close(a, b)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_runs_alone() -> None:
    code = """
import os, sys, torch
from ostinato.compiler.cpu import launch, threads
from tests.compiler.test_kernel import sized
launch.SHARED_WORK = 0
torch.set_num_threads(2)
own = sized("LSTM", 17)
loops = own.loops(steps=3, rows=9)
first = own.kernel().forward(loops, save=True)[0]
child = os.fork()
if not child:
    same = torch.equal(own.kernel().forward(loops, save=True)[0], first) and threads.most() == 1
    os._exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(code) == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_trains_and_meets_new_cells() -> None:
    """Torch's own operations around a kernel, too, which would wait for a team that stayed with the parent."""
    code = """
import os, signal, sys, torch, ostinato
torch.set_num_threads(2)
def train(cell):
    torch.manual_seed(0)
    layer, x = ostinato.Recurrent(cell, 32, 64), torch.randn(200, 16, 32)
    output, _ = layer(x)
    output.square().mean().backward()
    return [output.detach(), *(p.grad for p in layer.parameters())]
first = train("lstm")
child = os.fork()
if not child:
    signal.alarm(60)
    same = all(torch.allclose(a, b, atol=1e-6) for a, b in zip(train("lstm"), first))
    train("mgu")
    os._exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(code) == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("lock", ["known._lock", "jit._lock", "live._turn"])
def test_a_child_forked_while_another_thread_compiles_or_streams(lock: str) -> None:
    code = f"""
import os, signal, sys, threading, time, torch, ostinato
from ostinato.compiler.cpu import jit
from ostinato.engines import known
frame = torch.ones(1, 4)
live = ostinato.stream(ostinato.GRU(4, 5).eval())
held = threading.Event()
def work():
    with {lock}:
        held.set()
        time.sleep(0.5)
threading.Thread(target=work).start()
held.wait()
child = os.fork()
if not child:
    signal.alarm(60)
    live.step(frame)
    ostinato.Recurrent("mgu", 4, 5)(frame.expand(3, 1, 4))[0].sum().backward()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(code) == ""


@pytest.mark.parametrize("limit", [1, 3])
def test_a_team_smaller_than_asked_for(limit: int) -> None:
    code = """
import torch
from ostinato.compiler.cpu import launch
from tests.compiler.test_kernel import sized
launch.SHARED_WORK = 0
own = sized("LSTM", 33)
torch.set_num_threads(4)
for directions in (1, 2):
    for rows, sizes in ((3, None), (40, [40, 11, 2])):
        own.check(steps=3, rows=rows, sizes=sizes, directions=directions)
"""
    assert run(code, OMP_THREAD_LIMIT=str(limit)) == ""


def run(code: str, **environment: str) -> str:
    """Another process; what it had to complain of."""
    environment = {**os.environ, "OSTINATO_CACHE": "off", **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    return "" if done.returncode == 0 else f"{done.returncode}: {done.stderr[-2000:]}"


def test_one_thread_is_no_team() -> None:
    torch.set_num_threads(1)
    assert threads.most() == 1
