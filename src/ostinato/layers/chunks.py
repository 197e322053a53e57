"""A long sequence a few steps at a time: truncated back-propagation, and sequences longer than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import checks
from ostinato.engines.ragged import as_counts, check_lengths
from ostinato.errors import InvalidShape, InvalidType, InvalidValue
from ostinato.layers.recurrent import Recurrent
from ostinato.layers.states import map_network


class Chunk(NamedTuple):
    """What :func:`ostinato.chunks` yields for a few steps.

    Attributes:
        output: the layer's output at these steps, in the order of the input.
        state: the state after them. It is still part of the graph; what the next chunk begins with is not.
    """

    output: Tensor
    state: Any


def chunks(
    layer: Recurrent,
    x: Tensor | Iterable[Tensor],
    k: int,
    *,
    hx: Any = None,
    lengths: Tensor | Sequence[int] | None = None,
    condition: Any = None,
    reset: Any = None,
    **streams: Any,
) -> Iterator[Chunk]:
    """Run a layer over a sequence k steps at a time, with the state carried on and the graph cut between.

    For truncated back-propagation through time (Williams & Peng 1990): the loss of a chunk is differentiated, and an
    optimizer may step, before the next chunk is computed. For sequences longer than memory: ``x`` is then a tensor
    mapped from a file, or anything that yields blocks of steps. It is equal to::

        for part in x.split(k):
            output, state = layer(part, state)
            yield output, state
            state = state.detach()

    What a layer draws once a call (a dropout mask that holds for a sequence, dropped weights) is drawn once a chunk.

    Args:
        layer: any recurrent layer of ours that runs in one direction.
        x: (T, B, I), (B, T, I) with batch_first, (T, I) unbatched; or an iterable of such blocks with any numbers of
            steps, which are cut and joined to k.
        k: the steps of a chunk; the last one has what is left.
        hx: the state to begin with, as for the layer; the first chunk's gradients reach it.
        lengths: (B,), as for the layer; a row that has ended keeps its state, and puts out zeros.
        condition: as for the layer: what its ``initial_state`` module is called with.
        reset: (T, B), as for the layer: where rows restart; cut like ``x``, or an iterable of blocks.
        streams: the keyword-only parameters of the cell's step: (T, B, ·) a value a step, or an iterable of blocks,
            is cut like ``x``; (B, ·) a value a sequence.

    Yields:
        ``(output, state)`` of each chunk, as the layer returns them.

    Raises:
        InvalidType: ``layer`` is no recurrent layer of ours; ``x`` or a stream is neither a tensor nor blocks.
        InvalidValue: the layer is bidirectional; k is no number of steps; a length is beyond T (of blocks: when they
            have ended); the initial state is computed from the whole input.
        InvalidShape: a stream with another number of steps than ``x``.

    Example:
        >>> rnn, head = ostinato.LSTM(4, 8), torch.nn.Linear(8, 1)
        >>> sgd = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.1)
        >>> x, y = torch.randn(50, 2, 4), torch.randn(50, 2, 1)
        >>> for (output, state), target in zip(ostinato.chunks(rnn, x, 20), y.split(20)):
        ...     sgd.zero_grad()
        ...     torch.nn.functional.mse_loss(head(output), target).backward()
        ...     sgd.step()
        >>> output.shape
        torch.Size([10, 2, 8])
        >>> blocks = (torch.randn(n, 2, 4) for n in (7, 30, 1))
        >>> [len(output) for output, _ in ostinato.chunks(rnn, blocks, 16)]
        [16, 16, 6]
    """
    if reset is not None and "reset" in layer._streams:
        streams, reset = streams | {"reset": reset}, None
    name = _check_layer(layer, hx is not None and reset is None, condition)
    checks.size("k", k)
    source = _Source(name, "x", x, layer.batch_first)
    if source.ahead is not None:
        checks.width(name, "x", source.ahead, layer.input_size, "input_size")
    checks.stream_names(layer.cell_type.__name__, layer._streams, streams)
    along, constants = {}, {}
    for key, value in streams.items():
        if isinstance(value, Tensor) and value.dim() != source.rank:
            constants[key] = value
        else:
            along[key] = _Source(name, key, value, layer.batch_first)
            along[key].check_steps(source)
    if reset is not None:
        along["reset"] = _Source(name, "reset", reset, layer.batch_first, flags=True)
        along["reset"].check_steps(source)
    counts = None if lengths is None else _lengths(lengths, source)
    return _run(layer, source, k, hx, counts, along, constants | {"condition": condition})


def _run(
    layer: Recurrent,
    source: _Source,
    k: int,
    hx: Any,
    lengths: Tensor | None,
    along: Mapping[str, _Source],
    constants: Mapping[str, Any],
) -> Iterator[Chunk]:
    done = 0
    while (part := source.take(k, done == 0)) is not None:
        steps = part.shape[source.time]
        left = None if lengths is None else (lengths - done).clamp(0, steps)
        streams = {name: value.take_exactly(steps) for name, value in along.items()}
        output, state = layer(part, hx, lengths=left, **streams, **constants)
        yield Chunk(output, state)
        hx = map_network(Tensor.detach, state)
        done += steps
        del part, output, state, streams  # what the caller let go of need not live while the next chunk is computed
        if not steps:
            break
    if lengths is not None and len(lengths) and done < int(lengths.max()):
        raise InvalidValue(f"{source.owner}: lengths go up to {int(lengths.max())}, and x has ended after {done} steps")
    for value in along.values():
        value.check_end(done)


def _check_layer(layer: Any, begins: bool, condition: Any) -> str:
    """The name for messages; ``begins``: whether the state to begin with is given, and no row restarts."""
    if not isinstance(layer, Recurrent):
        raise InvalidType(f"chunks needs a recurrent layer of ours, got {type(layer).__name__}")
    name = f"chunks of {type(layer).__name__}"
    if layer.bidirectional:
        raise InvalidValue(
            f"{name}: a bidirectional layer reads the whole sequence from its end before it can put out the first "
            "step, so that there is no state to carry from chunk to chunk; use a layer made with bidirectional=False, "
            "or call this one on whole sequences (recompute='chunks' saves memory there)"
        )
    if isinstance(layer.initial_state, nn.Module) and not begins and condition is None:
        raise InvalidValue(
            f"{name}: the layer's initial state is computed by a module, from a whole input or a condition, and a "
            "chunk is no whole input; give condition=…, or hx=… where no row restarts"
        )
    return name


def _lengths(lengths: Any, source: _Source) -> Tensor:
    """The lengths on the CPU, checked as far as what is known of x tells."""
    if (x := source.whole) is not None:
        rows = 1 if x.dim() == 2 else x.shape[1 - source.time]
        return check_lengths(lengths, x.shape[source.time], rows, x.dim() == 3)
    counts = as_counts(lengths)
    rows = 1 if counts.dim() == 0 else counts.shape[0]
    return check_lengths(lengths, torch.iinfo(torch.int64).max, rows, counts.dim() > 0)


class _Source:
    """Steps that are taken a few at a time, from one tensor or from an iterable of blocks.

    Attributes:
        whole: the tensor, None for blocks.
        ahead: the block that comes next, where it is known already.
        rank: of the blocks.
        time: the axis of steps.
    """

    def __init__(self, owner: str, name: str, value: Any, batch_first: bool, flags: bool = False) -> None:
        self.owner, self.name = owner, name
        self._batched = 2 if flags else 3  # the rank of a block of several rows
        self.whole = value if isinstance(value, Tensor) else None
        if isinstance(value, PackedSequence):
            raise InvalidType(
                f"{owner}: {name} is a PackedSequence, which is laid out for calls on whole sequences; give the padded "
                "tensor (torch.nn.utils.rnn.pad_packed_sequence) and lengths="
            )
        if not isinstance(value, Iterable) or isinstance(value, (str, bytes, dict)):
            raise InvalidType(
                f"{owner}: {name} must be a tensor or an iterable of tensors, blocks of steps, got "
                f"{type(value).__name__}"
            )
        self._blocks = iter([value] if self.whole is not None else value)
        self._taken = 0
        self.rank: int | None = None
        self.ahead = self._next()
        self.time = 1 if batch_first and self.rank == self._batched else 0

    def take(self, k: int, empty: bool = False) -> Tensor | None:
        """The next k steps, fewer at the end; None when there are none, unless an empty block may stand for them."""
        parts: list[Tensor] = []
        missing = k
        while missing:
            block = self.ahead if self.ahead is not None else self._next()
            self.ahead = None
            if block is None:
                break
            steps = block.shape[self.time]
            if steps > missing:
                self.ahead = block.narrow(self.time, missing, steps - missing)
                block = block.narrow(self.time, 0, missing)
            parts.append(block)
            missing -= block.shape[self.time]
        full = [part for part in parts if part.shape[self.time]] or (parts[:1] if empty else [])
        self._taken += k - missing
        if not full:
            return None
        return full[0] if len(full) == 1 else torch.cat(full, self.time)

    def take_exactly(self, steps: int) -> Tensor:
        part = self.take(steps) if steps else self.take(1, empty=True)
        if part is None or part.shape[self.time] != steps:
            raise InvalidShape(f"{self.owner}: {self.name} has ended after {self._taken} steps, and x goes on")
        return part

    def check_steps(self, x: _Source) -> None:
        """A tensor has as many steps as x; a stream in blocks tells when it ends."""
        if self.whole is not None and x.whole is not None:
            own, expected = self.whole.shape[self.time], x.whole.shape[x.time]
            if own != expected:
                raise InvalidShape(f"{self.owner}: {self.name} must have the {expected} steps of x, got {own}")

    def check_end(self, done: int) -> None:
        if self.take(1) is not None:
            raise InvalidShape(f"{self.owner}: {self.name} goes on, and x has ended after {done} steps")

    def _next(self) -> Tensor | None:
        block = next(self._blocks, None)
        if block is None:
            return None
        if not isinstance(block, Tensor):
            raise InvalidType(
                f"{self.owner}: the blocks of {self.name} must be tensors, got {type(block).__name__}; "
                "torch.from_numpy shares an array's memory"
            )
        what = self.name if self.whole is not None else f"a block of {self.name}"
        checks.rank(self.owner, what, block, (self._batched - 1, self._batched) if self.rank is None else (self.rank,))
        self.rank = block.dim()
        return block
