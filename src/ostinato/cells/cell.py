"""The contract of a cell: one time step, in plain PyTorch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ostinato.cells import checks
from ostinato.cells.initialise import uniform_
from ostinato.errors import CellError

State = Any
"""One tensor for a cell with one state, a tuple of tensors for a cell with several."""


class Cell(nn.Module):
    r"""One time step of a recurrent network; everything else is made from it.

    A subclass has ordinary parameters and a ``step``. The step gets ``x`` (B, I) and the states (B, H), and
    returns the new states in the order of :attr:`state_names`; the first is the output. From that text come the
    cell as a module (call it once a step in a loop of your own) and, through :class:`ostinato.Recurrent`, the
    layer with stacking, directions, variable lengths, dropout and a tape of every value the step names.

    A step is pure: it draws no random numbers, writes neither to its arguments nor to ``self``, and treats the
    rows of a batch apart. What is random or varies by time besides ``x`` is a keyword-only parameter of the step:
    ``def step(self, x, h, *, gap)`` makes the layer's call ``rnn(x, gap=gap)``.

    Args:
        input_size: I, the width of ``x``.
        hidden_size: H, the width of the states.

    Class attributes:
        state_names: the names of the states, ``("h",)`` unless said otherwise. A cell whose options decide takes
            ``step(self, x, *states)`` and sets its own in ``__init__``.
        separate_output: the step returns ``output, *states`` because its output is no state; such a cell also
            defines :attr:`output_size`.

    Raises:
        InvalidType, InvalidValue: a size that is not a whole number greater than zero.
        CellError: when the class is defined, if the parameters of ``step`` do not fit ``state_names``.

    Example:
        >>> class Leaky(ostinato.Cell):
        ...     def __init__(self, input_size, hidden_size):
        ...         super().__init__(input_size, hidden_size)
        ...         self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        ...         self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        ...         self.reset_parameters()
        ...
        ...     def step(self, x, h):
        ...         new = torch.tanh(x @ self.weight_ih.T + h @ self.weight_hh.T)
        ...         return 0.9 * h + 0.1 * new
        >>> h = Leaky(4, 5)(torch.randn(2, 4))
        >>> h.shape
        torch.Size([2, 5])
        >>> output, h_n = ostinato.Recurrent(Leaky, 4, 5, num_layers=2)(torch.randn(7, 2, 4))
        >>> output.shape, h_n.shape
        (torch.Size([7, 2, 5]), torch.Size([2, 2, 5]))
    """

    state_names: tuple[str, ...] = ("h",)
    separate_output: ClassVar[bool] = False

    input_size: int
    hidden_size: int

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = checks.size("input_size", input_size)
        self.hidden_size = checks.size("hidden_size", hidden_size)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.step is not Cell.step:
            check_signature(cls)

    def step(self, *args: Any, **streams: Any) -> Any:
        """One time step: ``step(self, x, *states)``.

        x: (B, I); states: (B, ·) each; returns the new states, the first of them the output.
        """
        raise NotImplementedError(f"{type(self).__name__} is a cell without a step: define step(self, x, h)")

    def candidate(self, value: Tensor) -> Tensor:
        """A step's candidate, the new content that a gate lets in: the value itself.

        A step that passes its candidate through here, ``g = self.candidate(torch.tanh(…))``, can have it dropped
        out by its layer (Semeniuta, Severyn, Barth, arXiv:1603.05118).
        """
        return value

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The width of each state, in the order of ``state_names``; H each unless a cell says otherwise."""
        return (self.hidden_size,) * len(self.state_names)

    @property
    def candidate_size(self) -> int:
        """The width of what the step passes through :meth:`candidate`; H unless a cell says otherwise."""
        return self.hidden_size

    @property
    def output_size(self) -> int:
        """The width of what a layer of this cell puts out: that of the first state."""
        if self.separate_output:
            raise CellError(f"{type(self).__name__} has separate_output = True, so it must define output_size")
        return self.state_sizes[0]

    @classmethod
    def at_layer(cls, layer: int, num_layers: int, options: Mapping[str, Any]) -> tuple[type[Cell], Mapping[str, Any]]:
        """The cell and its options for one layer of a stack; a cell that differs by layer overrides this."""
        return cls, options

    @classmethod
    def streams(cls) -> dict[str, bool]:
        """The keyword-only parameters of ``step``: name → whether a call must give it."""
        return dict(_keywords(cls.step))

    def reset_parameters(self) -> None:
        """Draw the cell's own parameters from U(-1/√H, 1/√H), in the order they were registered, as torch.nn does."""
        uniform_(self.parameters(recurse=False), self.hidden_size)

    def forward(self, input: Tensor, hx: State | None = None, **streams: Tensor) -> Any:
        """One step, called in a loop of your own.

        Args:
            input: x, (B, I) or (I).
            hx: the states, (B, H) or (H) each: a tensor for one state, a tuple for several; zeros if not given.
            streams: the keyword-only parameters of ``step``, (B, ·) or (·) each.

        Returns:
            The new states, shaped as ``hx``; a cell with ``separate_output`` returns ``(output, states)``.

        Raises:
            InvalidValue, InvalidShape: rank, width, batch or dtype that does not fit, as torch.nn's cells do.
        """
        name = type(self).__name__
        checks.tensor(name, "input", input)
        checks.rank(name, "input", input, (1, 2))
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        checks.width(name, "input", x, self.input_size, "input_size")
        checks.same_kind(name, "input", x, checks.numeric(self.parameters()))
        states = self._states(x, hx, batched)
        given = self._streams(x, streams, batched)
        output, new = self.split(self._frozen_view().step(x, *states, **given))
        check_step(self, x, states, output, new)
        if not batched:
            output, new = output.squeeze(0), tuple(s.squeeze(0) for s in new)
        state = new if len(self.state_names) > 1 else new[0]
        return (output, state) if self.separate_output else state

    def split(self, result: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What a step returned, as (output, states); CellError if the number of values is not the contract's."""
        values = result if isinstance(result, tuple) else (result,)
        expected = len(self.state_names) + self.separate_output
        if len(values) != expected or not all(isinstance(v, Tensor) for v in values):
            names = (("output",) if self.separate_output else ()) + self.state_names
            got = ", ".join(type(v).__name__ for v in values)
            hint = "; return a tuple, not a list" if isinstance(result, list) else ""
            raise CellError(
                f"{type(self).__name__}.step must return {expected} tensor{'s' * (expected != 1)} "
                f"({', '.join(names)}), got {len(values)}: {got}{hint}"
            )
        return values[0], values[1:] if self.separate_output else values

    def _states(self, x: Tensor, hx: State | None, batched: bool) -> tuple[Tensor, ...]:
        if hx is None:
            return tuple(x.new_zeros(x.shape[0], size) for size in self.state_sizes)
        name = type(self).__name__
        states = checks.state_tuple(name, "hx", hx, self.state_names)
        for state_name, state in zip(self.state_names, states, strict=True):
            checks.rank(name, state_name, state, (1, 2))
        if not batched:
            states = tuple(s.unsqueeze(0) for s in states)
        for state_name, state, size in zip(self.state_names, states, self.state_sizes, strict=True):
            checks.shape(name, state_name, state, (x.shape[0], size), "(batch, width)")
            checks.same_kind(name, state_name, state, x)
        return states

    def _streams(self, x: Tensor, given: Mapping[str, Any], batched: bool) -> dict[str, Tensor]:
        name = type(self).__name__
        checks.stream_names(name, self.streams(), given)
        rows = {}
        for key, value in given.items():
            checks.tensor(name, key, value)
            checks.rank(name, key, value, (1 + batched,))
            rows[key] = value if batched else value.unsqueeze(0)
            checks.shape(name, key, rows[key], (x.shape[0], value.shape[-1]), "(batch, ·)")
        return rows

    def _frozen_view(self) -> Cell:
        """This cell on the same tensors, with assignments refused; a view, so that other threads notice nothing."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, _frozen=True)
        return view

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__.get("_frozen"):
            raise CellError(
                f"{type(self).__name__}.step must be pure, but it assigns self.{name}; return the value as a state "
                "(add its name to state_names), or take it as a keyword-only parameter of step"
            )
        super().__setattr__(name, value)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for parameter in inspect.signature(type(self).__init__).parameters.values():
            value = getattr(self, parameter.name, parameter.default)
            if parameter.default is not parameter.empty and value != parameter.default:
                text += f", {parameter.name}={value!r}"
        return text


@lru_cache(maxsize=256)
def _keywords(step: Callable[..., Any]) -> tuple[tuple[str, bool], ...]:
    """The keyword-only parameters of a step, looked up once: a cell in a user's own loop asks at every step."""
    parameters = inspect.signature(step).parameters.values()
    return tuple((p.name, p.default is p.empty) for p in parameters if p.kind is p.KEYWORD_ONLY)


RESERVED = frozenset({"input", "hx", "lengths", "condition", "layer", "grad"})
"""Names of a layer's and of record's own arguments, which a step's keywords cannot have."""


def check_signature(cls: type[Cell]) -> None:
    """The parameters of ``step`` fit ``state_names``; CellError with the signature it must have."""
    names: Any = cls.state_names
    if not isinstance(names, tuple) or not names or not all(isinstance(n, str) and n.isidentifier() for n in names):
        raise CellError(f"{cls.__name__}.state_names must be a tuple of names such as ('h', 'c'), got {names!r}")
    if len(set(names)) < len(names) or "x" in names:
        raise CellError(f"{cls.__name__}.state_names must differ from each other and from 'x', got {names!r}")
    parameters = list(inspect.signature(cls.step).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise CellError(f"{cls.__name__}.step must name its keywords one by one, after a *; it has **")
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name in RESERVED | set(names):
            raise CellError(
                f"{cls.__name__}.step has a keyword {parameter.name!r}, the name of a state or of an argument of the "
                "layer's own; rename it"
            )
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) != 2 + len(names):
        raise CellError(
            f"{cls.__name__}.step must take (self, x, {', '.join(names)}) for state_names {names!r}, "
            f"got ({', '.join(positional)}); what else it needs is keyword-only, after a *"
        )


def check_step(cell: Cell, x: Tensor, states: tuple[Tensor, ...], output: Tensor, new: tuple[Tensor, ...]) -> None:
    """What a step returned has the widths the cell declares, and the dtypes of the states it was given."""
    name, rows = type(cell).__name__, x.shape[0]
    for state_name, size, old, state in zip(cell.state_names, cell.state_sizes, states, new, strict=True):
        if tuple(state.shape) != (rows, size):
            raise CellError(
                f"{name}.step must return {state_name} as (batch, {size}) = ({rows}, {size}), got "
                f"{tuple(state.shape)}; a state of another width is declared by the property state_sizes"
            )
        if state.dtype != old.dtype and not torch._C._is_any_autocast_enabled():
            raise CellError(
                f"{name}.step was given {state_name} as {old.dtype} and returned it as {state.dtype}; "
                "a state keeps its dtype"
            )
    if tuple(output.shape) != (rows, cell.output_size):
        raise CellError(
            f"{name}.step must put out (batch, {cell.output_size}) = ({rows}, {cell.output_size}), "
            f"got {tuple(output.shape)}; another width is declared by the property output_size"
        )
