"""Beam search: the likeliest sequences a decoder can write, found among the W best beginnings of each length.

Width 1 is greedy: always the likeliest next token. A width as large as the number of sequences is exhaustive search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ostinato.errors import InvalidValue

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""(tokens (N,), state) → (scores (N, V) of the next token, the state after)."""

Select = Callable[[Any, Tensor], Any]
"""(state of N rows, numbers (M,) of rows) → the state of those M rows."""


class Hypothesis(NamedTuple):
    """One sequence that was written.

    Args:
        tokens: without the end.
        score: ln p of the tokens and the end, divided by their number to the power asked for; the best is the highest.
        complete: whether the decoder ended it; otherwise it was cut at the limit.
    """

    tokens: list[int]
    score: float
    complete: bool


@dataclass(frozen=True)
class Search:
    """How far to look.

    Args:
        width: W, beginnings that are kept for each source.
        length_power: a score is ln p / length ** length_power: 0 prefers short sequences, 1 compares ln p a token
            (Y. Wu et al., Google's neural machine translation system, 2016, use a power of this kind).
        answers: so many of the best are wanted; at most W.
    """

    width: int = 5
    length_power: float = 1.0
    answers: int = 1

    def __post_init__(self) -> None:
        for name in ("width", "answers"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be a whole number of at least 1, got {getattr(self, name)!r}")
        if self.answers > self.width:
            raise InvalidValue(f"answers must be at most the width {self.width}, got {self.answers}")
        if not 0 <= self.length_power < float("inf"):
            raise InvalidValue(f"length_power must be a number that is at least 0, got {self.length_power}")


def beam_search(
    step: Step, select: Select, state: Any, limits: Tensor, start: int, end: int, search: Search, never: int | None
) -> list[list[Hypothesis]]:
    """The best sequences for each of B rows.

    A beginning leaves the beam when the end is among the W best continuations of its row. A row is finished when none
    in its beam can become better than the answers it has: ln p only falls, and no length divides it by more than the
    greatest. (Whoever stops at the W-th end stops too soon: a model that is sure of its way ends many unlikely ones
    beside it.) Of width 1 a row is finished at its first end. At its limit, only the end may follow.

    Args:
        step: the decoder. It is called with N = B·W rows, those of row b together from b·W on.
        select: chooses rows of the decoder's state.
        state: of B rows, before the first step.
        limits: (B,) the most tokens of each row.
        start: what the decoder reads first.
        end: the token that ends a sequence.
        search: the width and how lengths are compared.
        never: a token that is not to be written.

    Returns:
        For each row up to ``search.answers`` hypotheses, the best first; at least one.
    """
    rows, width = len(limits), search.width
    device = limits.device
    base = torch.arange(rows, device=device).unsqueeze(1) * width
    state = select(state, torch.arange(rows, device=device).repeat_interleave(width))
    # All W beams of a row begin alike, so only the first counts.
    totals = torch.full((rows, width), -torch.inf, dtype=torch.float64, device=device)
    totals[:, 0] = 0
    written = torch.zeros(rows, width, 0, dtype=torch.long, device=device)
    last = torch.full((rows * width,), start, device=device)
    ended: list[list[Hypothesis]] = [[] for _ in range(rows)]
    open_rows = set(range(rows))
    most = limits.tolist()
    for length in range(int(limits.max()) + 1 if rows else 0):
        scores, state = step(last, state)
        size = scores.shape[1]
        likely = torch.log_softmax(scores.double(), 1).view(rows, width, size)
        if never is not None:
            likely[:, :, never] = -torch.inf
        at_limit = limits <= length
        likely[at_limit, :, :end] = -torch.inf
        likely[at_limit, :, end + 1 :] = -torch.inf
        # W of the 2·W best can be the end's at most, so W go on.
        best, place = (totals.unsqueeze(2) + likely).flatten(1).topk(min(2 * width, width * size))
        beam, token = place // size, place % size
        ends = token == end
        _collect(ended, open_rows, best, beam, ends, written, search, most)
        # The first W that do not end, in their order; a stable sort of truth values is that.
        order = (ends | best.isneginf()).to(torch.uint8).sort(dim=1, stable=True).indices[:, :width]
        totals = best.masked_fill(ends, -torch.inf).gather(1, order)
        open_rows -= {row for row in open_rows if _finished(ended[row], float(totals[row, 0]), most[row], search)}
        if not open_rows:
            break
        beam, token = beam.gather(1, order), token.gather(1, order)
        if order.shape[1] < width:
            missing = width - order.shape[1]
            totals = torch.nn.functional.pad(totals, (0, missing), value=-torch.inf)
            beam, token = (torch.nn.functional.pad(t, (0, missing)) for t in (beam, token))
        written = torch.cat((written.gather(1, beam.unsqueeze(2).expand(-1, -1, length)), token.unsqueeze(2)), 2)
        state = select(state, (base + beam).flatten())
        last = token.flatten()
    return [found[: search.answers] for found in ended]


def _collect(
    ended: list[list[Hypothesis]],
    open_rows: set[int],
    best: Tensor,
    beam: Tensor,
    ends: Tensor,
    written: Tensor,
    search: Search,
    most: list[int],
) -> None:
    """Takes what has just ended among the W best of each row that is not finished; the best answers come first."""
    fresh = ends[:, : search.width] & ~best[:, : search.width].isneginf()
    values, beams, length = best.tolist(), beam.tolist(), written.shape[2]
    for row, rank in fresh.nonzero().tolist():
        if row in open_rows:
            tokens = written[row, beams[row][rank]].tolist()
            score = values[row][rank] / (length + 1) ** search.length_power
            ended[row].append(Hypothesis(tokens, score, length < most[row]))
            ended[row].sort(key=lambda one: -one.score)
            del ended[row][search.answers :]


def _finished(found: list[Hypothesis], highest: float, limit: int, search: Search) -> bool:
    """Whether no beginning can become one of the answers, the likeliest having ln p ``highest``."""
    if search.width == 1 and found:
        return True
    reachable = highest / (limit + 1) ** search.length_power
    return len(found) == search.answers and found[-1].score >= reachable
