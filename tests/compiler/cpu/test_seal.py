"""A seal on memory breaks whatever is written to it, and however little."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.compiler.cpu import jit, seal, targets
from ostinato.compiler.cpu.seal import Seal
from tests.compiler.cpu.kernels import on

EDGES = st.one_of(st.integers(0, 70), st.sampled_from([127, 128, 129, 255, 256, 257, 1000]))


@pytest.fixture(autouse=True)
def every_size_is_shared(monkeypatch):
    monkeypatch.setattr(seal, "SHARED", 0)
    yield
    torch.set_num_threads(1)


def sealed(*pieces: torch.Tensor):
    """A function that says whether they hold what they held."""
    made = Seal([piece.nbytes for piece in pieces])
    assert not made.holds([piece.data_ptr() for piece in pieces]), "the first time"
    return lambda: made.holds([piece.data_ptr() for piece in pieces])


@given(sizes=st.lists(EDGES, min_size=1, max_size=4), threads=st.integers(1, 3), data=st.data())
@settings(max_examples=100, deadline=None)
def test_one_changed_bit_breaks_it(sizes, threads, data) -> None:
    torch.set_num_threads(threads)
    pieces = [torch.randint(-(2**31), 2**31, (size,), dtype=torch.int32) for size in sizes]
    holds = sealed(*pieces)
    assert holds()
    piece = data.draw(st.sampled_from(pieces))
    if len(piece):
        piece[data.draw(st.integers(0, len(piece) - 1))] ^= 1 << data.draw(st.integers(0, 30))
        assert not holds()
    assert holds()


@pytest.mark.parametrize("size", [7, 64, 1000, 4096])
def test_what_users_do_to_weights(size) -> None:
    weight = torch.randn(size)
    holds = sealed(weight)
    assert holds()
    for change in (
        lambda: weight.neg_(),
        lambda: weight.mul_(1.0 + 2**-20),
        lambda: weight.copy_(weight.flip(0)),
        lambda: weight.copy_(weight.roll(1)),
        lambda: weight[: size // 2].neg_(),
        lambda: weight[1::2].neg_(),
        lambda: weight[::64].neg_(),
        lambda: weight.zero_(),
        lambda: weight[:1].copy_(torch.tensor(-0.0)),
        lambda: weight[-1:].fill_(torch.nan),
    ):
        change()
        assert not holds()
        assert holds()


def test_exchanged_pieces_break_it_and_moved_ones_do_not() -> None:
    one, two = torch.randn(100), torch.randn(100)
    moved = one.clone()
    made = Seal([400, 400])
    made.holds([one.data_ptr(), two.data_ptr()])
    assert made.holds([moved.data_ptr(), two.data_ptr()])
    assert not made.holds([two.data_ptr(), one.data_ptr()])


def test_no_more_is_read_than_there_is() -> None:
    around = torch.full((200,), torch.nan)
    piece = around[3:136]
    piece.copy_(torch.randn(133))
    holds = sealed(piece)
    around[2], around[136] = 1.0, 1.0
    assert holds()


def test_sums_of_the_same_memory_never_meet_by_chance() -> None:
    """Of 20,000 pieces that differ in few values, all in one lane, no two have the same sums."""
    piece, found = torch.zeros(512), set()
    made = Seal([piece.nbytes])
    for number in range(20_000):
        piece[:512:64] = torch.randint(-2, 3, (8,), generator=torch.Generator().manual_seed(number)).float()
        made.holds([piece.data_ptr()])
        found.add((made._last, tuple(piece[:512:64].tolist())))
    assert len({sums for sums, _ in found}) == len({values for _, values in found})


@pytest.mark.parametrize("family", [f for f in targets.FAMILIES if f != "neon"])
def test_narrower_processors(family) -> None:
    with on(family, seal._function):
        for size in (1, 31, 64, 333):
            piece = torch.randn(size)
            holds = sealed(piece)
            assert holds()
            piece[size // 2] += 1.0
            assert not holds()


def test_arm_has_the_text_too() -> None:
    target = targets.named("neon", "aarch64-unknown-linux-gnu")
    assert "run:" in jit.assembly(seal.text(target), target)


def test_it_is_xxhashs_round() -> None:
    """A single word, beside the sum worked out with Python's integers."""
    piece = torch.tensor([123456789], dtype=torch.int32)
    made = Seal([4])
    made.holds([piece.data_ptr()])
    total = (4 + 123456789 * seal.SECOND) % 2**64
    total = ((total << seal.TURN) | (total >> (64 - seal.TURN))) % 2**64 * seal.FIRST % 2**64
    assert made._last[-8:] == total.to_bytes(8, "little")
