"""Beam search against every sequence that can be written, scored one by one."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from ostinato.errors import InvalidValue
from ostinato.models.beam import Search, beam_search

TOKENS, END, START = 3, 3, 4
EVERY = 400
"""A width that no beam fills: 3 + 3² + 3³ + 3⁴ beginnings of at most four tokens."""


class Toy:
    """Scores that depend on the row and on all tokens so far: a linear recurrence with weights that were drawn."""

    def __init__(self, rows: int, end: float = 0.0) -> None:
        self.first = torch.randn(rows, 6, dtype=torch.float64)
        self.turn = torch.randn(6, 6, dtype=torch.float64) / 2
        self.read = torch.randn(START + 1, 6, dtype=torch.float64)
        self.out = 2 * torch.randn(6, TOKENS + 1, dtype=torch.float64)
        self.bias = torch.tensor([0.0] * TOKENS + [end], dtype=torch.float64)

    def step(self, tokens, state):
        state = torch.tanh(state @ self.turn + self.read[tokens])
        return state @ self.out + self.bias, state

    def log_probability(self, row: int, tokens) -> float:
        """ln p of the tokens and the end after them."""
        state, total = self.first[row : row + 1], 0.0
        for before, token in zip((START, *tokens), (*tokens, END), strict=True):
            scores, state = self.step(torch.tensor([before]), state)
            total += float(scores[0].log_softmax(0)[token])
        return total

    def search(self, limits, search, never=None):
        return beam_search(self.step, lambda s, r: s[r], self.first, torch.tensor(limits), START, END, search, never)


def every_sequence(toy, row: int, limit: int, power: float) -> dict[tuple[int, ...], float]:
    sequences = [tokens for length in range(limit + 1) for tokens in product(range(TOKENS), repeat=length)]
    return {tokens: toy.log_probability(row, tokens) / (len(tokens) + 1) ** power for tokens in sequences}


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
def test_a_wide_beam_is_exhaustive_search(power):
    toy, limits = Toy(3), (4, 2, 0)
    for row, found in enumerate(toy.search(limits, Search(EVERY, power, EVERY))):
        every = every_sequence(toy, row, limits[row], power)
        assert {tuple(one.tokens) for one in found} == set(every)
        assert [one.score for one in found] == pytest.approx(sorted(every.values(), reverse=True), abs=1e-9)
        for one in found:
            assert one.score == pytest.approx(every[tuple(one.tokens)], abs=1e-9)
            assert one.complete == (len(one.tokens) < limits[row])


def test_width_one_takes_the_likeliest_token_each_time():
    ends = 0
    for _ in range(20):
        toy = Toy(1, end=-1.0)
        state, token, expected = toy.first, START, []
        while len(expected) < 6:
            scores, state = toy.step(torch.tensor([token]), state)
            token = int(scores[0].argmax())
            if token == END:
                ends += 1
                break
            expected.append(token)
        ((found,),) = toy.search([6], Search(1))
        assert found.tokens == expected
        assert found.score == pytest.approx(toy.log_probability(0, expected) / (len(expected) + 1), abs=1e-9)
        assert found.complete == (len(expected) < 6)
    assert 0 < ends < 20


def plain_beam(toy, row: int, limit: int, width: int, answers: int) -> list[tuple[float, tuple[int, ...]]]:
    """The same search for one row, with lists: what the batched one is to find."""
    beams, ended = [(0.0, ())], []
    for length in range(limit + 1):
        more = []
        for total, tokens in beams:
            state = toy.first[row : row + 1]
            for before in (START, *tokens):
                scores, state = toy.step(torch.tensor([before]), state)
            likely = scores[0].log_softmax(0).tolist()
            more += [(total + p, (*tokens, t)) for t, p in enumerate(likely) if length < limit or t == END]
        more.sort(reverse=True)
        ended += [(total / (length + 1), tokens[:-1]) for total, tokens in more[:width] if tokens[-1] == END]
        ended = sorted(ended, reverse=True)[:answers]
        beams = [one for one in more[: 2 * width] if one[1][-1] != END][:width]
        if ended and width == 1:
            break
    return ended


@pytest.mark.parametrize(("width", "answers"), [(1, 1), (2, 1), (3, 3), (5, 2)])
def test_a_narrow_beam_for_rows_side_by_side(width, answers):
    """The plain one goes on to the limit, so that a row is seen not to stop too soon."""
    limits = [5, 3, 0, 4, 5]
    toy = Toy(5, end=0.5)
    found = toy.search(limits, Search(width, answers=answers))
    for row, limit in enumerate(limits):
        expected = plain_beam(toy, row, limit, width, answers)
        assert [tuple(one.tokens) for one in found[row]] == [tokens for _, tokens in expected]
        assert [one.score for one in found[row]] == pytest.approx([score for score, _ in expected], abs=1e-9)


def test_a_wider_beam_finds_what_a_narrow_one_misses():
    gained = 0
    for _ in range(30):
        toy = Toy(1)
        narrow, wide = (toy.search([4], Search(width, 0.0))[0][0].score for width in (1, EVERY))
        assert wide >= narrow - 1e-12
        gained += wide > narrow + 1e-9
    assert gained > 3


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_a_sure_way_is_not_lost_to_many_unlikely_ends(power):
    """The likeliest sequence has seven tokens of p 0.99 each, and at every step the end is the second best."""

    def step(tokens, state):
        scores = torch.tensor([0.99, 1e-6, 0.01]).log().repeat(len(tokens), 1)
        scores[state[:, 0] == 7] = torch.tensor([1e-6, 0.01, 0.99]).log()
        return scores, state + 1

    search = Search(3, power)
    ((found,),) = beam_search(step, lambda s, r: s[r], torch.zeros(1, 1), torch.tensor([20]), 3, 2, search, None)
    assert found.tokens == [0] * 7
    assert found.complete


def test_a_token_that_is_never_written():
    toy = Toy(2)
    free = toy.search([3, 3], Search(EVERY, answers=EVERY))
    assert any(1 in one.tokens for row in free for one in row)
    bound = toy.search([3, 3], Search(EVERY, answers=EVERY), never=1)
    assert all(1 not in one.tokens for row in bound for one in row)
    assert len(bound[0]) == 1 + 2 + 4 + 8


def test_no_rows():
    assert Toy(0).search([], Search(2)) == []


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
        ({"width": 2.5}, "width must be a whole number of at least 1, got 2.5"),
        ({"answers": 0}, "answers must be a whole number of at least 1, got 0"),
        ({"width": 2, "answers": 3}, "answers must be at most the width 2, got 3"),
        ({"length_power": -1.0}, "length_power must be a number that is at least 0, got -1.0"),
        ({"length_power": float("nan")}, "length_power must be a number that is at least 0, got nan"),
    ],
)
def test_values_outside_the_rule(arguments, rule):
    with pytest.raises(InvalidValue, match=rule):
        Search(**arguments)
