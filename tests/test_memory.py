"""Large memory that is used again is ordinary memory: nobody else writes it while it is held, and it is bounded."""

from __future__ import annotations

import gc
import io
import mmap
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import ostinato
from ostinato import memory
from ostinato.errors import InvalidType, InvalidValue

LIKE = torch.zeros(1)
COUNT = memory.LARGE // 4
"""Floats of the smallest tensor that the pool makes."""

pooled = pytest.mark.skipif(not memory.PRIVATE, reason="a system without private mappings: torch's allocator does it")


@pytest.fixture(autouse=True)
def emptied():
    limit = memory._limit
    memory.release()
    yield
    memory.keep_at_most(limit)
    memory.release()


@pytest.mark.parametrize("rows", [0, 1, memory.LARGE // 72, memory.LARGE // 72 + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_what_was_asked_for(rows, dtype) -> None:
    made = memory.empty(torch.zeros(2, 3, dtype=dtype), rows, 9)
    assert (made.shape, made.dtype, made.is_contiguous()) == ((rows, 9), dtype, True)
    assert made.untyped_storage().nbytes() == made.nbytes
    assert made.isnan().all(), "poisoned like torch's own"
    assert torch.equal(made.fill_(2.5), torch.full((rows, 9), 2.5, dtype=dtype))


@pooled
def test_a_block_is_used_again_once_nothing_refers_to_it() -> None:
    made = memory.empty(LIKE, COUNT + 2)
    address, part = made.data_ptr(), made[5:].view(-1)
    assert address % memory.LINE == 0
    del made
    assert memory.idle() == 0, "a view still reads it"
    assert memory.empty(LIKE, COUNT).data_ptr() != address
    memory.release()
    del part
    assert memory.idle() == 2 * memory.LARGE, "whole units"
    again = memory.empty(LIKE, COUNT + 1)
    assert again.data_ptr() == address


@pooled
def test_a_much_larger_block_is_left_for_others() -> None:
    memory.empty(LIKE, 2 * COUNT)
    assert memory.idle() == 2 * memory.LARGE
    held = memory.empty(LIKE, COUNT)
    assert memory.idle() == 2 * memory.LARGE
    near = memory.empty(LIKE, 2 * COUNT - COUNT // 4)
    assert memory.idle() == 0
    del held, near


@pooled
def test_what_waits_is_bounded_and_can_be_emptied() -> None:
    memory.keep_at_most(3 * memory.LARGE)
    held = [memory.empty(LIKE, COUNT) for _ in range(5)]
    assert memory.idle() == 0
    held.clear()
    assert memory.idle() == 3 * memory.LARGE
    memory.keep_at_most(memory.LARGE)
    assert memory.idle() == memory.LARGE
    memory.release()
    assert memory.idle() == 0
    memory.keep_at_most(0)
    memory.empty(LIKE, COUNT)
    assert memory.idle() == 0


def test_the_bound_is_a_number_of_bytes() -> None:
    with pytest.raises(InvalidType, match=r"number of bytes; got 1\.5"):
        memory.keep_at_most(1.5)
    with pytest.raises(InvalidValue, match=r"at least 0 bytes.*got -1"):
        memory.keep_at_most(-1)


@pooled
def test_no_memory_left(monkeypatch) -> None:
    """What waits is given back, and torch's allocator is asked; it has the last word."""
    memory.empty(LIKE, COUNT)

    def none(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("mmap.mmap", none)
    assert memory.empty(LIKE, 2 * COUNT).fill_(1.0).sum() == 2 * COUNT
    assert memory.idle() == 0
    with pytest.raises(RuntimeError, match="memory"):
        memory.empty(LIKE, 2**60)


def test_an_impossible_size_has_torchs_error() -> None:
    with pytest.raises(RuntimeError, match="memory"):
        memory.empty(LIKE, 2**60)


@pooled
def test_threads_never_hold_the_same_block() -> None:
    memory.keep_at_most(4 * memory.LARGE)
    stop = threading.Event()

    def work(own: int) -> int:
        rounds = 0
        while not stop.is_set():
            made = memory.empty(LIKE, COUNT + 1000 * (own % 3))
            made.fill_(own)
            mine = made[:: COUNT // 64]
            assert torch.equal(mine, torch.full_like(mine, own)), "another thread wrote it"
            rounds += 1
        return rounds

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, n) for n in range(8)]
        threading.Timer(1.5, stop.set).start()
        assert all(run.result() > 0 for run in running)
    assert memory.idle() <= 4 * memory.LARGE


@pooled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_each_process_has_its_own() -> None:
    held = memory.empty(LIKE, COUNT).fill_(3.0)
    memory.empty(LIKE, COUNT)
    child = os.fork()
    if child == 0:
        own = memory.empty(LIKE, COUNT).fill_(7.0)
        held.fill_(8.0)
        os._exit(0 if own[-1] == 7.0 and memory.idle() == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert torch.equal(held, torch.full_like(held, 3.0))
    assert memory.idle() == memory.LARGE


@pooled
@pytest.mark.parametrize("name", ["lstm", "min-gru"])
def test_results_stay_while_the_layer_is_called_again(name) -> None:
    """The first call's output, gradients and saved values, beside the same layer's in the loop engine."""
    layer = ostinato.Recurrent(name, 16, 128, bidirectional=True, engine="native", dtype=torch.float64)
    x, other = torch.randn(2, 100, 96, 16, dtype=torch.float64)
    output, _ = layer(x.requires_grad_())
    before = output.detach().clone()
    for _ in range(3):
        layer(other)[0].sum().backward()
    assert torch.equal(output, before)
    found = torch.autograd.grad(output.square().mean(), [x, *layer.parameters()])
    with ostinato.engine("loop"):
        expected = torch.autograd.grad(layer(x)[0].square().mean(), [x, *layer.parameters()])
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two)


@pooled
def test_a_layers_calls_need_no_more_blocks_than_the_first() -> None:
    layer = ostinato.LSTM(8, 64, 2, engine="native")
    x = torch.randn(300, 128, 8)
    waiting = []
    for _ in range(5):
        layer(x)[0].sum().backward()
        waiting.append(memory.idle())
    assert 0 < waiting[0] <= waiting[1] == waiting[-1], waiting


@pooled
def test_a_result_can_be_stored_shared_and_sent() -> None:
    made = memory.empty(LIKE, COUNT).copy_(torch.arange(COUNT))
    file = io.BytesIO()
    torch.save(made, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=True), made)
    shared = made.clone()
    assert torch.equal(made.share_memory_(), shared)
    assert made.is_shared()


@pooled
def test_blocks_begin_at_different_places_of_a_page() -> None:
    """Rows of several that a loop goes through at once would else lie in the same set of a cache."""
    held = [memory.empty(LIKE, COUNT) for _ in range(8)] + [memory.empty(LIKE, memory.HUGE) for _ in range(8)]
    places = sorted(made.data_ptr() % 4096 for made in held)
    apart = [b - a for a, b in zip(places, [*places[1:], places[0] + 4096], strict=True)]
    assert min(apart) >= 2 * memory.LINE, places


@pooled
def test_a_block_of_any_size_is_found_again() -> None:
    for size in (COUNT + 1, 2 * COUNT - 1, 5 * COUNT + 7, memory.HUGE, 25 * COUNT + 1):
        memory.release()
        memory.empty(LIKE, size)
        waits = memory.idle()
        held = memory.empty(LIKE, size)
        assert waits > 0
        assert memory.idle() == 0, size
        del held


@pooled
def test_a_block_comes_back_after_any_garbage_collection() -> None:
    made = memory.empty(LIKE, COUNT)
    gc.collect()
    del made
    assert memory.idle() == memory.LARGE


@pooled
def test_an_interpreter_ends_in_silence_whatever_is_still_held() -> None:
    program = "import torch, ostinato; from ostinato import memory; held = memory.empty(torch.zeros(1), 2**20)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pooled
@pytest.mark.parametrize(("kept", "free"), [(0, 8), (8, 0), (3, 5)])
def test_what_waits_beyond_some_blocks_is_the_systems_if_it_needs_it(monkeypatch, kept, free) -> None:
    def lazily_freed() -> int:
        with open("/proc/self/smaps") as file:
            lines = [line.split() for line in file if line.startswith("LazyFree:")]
        return 1024 * sum(int(line[1]) for line in lines)

    size = 8 * memory.HUGE
    monkeypatch.setattr(memory, "KEPT", kept * size)
    memory.keep_at_most(8 * size)
    held = [memory.empty(LIKE, size // 4).fill_(1.0) for _ in range(8)]
    before = lazily_freed()
    held.clear()
    assert memory.idle() == 8 * size
    assert abs(lazily_freed() - before - free * size) <= free * memory.HUGE


@pytest.mark.skipif(not hasattr(mmap, "MADV_FREE"), reason="a system that takes no marks")
@pooled
def test_it_is_large_blocks_that_are_marked(monkeypatch) -> None:
    """A call of the system for each small one, at every call of a layer, took as long as writing it."""
    monkeypatch.setattr(memory, "KEPT", 4 * memory.LARGE)
    memory.empty(LIKE, 9 * COUNT)
    for _ in range(3):
        memory.empty(LIKE, COUNT)
        assert [(block.size // memory.LARGE, block.free) for block in memory._waiting] == [(9, True), (1, False)]
    assert not memory.empty(LIKE, 9 * COUNT).fill_(1.0).sub(1.0).any(), "a marked block is used again"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pooled
def test_blocks_that_were_given_back_are_the_systems_again() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    size = 4 * memory.HUGE
    memory.keep_at_most(16 * size)
    held = [memory.empty(LIKE, size // 4).fill_(1.0) for _ in range(8)]
    full = resident()
    held.clear()
    memory.release()
    assert full - resident() > 7 * size
