"""Everything that can go wrong with a cell of one's own, tried in one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.compiler.guard import STATE, Guard
from ostinato.compiler.refusal import Refused
from ostinato.engines import purity
from ostinato.engines.call import LayerCall
from ostinato.errors import CellError, InvalidType
from ostinato.inspection import derivatives, engines_agree
from ostinato.inspection.report import Line, Report
from ostinato.inspection.trial import Form, Trial, forms, where
from ostinato.layers.build import build_cell
from ostinato.layers.recurrent import Recurrent


def check(cell: type[Cell] | Cell | Recurrent, input_size: int = 5, hidden_size: int = 4, **options: Any) -> Report:
    """Try a cell in every way that can go wrong, and say what to do about what does.

    That it builds and draws all its parameters; that its step keeps the contract, is pure, and leaves the rows of a
    batch apart; that its gradients are the derivative, reach every parameter, and are finite where a sequence begins;
    that the compiled loop gives the loop's results and gradients, or which operation on which line is in the way. What
    a step does is never raised: it is a line of the report.

    Args:
        cell: a subclass of :class:`ostinato.Cell`; or a cell, or a layer, whose own sizes and options are taken.
        input_size, hidden_size: I and H of a class. The step gets x (B, I), and keywords it needs as (B, 1) or (B, H),
            whichever it takes.
        options: passed to the class.

    Returns:
        A report: ``print`` it, or ask ``report.ok`` and ``report["gradients"].ok``.

    Raises:
        InvalidType: ``cell`` is no cell; or options were given with a cell that is built already.
        InvalidType, InvalidValue: a size that is not a whole number greater than zero.

    Example:
        >>> class Scaled(ostinato.Cell):
        ...     def __init__(self, input_size, hidden_size):
        ...         super().__init__(input_size, hidden_size)
        ...         self.weight = nn.Parameter(torch.empty(hidden_size, input_size))    # (H, I)
        ...         self.scale = nn.Parameter(torch.empty(hidden_size))                 # (H)
        ...         self.reset_parameters()
        ...
        ...     def step(self, x, h):                                                   # (B, I), (B, H)
        ...         return torch.tanh(x @ self.weight.T + h)
        >>> report = ostinato.check(Scaled)
        >>> report.ok
        False
        >>> print(report["parameters"].text)
        no gradient reaches scale
    """
    checks.size("input_size", input_size)
    checks.size("hidden_size", hidden_size)
    lines: list[Line] = []
    with _undisturbed():
        if isinstance(cell, Recurrent):
            template = cell.slots[0].template
            made = _build(lines, type(template), template.input_size, template.hidden_size, _options(cell) | options)
        elif isinstance(cell, Cell):
            if options:
                raise InvalidType(f"options are for a class; this {type(cell).__name__} is built already")
            made = cell
        elif isinstance(cell, type) and issubclass(cell, Cell):
            made = _build(lines, cell, input_size, hidden_size, options)
        else:
            raise InvalidType(f"check needs a subclass of ostinato.Cell, a cell or a layer of ours, got {cell!r}")
        if made is not None:
            _drawn(lines, made)
            _try(lines, made)
    name = type(made).__name__ if made is not None else getattr(cell, "__name__", type(cell).__name__)
    sizes = f"({made.extra_repr()})" if made is not None else ""
    return Report(name + sizes, tuple(lines))


def _options(layer: Recurrent) -> dict[str, Any]:
    """The options of the layer's first cell."""
    _, options = layer.cell_type.at_layer(0, layer.num_layers, layer.cell_options)
    return dict(options) | ({} if layer.bias else {"bias": False})


def _build(lines: list[Line], kind: type[Cell], input_size: int, hidden_size: int, options: dict[str, Any]) -> Any:
    bias = options.pop("bias", True)
    try:
        with _poisoned_memory():
            return build_cell(kind, input_size, hidden_size, bias, None, None, options)
    except Exception as error:
        lines.append(Line("builds", False, where(error), f"{kind.__name__}({input_size}, {hidden_size}) must build"))
        return None


