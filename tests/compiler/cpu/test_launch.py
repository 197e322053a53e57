"""What a kernel touches in memory, and how rows are shared out."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from ostinato.compiler.cpu.launch import share
from tests.compiler.test_kernel import made

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages without rights are asked of Linux")
def test_nothing_is_touched_outside_of_tensors() -> None:
    """And who does is ended by the guard."""
    command = [sys.executable, "-m", "tests.support.guarded"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout} and then {done.returncode}: {done.stderr[-3000:]}"
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [words[0] for words in lines] == ["before", "after"]
    assert all(int(cells) > 0 and -int(ended) in (signal.SIGSEGV, signal.SIGBUS) for _, cells, ended in lines)


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("lengths", [[9, 9, 9, 9, 9, 9], [12, 3, 1, 1], [1], [5, 0, 0], [0, 0], [7, 6, 5, 4, 3, 2, 1]])
def test_rows_are_shared_by_their_lengths(lengths: list[int], number: int) -> None:
    steps = max(lengths)
    sizes = torch.tensor([sum(n > t for n in lengths) for t in range(steps)], dtype=torch.int64)
    bounds = share(sizes, len(lengths), number)
    assert bounds[0] == 0
    assert bounds[-1] == len(lengths)
    assert bounds == sorted(bounds)
    assert len(bounds) == number + 1
    work = [sum(lengths[a:b]) for a, b in pairwise(bounds)]
    assert max(work) <= sum(lengths) / number + max(lengths)


def test_many_steps_of_one_row() -> None:
    """The last state is the last output, and the first ones are those of a short sequence."""
    own = made("RNN")
    (loop,) = own.loops(steps=100_000, rows=1, scale=0.1)
    kernel = own.kernel()
    _, (ran,) = kernel.forward([loop], save=True)
    assert torch.equal(ran.output[-1:], ran.finals["h"])
    assert ran.output.isfinite().all()
    names = frozenset(loop.params)
    (grads,) = kernel.backward([loop], [ran], torch.ones_like(ran.output), [{"h": None}], names)
    assert all(g.isfinite().all() for g in grads.params.values())
