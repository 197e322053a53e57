"""A layer in real time: one frame in, one frame out, on weights that are packed once."""

from __future__ import annotations

import os
import threading
from functools import cache
from operator import attrgetter
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch._C import _get_tracing_state, _len_torch_dispatch_stack
from torch._C._functorch import peek_interpreter_stack
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from ostinato.cells import checks
from ostinato.compiler.refusal import Refused
from ostinato.engines import choose, known, native, stepping, tracing, widths
from ostinato.errors import EngineError, InvalidType, InvalidValue
from ostinato.layers import between, states
from ostinato.layers.recurrent import Recurrent
from ostinato.layers.resets import of_bools

VERSION = attrgetter("_version")

_living: WeakSet[Stream] = WeakSet()

_traceless = 0
"""Steps of fused optimizers so far: they write to parameters, and no version tells."""


def _stepped(optimizer: Optimizer, *_: Any) -> None:
    global _traceless
    _traceless += any(group.get("fused") for group in optimizer.param_groups)


@cache
def _watch_optimizers() -> None:
    """From the first stream on: a program that has none pays for none."""
    register_optimizer_step_post_hook(_stepped)


def _after_fork() -> None:
    """In a child nobody is in the middle of a frame."""
    for live in _living:
        live._turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def stream(layer: Recurrent, batch_size: int = 1, *, condition: Any = None, **constants: Tensor) -> Stream:
    """A layer for real time: one frame at a time, each as soon as it is there, without a sequence around it.

    The weights are packed once, here, and a frame is one direct call of machine code a layer, on the caller's thread.
    Frame by frame the outputs are those of ``layer(x)``.

    Args:
        layer: any recurrent layer of ours that runs in one direction.
        batch_size: B, how many sequences run side by side; they share the weights.
        condition: what the layer's ``initial_state`` module is called with, if it has one: B rows.
        constants: keywords of the cell's step that stay the same from frame to frame, (B, ·) each.

    Raises:
        InvalidType: ``layer`` is no recurrent layer of ours; a keyword that the step does not have.
        InvalidValue: the layer is bidirectional, or drops out, since it is in training mode.
        EngineError: the layer asks for the native engine by name, and its step cannot be compiled.

    Example:
        >>> rnn = ostinato.GRU(4, 5, num_layers=2).eval()
        >>> frames = torch.randn(7, 1, 4)
        >>> live = ostinato.stream(rnn)
        >>> outputs = torch.stack([live.step(x) for x in frames])
        >>> torch.allclose(outputs, rnn(frames)[0], atol=1e-6), live.state.shape
        (True, torch.Size([2, 1, 5]))
        >>> live.reset()
        >>> live.step(frames[0, 0]).shape
        torch.Size([5])
    """
    return Stream(layer, batch_size, condition, constants)


