"""What all kernels call: copying, waiting, and the table they find it through."""

from __future__ import annotations

import ctypes
import threading

import pytest
import torch

from ostinato.compiler.cpu import jit, shared, targets, threads
from ostinato.compiler.cpu.targets import Target
from tests.compiler.cpu.kernels import ELEMENTS, here

POINTER, NUMBER = ctypes.c_void_p, ctypes.c_int64
families = pytest.mark.parametrize("target", here(), ids=lambda target: target.name)
elements = pytest.mark.parametrize("element", ELEMENTS)


def function(made: shared.Shared, name: str, *kinds: type) -> ctypes._CFuncPtr:
    return ctypes.CFUNCTYPE(None, *kinds)(made.table[shared.TABLE.index(name)])


def test_a_table_is_made_once_and_tells_where_all_of_it_is() -> None:
    made = shared.shared("float", targets.host())
    assert made is shared.shared("float", targets.host())
    assert made is not shared.shared("double", targets.host())
    assert all(made.table[n] == made.loaded[name] for n, name in enumerate(shared.FUNCTIONS))
    assert made.table[shared.TABLE.index("patience")] == threads.patience()
    assert made.address == ctypes.addressof(made.table)


@elements
@pytest.mark.parametrize("family", targets.FAMILIES)
def test_it_needs_nothing_from_outside(family: str, element: str) -> None:
    triple = "aarch64-unknown-linux-gnu" if family == "neon" else "x86_64-unknown-linux-gnu"
    target = targets.named(family, triple)
    assert jit.undefined_symbols(jit.compile(shared.text(element, target), target)) == []


@families
@elements
def test_a_copy_is_of_these_elements_and_no_others(element: str, target: Target) -> None:
    copy = function(shared.shared(element, target), "copy", POINTER, POINTER, NUMBER, NUMBER)
    source = torch.arange(100, dtype=ELEMENTS[element])
    for low, high in [(0, 0), (0, 1), (3, 4), (1, 16), (1, 17), (0, 64), (5, 100), (40, 39), (99, 3), (20, 0)]:
        target_ = torch.full((100,), -1, dtype=ELEMENTS[element])
        copy(source.data_ptr(), target_.data_ptr(), low, high)
        expected = torch.full_like(target_, -1)
        expected[low:high] = source[low:high]
        assert torch.equal(target_, expected), (low, high)


@families
@elements
@pytest.mark.parametrize("inner", [1, 3, 16, 37])
def test_columns_come_in_the_order_a_kernel_reads_them(inner: int, element: str, target: Target) -> None:
    """(columns, K) or (K, columns) → (K, step), for one vector of columns; what is not written stays."""
    made, lanes, step = shared.shared(element, target), target.lanes(element), 3 * target.lanes(element)
    torch.manual_seed(inner)
    weight = torch.randn(lanes, inner, dtype=ELEMENTS[element])
    kinds = POINTER, NUMBER, NUMBER, POINTER, NUMBER, NUMBER, NUMBER
    for name, source, across, along, columns in (
        ("turn", weight, inner, 1, lanes),
        ("lines", weight.T.contiguous(), 1, lanes, lanes),
        ("pick", weight, inner, 1, lanes // 2),
        ("pick", weight, inner, 1, 0),
    ):
        place = torch.full((inner * step + lanes,), 7, dtype=ELEMENTS[element])
        place = place[(-place.data_ptr() // place.element_size()) % lanes :]  # whole vectors are written
        function(made, name, *kinds)(source.data_ptr(), across, along, place.data_ptr(), step, inner, columns)
        got = place[: inner * step].view(inner, step)
        expected = torch.full_like(got, 7)
        expected[:, :lanes] = 0
        expected[:, :columns] = weight[:columns].T
        assert torch.equal(got, expected), name


def test_threads_that_meet_have_all_come() -> None:
    """No thread is past the n-th meeting before all have come to it, with more threads than processors, too."""
    made, parties, meetings = shared.shared("float", targets.host()), 5, 200
    meet = function(made, "meet", POINTER, POINTER, NUMBER)
    words = torch.zeros(32, dtype=torch.int64)
    come, early = [0] * parties, []

    def run(number: int) -> None:
        for meeting in range(1, meetings + 1):
            come[number] = meeting
            meet(words.data_ptr(), made.address, parties)
            if min(come) < meeting:
                early.append((number, meeting, list(come)))

    team = [threading.Thread(target=run, args=(number,)) for number in range(parties)]
    for one in team:
        one.start()
    for one in team:
        one.join(60)
    assert come == [meetings] * parties
    assert not early
