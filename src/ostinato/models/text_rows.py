"""Texts as rows of token numbers: side by side in a tensor, similar lengths together, and how long an answer may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ostinato.data.tokens import SplitTokens, Tokens
from ostinato.data.vocabulary import Vocabulary

FREE_TOKENS = 10
"""A target may have so many tokens whatever the source's length."""


def unknown_of(tokens: Tokens) -> int | None:
    """The number of every token that is not known; None where all are."""
    return Vocabulary.unknown if isinstance(tokens, SplitTokens) else None


def padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    """(T, B) from B lists of at most T numbers, one of them at least.

    >>> padded([[1, 2], [3]], 9)
    tensor([[1, 3],
            [2, 9]])
    """
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows]).t().contiguous()


def ratio_of(pairs: Sequence[tuple[int, int]]) -> float:
    """The least ratio that allows every pair of lengths, source and target.

    >>> ratio_of([(20, 20), (5, 30)])
    4.0
    """
    return max((max(0, target - FREE_TOKENS) / max(1, source) for source, target in pairs), default=0.0)


def in_batches(rows: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Numbers of rows of similar length, at most ``most`` tokens at a time with their ends and padding, or one row.

    >>> list(in_batches([[1, 2, 3], [1], [1, 2]], 6))
    [[1, 2], [0]]
    """
    chosen: list[int] = []
    for row in sorted(range(len(rows)), key=lambda row: len(rows[row])):
        if chosen and (len(chosen) + 1) * (len(rows[row]) + 1) > most:
            yield chosen
            chosen = []
        chosen.append(row)
    if chosen:
        yield chosen


def shown(tokens: Tokens, text: str) -> list[str]:
    """The text's tokens, each a text of its own: also one that the model does not know."""
    if isinstance(tokens, SplitTokens):
        return tokens.split(text)
    return [tokens.decode([number]) for number in tokens.encode(text)]