class Stream:
    """What :func:`ostinato.stream` makes: a layer, the states it has come to, and its weights as they were packed.

    A weight that is changed in place (by an optimizer, ``load_state_dict``, ``copy_``) is seen at the next frame and
    packed anew. What torch leaves no trace of (a write through ``.data``, ``layer.double()``, a parameter or another
    attribute replaced, ``layer.train()``) needs :meth:`refresh`. No gradient flows through a stream, and autocast does
    not act on one in the native engine. Frames of several threads take turns.

    Attributes:
        layer: the layer.
        batch_size: B.
    """

    def __init__(self, layer: Recurrent, batch_size: int, condition: Any, constants: dict[str, Tensor]) -> None:
        if not isinstance(layer, Recurrent):
            raise InvalidType(f"stream needs a recurrent layer of ours, got {type(layer).__name__}")
        self._name = f"stream of {type(layer).__name__}"
        if layer.bidirectional:
            raise InvalidValue(
                f"{self._name}: a bidirectional layer reads the whole sequence from its end before it can put out the "
                "first frame; stream a layer made with bidirectional=False, or call the layer on whole sequences"
            )
        if layer.training and layer.dropout > 0 and layer.num_layers > 1:
            raise InvalidValue(
                f"{self._name}: the layer is in training mode and would drop out (dropout={layer.dropout}); call "
                "layer.eval() first"
            )
        if layer.training and layer._weight_drops:
            raise InvalidValue(
                f"{self._name}: the layer is in training mode and would drop weights "
                f"(weight_dropout={layer.weight_dropout}); call layer.eval() first"
            )
        if layer.training and layer._additions.draws:
            raise InvalidValue(
                f"{self._name}: the layer is in training mode and would draw masks ({layer._additions}); call "
                "layer.eval() first"
            )
        self._turn = threading.RLock()
        _living.add(self)
        _watch_optimizers()
        self.layer = layer
        self.batch_size = checks.size("batch_size", batch_size)
        self._condition = condition
        self._memory: stepping.Memory | None = None
        self._frames: dict[tuple[known.Kind, ...], stepping.NativeFrame | stepping.LoopFrame] = {}
        self._known = {n: need for slot in layer.slots for n, need in slot.template.streams().items()}
        self._needed = tuple(name for name, need in self._known.items() if need)
        self._constants: dict[str, Tensor] = {}
        self._learn_kind()
        for name in constants:
            checks.stream_names(self._cell, dict.fromkeys(self._known, False), (name,))
        self._constants = {n: self._keyword(n, v).detach().clone() for n, v in constants.items()}
        self._choice = choose.Choice("native", f"if its step can be compiled: the first frame tells, with {self._wait}")
        self.refresh()

    @property
    def engine(self) -> str:
        """Who runs a frame: ``"native"``, or ``"loop"`` where the cell's step runs in plain PyTorch."""
        return self._choice.engine

    @property
    def why(self) -> str:
        """Why it is that one, in a few words."""
        return self._choice.why

    @property
    def state(self) -> Any:
        """The states now, as the layer returns and takes them: (L, B, H), a tuple for a cell with several; copies.

        Assigning sets them; with ``batch_size`` 1 those of unbatched sequences fit too, (L, H).

        Raises:
            InvalidType, InvalidShape, InvalidValue: what is assigned is no such state.
        """
        shape = self.layer.state_shape
        with self._turn:
            return shape.public(shape.join([(layer,) for layer in self._states()]))

    @state.setter
    def state(self, value: Any) -> None:
        shape = self.layer.state_shape
        first = value[0] if isinstance(value, tuple | list) and value else value
        single = self.batch_size == 1 and isinstance(first, Tensor) and first.dim() == 2 and not shape.per_layer
        network = shape.check(self._name, value, self.batch_size, not single, self._like)
        with self._turn:
            self._write(network)

    def reset(self, row: int | None = None) -> None:
        """Back to the layer's initial state, as it is now: zeros, learned, or what its module computes.

        Args:
            row: the one sequence that begins again; all of them if not given.

        Raises:
            InvalidType, InvalidValue: a row that is not there.
        """
        if row is not None:
            if not isinstance(row, int) or isinstance(row, bool):
                raise InvalidType(f"{self._name}: row must be a whole number or None, got {type(row).__name__}")
            if not 0 <= row < self.batch_size:
                raise InvalidValue(f"{self._name}: row must lie between 0 and {self.batch_size - 1}, got {row}")
        with self._turn:
            self._write(self._initial(), row)

    def refresh(self) -> None:
        """Take the layer's weights, mode and code as they are now; the states stay.

        Raises:
            EngineError: the layer asks for the native engine by name, and its step cannot be compiled.
            CellError: the step breaks the contract of a cell.
        """
        with self._turn:
            self._refresh()

    def _refresh(self) -> None:
        self._learn_kind()
        self._frames.clear()
        self._watched = [t for t in (*self.layer.parameters(), *self.layer.buffers()) if not t.is_inference()]
        self._versions = sum(map(VERSION, self._watched), _traceless)
        if self._memory is None:
            self._memory = stepping.Memory(self._split(self._initial()))
        elif (
            self._memory.states()[0][0].dtype != self._like.dtype
            or self._memory.states()[0][0].device != self._like.device
        ):
            kept = [tuple(s.to(self._like) for s in layer) for layer in self._states()]
            self._memory = stepping.Memory(kept)
        self._constants = {n: v.to(self._like) if v.is_floating_point() else v for n, v in self._constants.items()}
        self._plain = None
        if not self._wait:
            frame = self._frame(self._constants)
            self._plain = frame if not self._constants else None

    def step(self, x: Tensor, **streams: Tensor) -> Tensor:
        """One frame.

        Args:
            x: (B, I); with ``batch_size`` 1 also (I).
            streams: the keyword-only parameters of the cell's step, (B, ·) each, besides the stream's constants; and
                ``reset``, (B,) bool: the rows that begin again before this frame, as :meth:`reset` lets them.

        Returns:
            The output of the last layer at this frame, (B, H_out), or (H_out) for x (I): a new tensor without grad.

        Raises:
            InvalidType, InvalidValue, InvalidShape: x or a keyword does not fit.
            EngineError: a tracer or one of torch.func's transforms is at work.

        Example:
            >>> live = ostinato.stream(ostinato.LSTM(4, 5).eval(), batch_size=3)
            >>> live.step(torch.randn(3, 4)).shape
            torch.Size([3, 5])
        """
        with self._turn:
            return self._step(x, streams)

    def _step(self, x: Tensor, streams: dict[str, Tensor]) -> Tensor:
        if _len_torch_dispatch_stack() or _get_tracing_state() is not None or peek_interpreter_stack() is not None:
            self._refuse_a_trace()
        if (
            x.__class__ is not Tensor
            or x.shape != self._shape
            or x.dtype is not self._dtype
            or not x.is_contiguous()
            or x.is_neg()
        ):
            x, alone = self._checked(x)
            if alone:
                return self._step(x, streams).squeeze(0)
        if x.device != self._device:
            checks.same_device(self._name, "x", x, self._like)
        if sum(map(VERSION, self._watched), _traceless) != self._versions:
            self._refresh()
        if self._plain is not None and not streams:
            return self._plain(x, streams)
        return self._with_keywords(x, streams)

    def _refuse_a_trace(self) -> None:
        """What an ordinary mode may watch, none that traces may: a frame writes to the stream's own memory."""
        if tracing.recorded() or _get_tracing_state() is not None or peek_interpreter_stack() is not None:
            raise EngineError(
                f"{self._name}: a frame changes the stream's states, so that it can be neither traced nor transformed; "
                "call the layer with one step and the state it returned"
            )

    def _with_keywords(self, x: Tensor, streams: dict[str, Tensor]) -> Tensor:
        if "reset" in streams and "reset" not in self._known:
            self._restart(streams.pop("reset"))
        given = self._constants | {name: self._keyword(name, value) for name, value in streams.items()}
        checks.stream_names(self._cell, self._known, given)
        try:
            return self._frame(given)(x, given)
        except RuntimeError as error:
            self._blame(given, error)
            raise

    def _blame(self, given: dict[str, Tensor], error: Exception) -> None:
        """InvalidShape if a keyword's width is what a step failed for."""
        layer = self.layer
        for k, own_states in enumerate(self._states()):
            (cell,) = layer.bind(k, layer.acting(grads=False))
            own = {name: value for name, value in given.items() if name in cell.streams()}
            widths.blame(cell, self._like.new_zeros(self.batch_size, cell.input_size), own_states, own, error)

    def _restart(self, flags: Any) -> None:
        """Let the rows with a flag begin again."""
        checks.tensor(self._name, "reset", flags)
        shapes = [(self.batch_size,), (self.batch_size, 1), *([()] if self.batch_size == 1 else [])]
        if tuple(flags.shape) not in shapes:
            checks.shape(self._name, "reset", flags, shapes[0], "(batch_size), a flag a row")
        rows = of_bools(self._name, flags, self._like).reshape(self.batch_size)
        if bool(rows.any()):
            self._write(self._initial(), rows)

    def _frame(self, given: dict[str, Tensor]) -> stepping.NativeFrame | stepping.LoopFrame:
        """What runs a frame with these keywords, made when they are new."""
        kinds = known.kinds(dict(sorted(given.items())))
        frame = self._frames.get(kinds)
        if frame is None:
            with torch.no_grad(), torch.inference_mode(False):
                frame = self._frames[kinds] = self._make(kinds)
        return frame

    def _make(self, kinds: tuple[known.Kind, ...]) -> stepping.NativeFrame | stepping.LoopFrame:
        layer, memory = self.layer, self._memory
        assert memory is not None
        acting = layer.acting(grads=False)
        cells = [layer.bind(k, acting)[0] for k in range(layer.num_layers)]
        names = [cell.streams() for cell in cells]
        signatures = [stepping.Signature(self._like.dtype, tuple(k for k in kinds if k[0] in own)) for own in names]
        if layer.training not in layer._pure_in:
            for cell, signature in zip(cells, signatures, strict=True):
                stepping.check_purity(cell, signature)
        asked = choose.asked(layer.engine)
        against = "asked for" if asked == "loop" else native.why_not(self._like)
        if against is None:
            try:
                places = zip(layer.slots, cells, signatures, strict=True)
                codes = [stepping.code_of(slot.template, cell, signature) for slot, cell, signature in places]
            except Refused as refused:
                against = str(refused)
            else:
                self._choice = choose.Choice("native", "each frame is a compiled step on packed weights")
                return stepping.NativeFrame(codes, cells, memory, self.batch_size, between.joins(layer))
        if asked == "native":
            raise choose.impossible("native", against)
        self._choice = choose.Choice("loop", against)
        return stepping.LoopFrame(cells, memory, between.joins(layer))

    @property
    def _cell(self) -> str:
        return self.layer.cell_type.__name__

    @property
    def _wait(self) -> str:
        """The keywords a frame must give whose width none has shown yet."""
        return " and ".join(name for name in self._needed if name not in self._constants)

    def _learn_kind(self) -> None:
        """The dtype and the device of frames: those of the layer's parameters."""
        weight = checks.numeric(self.layer.parameters())
        self._like = torch.empty(0) if weight is None else torch.empty(0, dtype=weight.dtype, device=weight.device)
        self._dtype, self._device = self._like.dtype, self._like.device
        self._shape = torch.Size((self.batch_size, self.layer.input_size))

    def _checked(self, x: Any) -> tuple[Tensor, bool]:
        """x as (B, I), contiguous, and whether it came without its row axis."""
        checks.tensor(self._name, "x", x)
        if type(x).__torch_dispatch__ is not Tensor.__torch_dispatch__:
            raise InvalidType(f"{self._name}: x must hold its numbers itself, and a {type(x).__name__} does not")
        checks.rank(self._name, "x", x, (1, 2) if self.batch_size == 1 else (2,))
        alone = x.dim() == 1
        rows = x.unsqueeze(0) if alone else x
        checks.width(self._name, "x", rows, self.layer.input_size, "input_size")
        checks.shape(self._name, "x", rows, tuple(self._shape), "(batch_size, input_size)")
        checks.same_kind(self._name, "x", rows, self._like)
        return rows.detach().as_subclass(Tensor).resolve_neg().contiguous(), alone  # code reads memory, not its sign

    def _keyword(self, name: str, value: Any) -> Tensor:
        checks.tensor(self._cell, name, value)
        if self.batch_size == 1 and value.dim() == 1:
            value = value.unsqueeze(0)
        checks.rank(self._cell, name, value, (2,))
        checks.shape(self._cell, name, value, (self.batch_size, value.shape[-1]), "(batch_size, ·), a value a row")
        if value.is_floating_point() or value.is_complex():
            checks.same_kind(self._cell, name, value, self._like)
        checks.same_device(self._cell, name, value, self._like)
        return value.detach().resolve_neg()

    def _initial(self) -> states.Network:
        layer, shape = self.layer, self.layer.state_shape
        with torch.no_grad():
            if isinstance(layer.initial_state, nn.Module):
                if self._condition is None:
                    raise InvalidValue(
                        f"{self._name}: the layer's initial state is computed by a module, from a whole input or a "
                        "condition, and a stream has no whole input; give stream(…, condition=…)"
                    )
                module = layer.initial_state
                return states.computed(self._name, module, self._condition, shape, self.batch_size, self._like)
            states.refuse_condition(self._name, self._condition)
            if layer.initial_state == "learned":
                return states.learned(layer, shape, self.batch_size)
            return shape.zeros(self.batch_size, self._like)

    def _split(self, network: states.Network) -> list[tuple[Tensor, ...]]:
        return [directions[0] for directions in self.layer.state_shape.split(network)]

    def _states(self) -> list[tuple[Tensor, ...]]:
        assert self._memory is not None
        return self._memory.states()

    def _write(self, network: states.Network, row: int | Tensor | None = None) -> None:
        assert self._memory is not None
        self._memory.write(self._split(network), row)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise InvalidType(
            f"{self._name}: a stream holds machine code, and can be neither copied nor pickled; make one of a copy of "
            "its layer, and give it this one's state"
        )

    def __repr__(self) -> str:
        return f"Stream({self.layer!r}, batch_size={self.batch_size}): {self.engine} ({self.why})"
