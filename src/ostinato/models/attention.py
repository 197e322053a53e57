"""Attention: how much each place of the source counts for one step of the decoder, and what is read there.

A query is compared with a key for each place; a softmax over the places makes weights of the comparisons; the context
is the mean of the memory under those weights. Keys are computed once a source, however many steps ask.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """score(q, k) = v · tanh(W_q q + W_k k): a small network compares.

    D. Bahdanau, K. Cho, Y. Bengio, Neural machine translation by jointly learning to align and translate, ICLR 2015.
    A whole target against a whole source holds T·B·S·A numbers.

    >>> attention = AdditiveAttention(6, 8, 4)
    >>> keys = attention.keys(torch.randn(5, 2, 8))
    >>> attention.scores(torch.randn(3, 2, 6), keys).shape
    torch.Size([2, 3, 5])

    Args:
        query_size: width of the decoder's output.
        memory_size: width of the encoder's output.
        size: A, the width in which they are compared.
        device: of the parameters.
    """

    def __init__(
        self, query_size: int, memory_size: int, size: int, *, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False, device=device)
        self.key = nn.Linear(memory_size, size, device=device)
        self.v = nn.Linear(size, 1, bias=False, device=device)

    def keys(self, memory: Tensor) -> Tensor:
        """memory (S, B, M) → (S, B, A)."""
        return self.key(memory)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """query (T, B, Q), keys (S, B, A) → (B, T, S)."""
        both = self.query(query).transpose(0, 1).unsqueeze(2) + keys.transpose(0, 1).unsqueeze(1)
        return self.v(torch.tanh(both)).squeeze(3)


class MultiplicativeAttention(nn.Module):
    """score(q, k) = q · W k / √Q: one product of matrices for all steps and places.

    T. Luong, H. Pham, C. D. Manning, Effective approaches to attention-based neural machine translation, EMNLP 2015,
    their "general" score; divided by √Q as in A. Vaswani et al., Attention is all you need, NeurIPS 2017, so that
    the weights of a wide network begin no sharper than those of a narrow one.

    >>> attention = MultiplicativeAttention(6, 8)
    >>> keys = attention.keys(torch.randn(5, 2, 8))
    >>> attention.scores(torch.randn(3, 2, 6), keys).shape
    torch.Size([2, 3, 5])

    Args:
        query_size: Q, width of the decoder's output.
        memory_size: width of the encoder's output.
        device: of the parameters.
    """

    def __init__(self, query_size: int, memory_size: int, *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.key = nn.Linear(memory_size, query_size, bias=False, device=device)

    def keys(self, memory: Tensor) -> Tensor:
        """memory (S, B, M) → (S, B, Q)."""
        return self.key(memory)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """query (T, B, Q), keys (S, B, Q) → (B, T, S)."""
        return torch.matmul(query.transpose(0, 1), keys.permute(1, 2, 0)) / math.sqrt(query.shape[2])


Attention = AdditiveAttention | MultiplicativeAttention


def weigh(scores: Tensor, inside: Tensor) -> Tensor:
    """The weights: a softmax over the places of each row; 0 past its end, and everywhere in a row of length 0.

    >>> weigh(torch.zeros(1, 1, 3), torch.tensor([[True, True, False]]))
    tensor([[[0.5000, 0.5000, 0.0000]]])

    Args:
        scores: (B, T, S).
        inside: (B, S) whether a place lies within its row.
    """
    inside = inside.unsqueeze(1)
    # Not −∞: the softmax of a row with no place at all would be NaN, and so would its gradient.
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~inside, lowest).softmax(2).masked_fill(~inside, 0)


def context(weights: Tensor, memory: Tensor) -> Tensor:
    """weights (B, T, S), memory (S, B, M) → the weighted means (T, B, M)."""
    return torch.matmul(weights, memory.transpose(0, 1)).transpose(0, 1)
