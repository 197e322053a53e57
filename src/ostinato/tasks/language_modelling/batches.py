"""Batches of a token stream: B readers at B places of the text, moving on side by side, T tokens a step.

Batch number n is a function of the seed and n alone, so a run goes on anywhere without replaying what came before.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ostinato.tasks.language_modelling.corpus import Corpus


class Batch(NamedTuple):
    """What one training step reads.

    Args:
        inputs: (T, B) token numbers, int64.
        targets: (T, B) the token after each.
        fresh: whether the readers have just been placed anew, so that the state before does not belong to them.
    """

    inputs: Tensor
    targets: Tensor
    fresh: bool


class Batches:
    """The training batches by number.

    In an epoch the readers start evenly spaced, at an offset drawn from the seed and the epoch's number, and walk until
    each has come to where its neighbour started; the text is read as a ring.

    Args:
        corpus: the text.
        batch_size: B, readers.
        sequence_length: T, tokens a step.
        seed: decides the offsets.
    """

    def __init__(self, corpus: Corpus, batch_size: int, sequence_length: int, seed: int) -> None:
        self.corpus = corpus
        self.batch_size = batch_size
        self.sequence_length = sequence_length
        self.seed = seed

    @property
    def per_epoch(self) -> int:
        """Batches until every token has been read about once."""
        return batches_per_epoch(len(self.corpus.training), self.batch_size, self.sequence_length)

    def __getitem__(self, number: int) -> Batch:
        """Batch ``number``, whatever was read before."""
        tokens = self.corpus.training
        epoch, step = divmod(number, self.per_epoch)
        offset = self._offset(epoch)
        block = torch.zeros(self.batch_size, self.sequence_length + 1, dtype=torch.long)
        for reader in range(self.batch_size):
            start = (offset + len(tokens) * reader // self.batch_size + step * self.sequence_length) % len(tokens)
            piece = torch.from_numpy(tokens[start : start + block.shape[1]].astype("int64"))
            block[reader, : len(piece)] = piece
            if (rest := block.shape[1] - len(piece)) > 0:
                block[reader, len(piece) :] = torch.from_numpy(tokens[:rest].astype("int64"))
        block = block.t().contiguous()
        return Batch(block[:-1], block[1:], step == 0)

    def _offset(self, epoch: int) -> int:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % (1 << 63))
        return int(torch.randint(len(self.corpus.training), (1,), generator=generator))


def batches_per_epoch(tokens: int, batch_size: int, sequence_length: int) -> int:
    """How many batches read ``tokens`` tokens about once.

    >>> batches_per_epoch(100_000, batch_size=10, sequence_length=100)
    100
    """
    return max(1, tokens // batch_size // sequence_length)