def _drawn(lines: list[Line], cell: Cell) -> None:
    """Every parameter has numbers; those that have none get some, so that the rest can be tried."""
    empty = [name for name, p in cell.named_parameters() if p.is_floating_point() and p.isnan().any()]
    if not empty:
        lines.append(Line("builds", True, "every parameter is drawn"))
        return
    way = "call self.reset_parameters() at the end of __init__, or fill it there with torch.nn.init"
    lines.append(Line("builds", False, f"holds no numbers yet: {', '.join(empty)}", way))
    with torch.no_grad():
        for parameter in cell.parameters():
            if parameter.isnan().any():
                parameter.uniform_(-0.5, 0.5)


def _try(lines: list[Line], cell: Cell) -> None:
    given = _given(lines, cell)
    if given is None or not _pure(lines, cell, given):
        return
    shaken = Trial(cell, given)
    shaken.shake()
    parts: tuple[tuple[str, Callable[[], Line | list[Line]]], ...] = (
        ("gradients", lambda: derivatives.right(shaken)),
        ("parameters", lambda: derivatives.reach(shaken)),
        ("zero states", lambda: derivatives.finite(Trial(cell, given))),
        ("loop = native", lambda: engines_agree.lines(cell, given)),
    )
    for name, part in parts:
        try:
            found = part()
        except Exception as error:
            found = Line(name, False, where(error), "the step must run on float32 and float64, forward and backward")
        lines += found if isinstance(found, list) else [found]


def _given(lines: list[Line], cell: Cell) -> dict[str, Form] | None:
    """Run the step once, with keywords of the first form that fits; None if there is none."""
    first: Exception | None = None
    for given in forms(cell):
        trial = Trial(cell, given)
        try:
            trial.step(*trial.step_inputs())
        except Exception as error:
            first = first or error
            continue
        left = [name for name, need in cell.streams().items() if not need]
        shapes = ", ".join(f"{n} (B, {w})" for n, (w, _) in {"x": (cell.input_size, None), **given}.items())
        without = f"; tried without {', '.join(left)}" if left else ""
        lines.append(Line("step", True, f"takes {shapes} and returns what it declares{without}"))
        return given
    assert first is not None
    way = "a step takes (x, *states) and returns the new states, (B, width) each, in the dtype it was given"
    needed = [name for name, need in cell.streams().items() if need]
    if needed:
        way += f"; {' and '.join(needed)} were tried as (B, 1) and (B, {cell.hidden_size}), numbers and flags"
    what = where(first)
    if isinstance(first, CellError):
        what, _, own = str(first).partition("; ")
        way = own or way
    lines.append(Line("step", False, what, way))
    return None


def _pure(lines: list[Line], cell: Cell, given: dict[str, Form]) -> bool:
    """Purity on one row, which cannot depend on others; then the rows. In training mode and in eval mode."""
    ways = (
        ("pure", 1, "the same input gives the same result, and leaves no trace"),
        ("rows apart", 3, "no row of a batch depends on another"),
    )
    for name, rows, text in ways:
        for training in (True, False):
            trial = Trial(cell, given)
            trial.own.train(training)
            trial.cell = trial.own._frozen_view()
            x, states, keywords = trial.step_inputs(rows)
            call = LayerCall((trial.cell,), (trial.cell.step,), x.unsqueeze(0), (states,), {}, keywords)
            try:
                purity.check(call)
                impure = _writes(trial.cell, call)
                if impure is not None:
                    lines.append(Line(name, False, str(impure).replace(f"; {STATE}", ""), STATE))
                    return False
            except CellError as error:
                what, _, way = str(error).partition("; ")
                lines.append(Line(name, False, what.split(", but ")[-1], way))
                return False
            except Exception as error:
                lines.append(Line(name, False, where(error), "the step must run on any number of rows"))
                return False
        lines.append(Line(name, True, text))
    return True


def _writes(cell: Cell, call: LayerCall) -> Refused | None:
    """What a step that was run before changes outside of the cell, when it is run again."""
    try:
        guard = Guard.of(cell)
    except Refused:  # what cannot be watched is another line's to say
        return None
    purity.check(call)
    return guard.change(cell)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Random draws and warnings of a check are its own; gradients are on, whatever mode the caller is in."""
    with (
        torch.random.fork_rng([]),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yield


@contextmanager
def _poisoned_memory() -> Iterator[None]:
    """Memory from ``torch.empty`` holds NaN, so that a parameter nobody draws shows."""
    fill: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = fill.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    fill.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        fill.fill_uninitialized_memory = filled
