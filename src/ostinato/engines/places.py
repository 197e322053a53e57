"""Where the buffers of a prepared call lie: which given tensor a param is, and what a forward keeps side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

from torch import Tensor

from ostinato.engines.compiled import Compiled


class Shape(NamedTuple):
    """T, B, I, and the width of the output."""

    steps: int
    rows: int
    input: int
    output: int


class Source(NamedTuple):
    """What a param is: the given tensor of this number, or rows of it."""

    tensor: int
    start: int = 0
    rows: int | None = None
    """None: all of them."""
    offset: int = 0
    """In bytes."""
    centred: bool = False
    """Whether it is that tensor less its mean over its rows."""

    def of(self, tensor: Tensor) -> Tensor:
        """It itself, out of the tensor it lies in."""
        return tensor if self.rows is None else tensor.narrow(0, self.start, self.rows)


class Block(NamedTuple):
    """One tensor that a forward keeps: buffers side by side."""

    width: int
    parts: tuple[tuple[str, int, int], ...]
    """Of each: its name, first column and width."""


def sources_of(compiled: Compiled, size: int) -> list[Source]:
    """What each param is made of; ``size``: the bytes of a number."""
    if compiled.computed is not None:
        return [Source(n) for n in range(len(compiled.params))]
    rows = {}
    for split in compiled.splits:
        for name, start, count in zip(split.names, accumulate(split.sizes, initial=0), split.sizes, strict=False):
            row = prod(compiled.program.prepare.outputs[name].shape[1:])
            rows[name] = Source(compiled.tensors.index(split.tensor), start, count, start * row * size)
    for name, tensor in compiled.centred.items():
        rows[name] = Source(compiled.tensors.index(tensor), centred=True)
    return [
        rows[name] if passed is None else Source(compiled.tensors.index(passed))
        for name, passed in zip(compiled.params, compiled.passed, strict=True)
    ]


def centred_of(sources: Sequence[Source]) -> list[int]:
    """The given tensors that are needed less their mean."""
    return sorted({source.tensor for source in sources if source.centred})


def params_in(compiled: Compiled, sources: Sequence[Source], words: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Of each param that a loop reads: its word, the number of the tensor it lies in, and from which byte of it.

    The tensors are those that a call is given, the cell's or what is computed of them, and then those of
    :func:`centred_of`, less their mean.
    """
    numbers = numbers_of(compiled, sources)
    return [
        (words[name], number, source.offset)
        for name, source, number in zip(compiled.params, sources, numbers, strict=True)
        if name in words
    ]


def numbers_of(compiled: Compiled, sources: Sequence[Source]) -> list[int]:
    """Of each param the number of the tensor it lies in, of those that :func:`params_in` names."""
    count, centred = len(compiled.tensors if compiled.computed is None else compiled.params), centred_of(sources)
    return [count + centred.index(source.tensor) if source.centred else source.tensor for source in sources]


def blocks_of(compiled: Compiled, widths: Mapping[str, int]) -> tuple[Block, ...]:
    """What a forward keeps: all saved values side by side, and each trajectory by itself."""
    saved = [name for name in widths if name.startswith("saved.")]
    blocks = [saved] if saved else []
    blocks += [[f"traj.{state}"] for state in compiled.kept_states]
    made = []
    for names in blocks:
        own = [widths[name] for name in names]
        made.append(Block(sum(own), tuple(zip(names, accumulate(own, initial=0), own, strict=False))))
    return tuple(made)


def write_params(words: Any, places: Sequence[tuple[int, int, int]], given: Sequence[Tensor]) -> list[Tensor]:
    """Tell a loop its params; ``places``: :func:`params_in`.

    Returns:
        What must live until the loop has run.
    """
    tensors = [t if t.is_contiguous() else t.contiguous() for t in given]
    for at, number, offset in places:
        words[at] = tensors[number].data_ptr() + offset
    return tensors
