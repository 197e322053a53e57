"""The tape: every named value of a cell's own step, over time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells.cell import Cell
from ostinato.engines.call import Step
from ostinato.errors import CellError, InvalidType
from ostinato.layers.batch import Batch
from ostinato.layers.recurrent import Recurrent


class Track(Mapping[str, Tensor]):
    """One (layer, direction) of a tape: name → (T, B, ·), zero past a row's length; (T, ·) for unbatched input.

    Attributes:
        place: ``"l0"``, ``"l0_reverse"``, ``"l1"``, …
        steps: name → one tensor a step, in the graph if the tape was made with ``grad=True``.
    """

    def __init__(self, place: str, steps: dict[str, list[Tensor]], values: dict[str, Tensor]) -> None:
        self.place = place
        self.steps = steps
        self._values = values

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(f"the step of {self.place} names no value {name!r}; it names: {', '.join(self)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name} {tuple(value.shape)}" for name, value in self.items())
        return f"Track({self.place}: {inside})"


class Tape(Mapping[str, Track]):
    """What :func:`record` saw: ``tape["l0"]["f"]``; places are ``l{k}`` and ``l{k}_reverse``.

    Attributes:
        output, state: what the layer returned.
        lengths: (B,) if the input had lengths, else None.
    """

    def __init__(self, tracks: dict[str, Track], output: Any, state: Any, batch: Batch) -> None:
        self.output = output
        self.state = state
        self.lengths = None if batch.ragged is None else batch.ragged.lengths
        self._tracks = tracks
        self._batch = batch

    def gradient(self, loss: Tensor) -> Tape:
        """The tape of ∂loss/∂value for every named value, zero where the loss does not depend on it.

        Args:
            loss: a scalar computed from ``tape.output`` or ``tape.state`` of a tape made with ``grad=True``.

        Raises:
            InvalidType: the tape was made without ``grad=True``.
        """
        places = [(place, name) for place, track in self._tracks.items() for name in track]
        if not any(s.requires_grad for place, name in places for s in self[place].steps[name]):
            raise InvalidType("this tape holds values without a graph; make it with record(layer, x, grad=True)")
        flat = [s for place, name in places for s in self[place].steps[name]]
        wanted = [s for s in flat if s.requires_grad]
        found = iter(torch.autograd.grad(loss, wanted, allow_unused=True, retain_graph=True))
        grads = iter([next(found) if s.requires_grad else None for s in flat])
        tracks = {}
        for place, track in self._tracks.items():
            steps = {
                name: [g if (g := next(grads)) is not None else torch.zeros_like(s) for s in track.steps[name]]
                for name in track
            }
            tracks[place] = _track(place, steps, self._batch)
        return Tape(tracks, self.output, self.state, self._batch)

    def __getitem__(self, place: str) -> Track:
        try:
            return self._tracks[place]
        except KeyError:
            raise KeyError(f"the layer has no {place!r}; it has: {', '.join(self)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tracks)

    def __len__(self) -> int:
        return len(self._tracks)

    def __repr__(self) -> str:
        return "Tape(\n" + "".join(f"  {track!r},\n" for track in self._tracks.values()) + ")"


def record(
    layer: Recurrent,
    input: Tensor | PackedSequence,
    hx: Any = None,
    *,
    grad: bool = False,
    lengths: Any = None,
    condition: Any = None,
    **streams: Any,
) -> Tape:
    """Run a layer and keep every named value of its cell's own step.

    The names are those of the local variables in the cell's code when ``step`` returns: ``i, f, g, o, c, h`` for the
    LSTM, whatever a user's cell has; arguments (x, a stream) too, and the masks that a layer draws. A state's name
    always holds the new state. Values without a row axis, such as a weight computed in the step, and those whose width
    changes from step to step are left out.

    Args:
        layer: any recurrent layer of ours. It runs in the loop engine, in its present mode.
        input, hx, lengths, condition, streams: as for the layer's call.
        grad: keep the graph, so that values can be part of a loss, and :meth:`Tape.gradient` works.

    Returns:
        The tape: ``tape["l0"]["f"]`` is (T, B, ·), time first whatever ``batch_first`` says.

    Raises:
        InvalidType: ``layer`` is not a recurrent layer of ours.
        CellError: the cell's step is no Python function, so that nobody can look into it.

    Example:
        >>> tape = ostinato.record(ostinato.LSTM(4, 5), torch.randn(7, 2, 4), lengths=[7, 3])
        >>> list(tape["l0"])
        ['x', 'h', 'c', 'gates', 'i', 'f', 'g', 'o']
        >>> tape["l0"]["f"].shape
        torch.Size([7, 2, 5])
    """
    if not isinstance(layer, Recurrent):
        raise InvalidType(
            f"record needs a recurrent layer of ours, got {type(layer).__name__}; torch.nn's become ours with "
            "ostinato.replace_(model)"
        )
    watchers: dict[str, _Watcher] = {}

    def watch(place: str, cell: Cell) -> Step:
        watchers[place] = _Watcher(cell)
        return watchers[place]

    with torch.set_grad_enabled(grad):
        batch, output, state = layer.watched(watch, input, hx, lengths, condition, streams)
        tracks = {
            place: _track(place, watcher.in_time(place.endswith("_reverse")), batch)
            for place, watcher in watchers.items()
        }
    return Tape(tracks, output, state, batch)


def _track(place: str, steps: dict[str, list[Tensor]], batch: Batch) -> Track:
    values = {name: _over_time(values, batch) for name, values in steps.items()}
    return Track(place, steps, values)


def _over_time(steps: list[Tensor], batch: Batch) -> Tensor:
    steps = [s.unsqueeze(-1) if s.dim() == 1 else s for s in steps]
    value = torch.stack(steps) if batch.ragged is None else batch.ragged.unpack(torch.cat(steps))
    return value if batch.batched else value.squeeze(1)


class _Watcher:
    """A step that remembers its local variables."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.seen: list[dict[str, Tensor]] = []
        self.codes = {code for c in type(cell).__mro__ for code in _codes(c.__dict__.get("step"))}
        self.by_row: set[str] | None = None

    def __call__(self, x: Tensor, *states: Tensor, **given: Tensor) -> Any:
        values, result = self._watched(x, *states, **given)
        rows = x.shape[0]
        if self.by_row is None:
            self.by_row = self._rows(x, states, given, set(values))
        kept = {n: v for n, v in values.items() if n in self.by_row and v.dim() and v.shape[0] == rows}
        self.seen.append(kept)
        return result

    def in_time(self, backward: bool) -> dict[str, list[Tensor]]:
        """name → one tensor a step, from t = 0; names that some step did not reach are left out."""
        seen = self.seen[::-1] if backward else self.seen
        names = [
            name
            for name, first in (seen[0].items() if seen else ())
            if all(name in step and step[name].shape[1:] == first.shape[1:] for step in seen)
        ]
        return {name: [step[name] for step in seen] for name in names}

    def _watched(self, x: Tensor, *states: Tensor, **given: Tensor) -> tuple[dict[str, Tensor], Any]:
        frames: list[dict[str, Any]] = []
        with _on_return(self.codes, self.cell, frames):
            result = self.cell.step(x, *states, **given)
        if not frames:
            raise CellError(
                f"record cannot look into {type(self.cell).__name__}.step: it is compiled or not a Python function; "
                "record a cell whose step is the plain method"
            )
        output, new = self.cell.split(result)
        values: dict[str, Tensor] = {}
        # The outermost step returns last; what an inherited step named comes after its own names.
        for frame in reversed(frames):
            values.update({n: v for n, v in frame.items() if isinstance(v, Tensor) and n not in values})
        added = getattr(type(self.cell), "on_tape", {})
        values.update({shown: given[name] for name, shown in added.items() if name in given})
        values.update(zip(self.cell.state_names, new, strict=True))
        if self.cell.separate_output and not any(v is output for v in values.values()):
            values["output"] = output
        return values, result

    def _rows(self, x: Tensor, states: tuple[Tensor, ...], given: dict[str, Tensor], names: set[str]) -> set[str]:
        """The values with a row axis: those that grow by one row if the batch does."""
        rows = x.shape[0]
        if rows == 0:
            return names
        with torch.no_grad():
            more, _ = self._watched(
                torch.cat([x, x[:1]]),
                *(torch.cat([s, s[:1]]) for s in states),
                **{n: torch.cat([v, v[:1]]) for n, v in given.items()},
            )
        return {n for n in names if n in more and more[n].dim() and more[n].shape[0] == rows + 1}


def _codes(function: Any) -> Iterator[CodeType]:
    """The code of a step, and of what it wraps: decorated, partial, or plain."""
    while function is not None:
        function = getattr(function, "__func__", function)
        if code := getattr(function, "__code__", None):
            yield code
        function = getattr(function, "__wrapped__", None) or getattr(function, "func", None)


class _on_return:  # noqa: N801 - reads as a statement: with _on_return(...)
    """Collect the local variables of a cell's own step each time it returns."""

    def __init__(self, codes: set[CodeType], cell: Cell, frames: list[dict[str, Any]]) -> None:
        self.codes, self.cell, self.frames = codes, cell, frames

    def __enter__(self) -> None:
        self.before = sys.getprofile()
        sys.setprofile(self._see)

    def __exit__(self, *error: object) -> None:
        sys.setprofile(self.before)

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "return" and frame.f_code in self.codes:
            local = dict(frame.f_locals)
            owner = local.pop(frame.f_code.co_varnames[0], None)
            # The cell, or a view of it on the same parameters.
            if owner is self.cell or (isinstance(owner, Cell) and owner._parameters is self.cell._parameters):
                self.frames.append(local)
