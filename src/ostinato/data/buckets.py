"""Batches of sequences of similar length, so that little is padded and one long sequence does not fill the memory.

Rows are sorted by length once and cut into buckets, within which lengths differ little. Every epoch shuffles each
bucket, cuts it into batches, and shuffles the batches. A batch costs its rows times its longest sequence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.errors import DataError, InvalidValue

SPREAD, SLACK = 1.25, 4
"""The longest sequence of a bucket is at most ``SPREAD`` times its shortest and ``SLACK`` steps more."""

MERGED = 2.0
"""A bucket with too few rows for half a batch joins the next if lengths then differ by no more than this factor."""


def bucketed(
    lengths: Sequence[int] | Tensor,
    *,
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    seed: int = 0,
    where: Callable[[int], str] | None = None,
) -> Buckets:
    """Batches of rows with these lengths.

    >>> plan = bucketed([3, 100_000, 4, 3, 5, 4], batch_tokens=20)
    >>> len(plan), sorted(plan.batch(0).tolist()) == sorted(plan.batch(0).tolist())
    (3, True)
    >>> [rows.tolist() for rows in plan.in_order()]
    [[0, 3, 2], [5, 4], [1]]

    Args:
        lengths: (N,) steps of each row.
        batch_size: most rows a batch.
        batch_tokens: most rows × longest a batch; a sequence longer than that is alone in its batch. At least one of
            the two is given.
        seed: decides the order.
        where: the file and line of a row, for the message.

    Raises:
        DataError: a sequence without a step.
    """
    if batch_size is None and batch_tokens is None:
        raise InvalidValue("batch_size or batch_tokens must be given, got neither")
    for name, value in (("batch_size", batch_size), ("batch_tokens", batch_tokens)):
        if value is not None and value < 1:
            raise InvalidValue(f"{name} must be at least 1, got {value}")
    length = torch.as_tensor(lengths, dtype=torch.int64)
    if len(length) == 0:
        raise DataError("there are no sequences to make batches of")
    if int(length.min()) < 1:
        row = int(length.argmin())
        raise DataError(f"{where(row) if where else f'row {row}'} has a sequence of length 0; leave it out")
    order = torch.sort(length, stable=True).indices
    return Buckets(_cut(order, length[order].tolist(), batch_size, batch_tokens), seed)


@dataclass(frozen=True)
class _Bucket:
    rows: Tensor
    batches: int

    def cut(self, order: Tensor) -> list[Tensor]:
        """Batches whose sizes differ by one at most."""
        return list(torch.tensor_split(self.rows[order], self.batches))


class Buckets:
    """Batches by number; made by :func:`bucketed`."""

    def __init__(self, buckets: list[_Bucket], seed: int) -> None:
        self._buckets = buckets
        self._seed = seed
        self._epoch: tuple[int, list[Tensor]] | None = None

    def __len__(self) -> int:
        """Batches an epoch; each row is in one of them."""
        return sum(bucket.batches for bucket in self._buckets)

    def batch(self, step: int) -> Tensor:
        """(B,) the rows of training batch number ``step``: a pure function of the seed and the step."""
        epoch, index = divmod(step, len(self))
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._shuffled(epoch))
        return self._epoch[1][index]

    def in_order(self) -> Iterator[Tensor]:
        """All rows once, shortest first: for validation, where nothing is to be random."""
        for bucket in self._buckets:
            yield from bucket.cut(torch.arange(len(bucket.rows)))

    def _shuffled(self, epoch: int) -> list[Tensor]:
        digest = hashlib.blake2b(f"{self._seed} {epoch}".encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
        batches = [
            batch
            for bucket in self._buckets
            for batch in bucket.cut(torch.randperm(len(bucket.rows), generator=generator))
        ]
        return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def _cut(order: Tensor, lengths: list[int], batch_size: int | None, batch_tokens: int | None) -> list[_Bucket]:
    """Buckets of rows in ascending order of their lengths."""

    def size(longest: int) -> int:
        bound = len(lengths) if batch_tokens is None else max(1, batch_tokens // longest)
        return bound if batch_size is None else min(bound, batch_size)

    ends: list[int] = []
    start = 0
    for index in range(1, len(lengths) + 1):
        if index == len(lengths) or lengths[index] > lengths[start] * SPREAD + SLACK:
            first = ends[-2] if len(ends) > 1 else 0
            longest = lengths[index - 1]
            if ends and start - first < size(longest) / 2 and longest <= MERGED * lengths[first] + SLACK:
                ends[-1] = index
            else:
                ends.append(index)
            start = index
    starts = [0, *ends[:-1]]
    return [
        _Bucket(order[start:end], -(-(end - start) // size(lengths[end - 1])))
        for start, end in zip(starts, ends, strict=True)
    ]
