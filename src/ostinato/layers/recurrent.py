"""Any cell over time: stack, directions, lengths, dropout, batch order, initial state."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils.rnn import PackedSequence

from ostinato.cells import binding, checks, registry, weight_drop
from ostinato.cells.cell import Cell
from ostinato.compiler.lines import caller_level
from ostinato.compiler.refusal import Refused
from ostinato.engines import aten, choose, kernels, known, tracing
from ostinato.engines.compiled import Compiled
from ostinato.errors import CellError
from ostinato.layers import between, build, compiling, opaque, resets, running, shortcut, states
from ostinato.layers.added import added
from ostinato.layers.additions import Acting, Keyword, WithAdditions
from ostinato.layers.batch import Batch
from ostinato.layers.running import Watch
from ostinato.layers.sequences import last_step
from ostinato.layers.states import Network, StateShape, suffix
from ostinato.layers.streams import Streams, sort_streams


class Recurrent(WithAdditions, between.WithConnections):
    """A network of any cell: stacked, in one or two directions, over sequences of any and of different lengths.

    The equations are the cell's (:attr:`cell_type`); this class supplies all the rest, as torch.nn.LSTM does for
    its own. A cell's parameter NAME is this layer's ``NAME_l{k}`` or ``NAME_l{k}_reverse``, an ordinary parameter.

    Args:
        cell_type: a subclass of :class:`ostinato.Cell`, or the name of a known cell (``ostinato cells`` lists them).
        input_size: I.
        hidden_size: H; or a list, one width a layer.
        num_layers: L. Layer k reads the outputs of layer k - 1 at the same step.
        bias: passed to the cell, which must know it if it is not True.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·); states never are.
        dropout: probability of an element of a layer's output being zeroed in training, after all but the last.
        dropout_form: ``"element"`` draws for each element, as torch does; ``"sequence"`` draws one mask a sequence, for
            all its steps (Gal, Ghahramani, arXiv:1512.05287).
        connection: from the second layer on, what a layer reads passes it by: None, ``"residual"`` (added to what it
            puts out), or ``"highway"``: y = t · out + (1 - t) · in, t = σ(W in + b) (Srivastava, Greff, Schmidhuber,
            arXiv:1505.00387), with parameters ``highway_weight_l{k}`` (D·H, D·H) and ``highway_bias_l{k}`` that begins
            at -1. States are the cells' own. Dropout acts on what the layer reads, and not on what passes it by.
        bidirectional: a second run, with parameters of its own, from the end; outputs are joined to 2·H.
        device, dtype: of the parameters.
        engine: ``"auto"``, ``"loop"``, ``"aten"`` or ``"native"``: who runs the time loop. The result is the same.
        recompute: ``"none"``, or ``"chunks"``: a training step holds the states of a few steps (some √T) and what the
            last steps computed, instead of what all did, and its backward runs the steps between again. For long
            sequences: a fifth of the memory and less, for about a third more time, with the same gradients. Needs the
            native engine or the loop.
        weight_dropout: DropConnect (Wan et al. 2013; Merity, Keskar, Socher, arXiv:1708.02182): probability of an
            element of the weights from a state to the next (every parameter ``weight_hh…``) being zero for a whole call
            in training; or a dictionary of probabilities by the cell's names, ``{"weight_hh": 0.5}``. What is trained
            and saved is the whole weight.
        initial_state: where a call without ``hx`` begins: ``"zeros"``, ``"learned"`` (parameters
            ``initial_{state}_l{k}[_reverse]`` that begin at zero), or a module, called with the input (T, B, I),
            padding zeroed, or with the call's ``condition``, that returns what ``hx`` would be.
        zoneout: probability of an element of a state keeping its old value in training, a number or one a state,
            ``{"h": 0.05, "c": 0.5}``; in eval mode the expected value is taken (Krueger et al., arXiv:1606.01305).
        recurrent_dropout: probability of an element being dropped between steps in training.
        recurrent_dropout_form: ``"state"``, one mask a sequence on each state where it enters a product with weights
            (Gal, Ghahramani, arXiv:1512.05287), or ``"candidate"``, a mask a step on what passes through
            ``Cell.candidate`` (Semeniuta, Severyn, Barth, arXiv:1603.05118).
        clip_gradient: the gradient of each state is clamped to ±this, element by element, at every step back.
        cell_options: passed to the cell.

    Raises:
        InvalidType, InvalidValue: an argument outside its rule, as torch.nn does; an unknown name.
        CellError: ``cell_type`` is no cell.

    Example:
        >>> rnn = ostinato.Recurrent(ostinato.GRUCell, 10, 20, num_layers=2, bidirectional=True)
        >>> output, h_n = rnn(torch.randn(5, 3, 10), lengths=[5, 0, 2])
        >>> output.shape, h_n.shape
        (torch.Size([5, 3, 40]), torch.Size([4, 3, 20]))
        >>> rnn.named_states(h_n)["l1_reverse"]["h"].shape
        torch.Size([3, 20])
    """

    def __init__(
        self,
        cell_type: type[Cell] | str,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        dropout_form: str = "element",
        connection: str | None = None,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        engine: str = "auto",
        recompute: str = "none",
        weight_dropout: float | Mapping[str, float] = 0.0,
        initial_state: str | nn.Module = "zeros",
        zoneout: float | Mapping[str, float] = 0.0,
        recurrent_dropout: float = 0.0,
        recurrent_dropout_form: str = "state",
        clip_gradient: float | None = None,
        **cell_options: Any,
    ) -> None:
        super().__init__()
        if isinstance(cell_type, str):
            cell_type = registry.find(cell_type).cell
        if not isinstance(cell_type, type) or not issubclass(cell_type, Cell):
            raise CellError(f"cell_type must be a subclass of ostinato.Cell (the class itself), got {cell_type!r}")
        self.cell_type = cell_type
        self.input_size = checks.size("input_size", input_size)
        widths, num_layers = build.layer_widths(hidden_size, num_layers)
        self.hidden_size = hidden_size if isinstance(hidden_size, int) else widths
        self.num_layers = num_layers
        self.bias = checks.flag("bias", bias)
        self.batch_first = checks.flag("batch_first", batch_first)
        self.dropout = checks.probability("dropout", dropout)
        self.bidirectional = checks.flag("bidirectional", bidirectional)
        self.engine = engine
        self.recompute = recompute
        self.initial_state = initial_state
        self.cell_options = dict(cell_options)
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"dropout acts after every layer but the last, so dropout={dropout} does nothing with num_layers=1",
                stacklevel=caller_level(),
            )
        self._slots: list[tuple[binding.Slot, ...]] = []
        self._build(widths, device, dtype)
        self.weight_dropout = weight_dropout
        tops = [layer[0].template for layer in self._slots]
        sizes = tuple(cell.state_sizes for cell in tops)
        per_layer = not isinstance(hidden_size, int) or len(set(sizes)) > 1
        self._shape = StateShape(build.common_names(tops), sizes, 2 if bidirectional else 1, per_layer)
        self._add(
            cell_type.__name__,
            self._shape.names,
            zoneout=zoneout,
            recurrent_dropout=recurrent_dropout,
            recurrent_dropout_form=recurrent_dropout_form,
            clip_gradient=clip_gradient,
        )
        self._output_size = tops[-1].output_size * self._shape.directions
        operators = {aten.operator(slot.template) for layer in self._slots for slot in layer}
        self._operator = operators.pop() if len(operators) == 1 else None
        beyond = ", ".join(f"{n}={v!r}" for n, v in aten.beyond(tops[0]).items())
        self._named = cell_type.__name__ + (f" with {beyond}" if beyond else "")
        self._step_weights = sum(p.numel() for p in self.parameters() if p.dim() > 1)
        self._weight_names = [name + slot.suffix for layer in self._slots for slot in layer for name in slot.parameters]
        outputs = [cell.output_size * self._shape.directions for cell in tops]
        self._connect(dropout_form, connection, [self.input_size, *outputs], device, dtype)
        self._streams = {name: need for cell in tops for name, need in cell.streams().items()}
        self._streams_of = [frozenset(cell.streams()) for cell in tops]
        ours = all(type(cell).__module__.startswith("ostinato.") for cell in tops)
        # The modes (training or not) in which the steps are known to be pure: dropout in a step shows in one of them.
        self._pure_in = {True, False} if ours else set()
        # The keywords of the last call, by name, width and dtype: what explain needs to know of them.
        self.last_streams: tuple[tuple[known.Kind, ...], tuple[known.Kind, ...]] | None = None
        self.said_why = False
        states.make_initial(self, initial_state, self._shape, device, dtype)

    def _build(self, widths: tuple[int, ...], device: Any, dtype: torch.dtype | None) -> None:
        width = self.input_size
        directions = 2 if self.bidirectional else 1
        for k, hidden_size in enumerate(widths):
            cell_type, options = self.cell_type.at_layer(k, self.num_layers, self.cell_options)
            cells = [
                build.build_cell(cell_type, width, hidden_size, self.bias, device, dtype, options)
                for _ in range(directions)
            ]
            self._slots.append(tuple(binding.take_over(self, cell, suffix(k, d)) for d, cell in enumerate(cells)))
            width = cells[0].output_size * directions

    @property
    def engine(self) -> str:
        """Who runs the time loop: ``"auto"``, ``"loop"``, ``"aten"`` or ``"native"``."""
        return self._engine

    @engine.setter
    def engine(self, name: str) -> None:
        self._engine = choose.check(name)
        if self._engine in shortcut.KERNELS:
            kernels.why_not()  # The code generator takes 20 ms to load: not in the first call.

    @property
    def recompute(self) -> str:
        """What the backward computes again instead of having kept it: ``"none"`` or ``"chunks"``."""
        return self._recompute

    @recompute.setter
    def recompute(self, name: str) -> None:
        self._recompute = checks.one_of("recompute", name, ("none", "chunks"))

    @property
    def weight_dropout(self) -> float | Mapping[str, float]:
        """How much of which weights a call in training leaves out: a probability, or several by the cell's names."""
        return self._weight_dropout

    @weight_dropout.setter
    def weight_dropout(self, value: float | Mapping[str, float]) -> None:
        cells = [(s.suffix, type(s.template).__name__, binding.tensor_names(s, self)) for s in self.slots]
        self._weight_drops = weight_drop.plan(value, cells)
        self._weight_dropout = value

    @property
    def output_size(self) -> int:
        """D·H_out, the width of the output."""
        return self._output_size

    @property
    def state_shape(self) -> StateShape:
        """How this network's states are shaped."""
        return self._shape

    @property
    def slots(self) -> tuple[binding.Slot, ...]:
        """The place of each cell, layer by layer, forward before reverse."""
        return tuple(slot for layer in self._slots for slot in layer)

    def choice(self) -> choose.Choice:
        """Which engine runs an ordinary call now, and why."""
        return compiling.choice(self)

    def compiled(self) -> list[Compiled | Refused]:
        """What each place's step was compiled to, or why it was not; the places in the order of :attr:`slots`."""
        return compiling.compiled(self)

    @tracing.constant
    def programs(
        self,
        wants_grad: bool,
        acts: tuple[Any, ...],
        streams: tuple[known.Kind, ...],
        constants: tuple[known.Kind, ...],
    ) -> tuple[compiling.Text, ...] | str:
        """For torch.compile and export: each layer's program, or why there is none."""
        return compiling.programs(self, wants_grad, acts, streams, constants)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        condition: Any = None,
        reset: Any = None,
        **streams: Any,
    ) -> tuple[Any, Any]:
        """Run over a whole sequence.

        Args:
            input: (T, B, I), (B, T, I) with batch_first, (T, I) unbatched, or a PackedSequence. T and B may be 0.
            hx: initial states: (D·L, B, H), unbatched (D·L, H); a tuple for a cell with several states; with
                widths given a layer a tuple of tensors (D, B, H_k), one a layer, for each state.
            lengths: (B,) whole numbers between 0 and T, on any device, in any order.
            condition: what the initial state's module is called with, instead of the input; for unbatched input a
                tensor gets a row axis.
            reset: (T, B) bool (batch order as the input's), or a PackedSequence: where it is true the row's state
                restarts before that step from where a call without ``hx`` begins, as if a new sequence began there;
                the second direction restarts at the same place. For a cell whose step takes ``reset``, that instead.
            streams: the keyword-only parameters of the cell's step: (T, B, ·) (batch order as the input's), or a
                PackedSequence, is a value a step; (B, ·) a value a sequence.

        Returns:
            ``(output, state)``. output: (T, B, D·H_out), zero past a row's length; packed if the input was.
            state: shaped as ``hx``, each row's at its own end (its start for the second direction, and the initial
            state for a row of length 0).

        Raises:
            InvalidValue, InvalidShape, InvalidType: arguments that do not fit, with torch.nn's exception types.
            EngineError: the engine asked for by name cannot run this call.
        """
        if reset is not None:
            streams["reset"] = reset
        if torch.compiler.is_compiling():
            done = opaque.run(self, input, hx, lengths, condition, streams)
            if done is not None:
                return done
            if isinstance(input, PackedSequence) and torch.compiler.is_dynamo_compiling():
                # Its sizes are numbers that must be read: the graph breaks around the call, and not many times in it.
                return torch.compiler.disable(self._run)(input, hx, lengths, condition, streams, None)[1:]
        elif hx is None and lengths is None and condition is None and not streams:
            return self._alone(input)
        _, output, state = self._run(input, hx, lengths, condition, streams, None)
        return output, state

    def _alone(self, input: Any) -> tuple[Any, Any]:
        """A call of nothing but an input: the short way if there is one."""
        way = shortcut.find(self)
        done = None if way is None else way.run(self, input)
        if done is not None:
            return done
        _, output, state = self._run(input, None, None, None, {}, None)
        shortcut.remember(self, input)
        return output, state

    def watched(
        self, watch: Watch, input: Any, hx: Any, lengths: Any, condition: Any, streams: Mapping[str, Any]
    ) -> tuple[Batch, Any, Any]:
        """A call in the loop engine with other functions in place of the cells' steps: how a tape is made.

        Returns:
            The batch as the engines saw it, and what the call itself would return.
        """
        return self._run(input, hx, lengths, condition, streams, watch)

    def _run(
        self, input: Any, hx: Any, lengths: Any, condition: Any, streams: Mapping[str, Any], watch: Watch | None
    ) -> tuple[Batch, Any, Any]:
        batch = Batch.of(self, input, lengths, self._raw_weight())
        network = self._initial(batch, hx, condition)
        flags, streams = resets.take(self, streams)
        reset = resets.lay_out(
            self, batch, flags, lambda: network if hx is None else self._initial(batch, None, condition)
        )
        given: Streams = ({}, {})
        if streams or self._streams:
            given = sort_streams(self.cell_type.__name__, batch, self._streams, streams)
        output, network = running.run(self, batch, network, given, watch, reset)
        return batch, batch.public(output), self._shape.public(batch.public_states(network))

    def _raw_weight(self) -> Tensor | None:
        """A parameter whose dtype and device the input must have; raw, so that no parametrization is computed."""
        if self._operator is not None and (weight := self._parameters.get(self._weight_names[0])) is not None:
            return weight
        return checks.numeric(self.parameters())

    def _initial(self, batch: Batch, hx: Any, condition: Any) -> Network:
        name, shape, rows = type(self).__name__, self._shape, batch.rows
        module = self.initial_state if isinstance(self.initial_state, nn.Module) else None
        if module is None:
            states.refuse_condition(name, condition)
        if hx is not None:
            network = shape.check(name, hx, rows, batch.batched, batch.data)
            if distributed.is_available() and distributed.is_initialized():
                network = states.with_unused(network, self._initial_parameters())
        elif module is not None:
            argument = batch.padded() if condition is None else batch.condition(condition)
            network = states.computed(name, module, argument, shape, rows, batch.data)
        elif self.initial_state == "learned":
            network = states.learned(self, shape, rows)
        else:
            return shape.zeros(rows, batch.data)
        return batch.sorted_states(network)

    def _initial_parameters(self) -> list[nn.Parameter]:
        """What only a call without ``hx`` reads."""
        if isinstance(self.initial_state, nn.Module):
            return list(self.initial_state.parameters())
        own = self.named_parameters(recurse=False) if self.initial_state == "learned" else ()
        return [parameter for name, parameter in own if name.startswith("initial_")]

    def acting(self, reset: bool = False, grads: bool | None = None) -> Acting | None:
        """What is added to the steps of a call in the present mode; None for nothing.

        Args:
            reset: whether the call gives ``reset``.
            grads: whether gradients may flow; whether they are enabled now, if not given.
        """
        begins = not isinstance(self.initial_state, str) or self.initial_state != "zeros"
        shape = self._shape
        return self._additions.acting(shape.names, shape.directions, self.training, reset, begins, grads)

    @tracing.constant
    def keywords(self, acts: tuple[Any, ...]) -> tuple[Keyword, ...]:
        """For torch.compile and export: the keywords of the steps besides their own."""
        acting = self.acting(*acts[:2])
        return () if acting is None else acting.keywords()

    def bind(self, layer: int, acting: Acting | None = None) -> tuple[Cell, ...]:
        """The cells of one layer of the stack on its values, with what is added to them."""
        slots = self._slots[layer]
        if acting is None:
            return tuple([binding.bind(slot, self) for slot in slots])
        return tuple([binding.bind(s, self, added(type(s.template), acting, d)) for d, s in enumerate(slots)])

    def choose(self, data: Tensor, acting: Acting | None = None) -> choose.Choice:
        """Which engine runs this input, for what can be said without a look into the step."""
        name, operator = self._named, self._operator
        if acting is not None:
            name, operator = f"{name} with {acting.text}", None
        own = self._engine if torch.compiler.is_compiling() else choose.asked(self._engine)
        work = None
        if own == "auto" and operator is not None and data.dim() > 1 and not torch.compiler.is_compiling():
            work = choose.Work(data.shape[0], data.numel() // data.shape[-1], self._step_weights)
        return choose.choose(own, operator, name, data, self._recompute == "chunks", work)

    def last(self, output: Tensor | PackedSequence, lengths: Tensor | Sequence[int] | None = None) -> Tensor:
        """The output to use for many-to-one work: forward's at each row's last step, backward's at the first.

        ``output[-1]`` is not that: for two directions it holds the backward run after a single step.

        Args:
            output: what the layer returned, padded or packed.
            lengths: (B,) what the layer was called with; not for packed output, which knows its own.

        Returns:
            (B, D·H_out), unbatched (D·H_out); zeros for a row of length 0.

        Example:
            >>> rnn = ostinato.GRU(4, 5, bidirectional=True)
            >>> output, h_n = rnn(torch.randn(7, 2, 4), lengths=[3, 7])
            >>> torch.equal(rnn.last(output, [3, 7]), torch.cat([h_n[0], h_n[1]], dim=-1))
            True
        """
        padded, counts, batched = Batch.output_of(self, output, lengths)
        last = last_step(padded, counts, self._shape.directions)
        return last if batched else last.squeeze(0)

    def named_states(self, state: Any) -> dict[str, dict[str, Tensor]]:
        """States by (layer, direction): ``{"l0": {"h": (B, H), …}, "l0_reverse": …, "l1": …}``.

        Args:
            state: what the layer returned as its final state, or would take as ``hx``.
        """
        return self._shape.named(state)

    def reset_parameters(self) -> None:
        """Draw every cell's parameters again, in the order they were registered; learned initial states are zero."""
        for layer in self._slots:
            for slot in layer:
                binding.reset(slot, self)
        if self.connection == "highway":
            for k in range(1, self.num_layers):
                self._draw_gate(k)
        if self.initial_state == "learned":
            for parameter in self._initial_parameters():
                nn.init.zeros_(parameter)

    def extra_repr(self) -> str:
        own = "" if type(self) is not Recurrent else f"{self.cell_type.__name__}, "
        text = f"{own}{self.input_size}, {self.hidden_size}"
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "dropout_form": "element",
            "connection": None,
            "bidirectional": False,
            "engine": "auto",
            "recompute": "none",
            "weight_dropout": 0.0,
        }
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)!r}"
        if isinstance(self.initial_state, str) and self.initial_state != "zeros":
            text += f", initial_state={self.initial_state!r}"
        text += "".join(f", {name}={value!r}" for name, value in self._additions.given().items())
        return text + "".join(f", {name}={value!r}" for name, value in self.cell_options.items())
