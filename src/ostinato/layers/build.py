"""From a layer's arguments to its cells: what a cell takes, what is done for it from outside, how wide each is."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch

from ostinato.cells import checks
from ostinato.cells.cell import Cell
from ostinato.errors import CellError, InvalidType, InvalidValue

LAYER_OPTIONS = (
    "num_layers",
    "bias",
    "batch_first",
    "dropout",
    "dropout_form",
    "connection",
    "bidirectional",
    "engine",
    "recompute",
    "weight_dropout",
    "initial_state",
    "zoneout",
    "recurrent_dropout",
    "recurrent_dropout_form",
    "clip_gradient",
)
"""What a layer takes itself: a misspelt one arrives here as an option of the cell."""


def build_cell(
    cell_type: type[Cell],
    input_size: int,
    hidden_size: int,
    bias: bool,
    device: Any,
    dtype: torch.dtype | None,
    options: Mapping[str, Any],
) -> Cell:
    """A cell from options common to all layers; what its constructor does not take is done from outside."""
    if cell_type.step is Cell.step:
        raise CellError(f"{cell_type.__name__} is a cell without a step: define step(self, x, h)")
    parameters = inspect.signature(cell_type.__init__).parameters
    passes_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    offered = {"bias": (bias, True), "device": (device, None), "dtype": (dtype, None)}
    keywords = {
        name: value
        for name, (value, default) in offered.items()
        if name in parameters or (passes_on and value != default)
    }
    known = [p.name for p in list(parameters.values())[3:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [name for name in options if name not in known and not passes_on]
    if not bias and "bias" not in keywords:
        unknown.append("bias")
    if unknown:
        listed = ", ".join(name for name in known if name not in offered) or "none"
        near = checks.nearest(unknown[0], [name for name in (*known, *LAYER_OPTIONS) if name != unknown[0]])
        raise InvalidType(f"{cell_type.__name__} has no option {unknown[0]!r}; it has: {listed}{near}")
    with torch.device(device) if device is not None and "device" not in keywords else nullcontext():
        cell = cell_type(input_size, hidden_size, **keywords, **options)
    return cell.to(dtype=dtype) if dtype is not None and "dtype" not in keywords else cell


def common_names(cells: list[Cell]) -> tuple[str, ...]:
    """The state names of a stack, which all its layers share."""
    names = {cell.state_names for cell in cells}
    if len(names) > 1:
        raise CellError(f"all layers must have the same states, got {', '.join(map(str, sorted(names)))}")
    return cells[0].state_names


def layer_widths(hidden_size: Any, num_layers: Any) -> tuple[tuple[int, ...], int]:
    """The width of each layer, and how many there are."""
    if isinstance(hidden_size, (list, tuple)):
        widths = tuple(checks.size(f"hidden_size[{k}]", width) for k, width in enumerate(hidden_size))
        if not widths:
            raise InvalidValue("hidden_size must name at least one layer's width, got an empty list")
        if num_layers not in (1, len(widths)):
            raise InvalidValue(
                f"hidden_size names {len(widths)} layers and num_layers is {num_layers}; leave num_layers out"
            )
        return widths, len(widths)
    return (checks.size("hidden_size", hidden_size),) * checks.size("num_layers", num_layers), num_layers
