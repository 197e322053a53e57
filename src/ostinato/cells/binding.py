"""A cell's text on a layer's values: the template without tensors, and the cell bound to effective parameters.

A layer owns every parameter of its cells under ``NAME_l{k}[_reverse]``. What is left of the cell is a template: its
class and its plain attributes. Once a forward pass the template is bound to the layer's values as they are at that
moment, each read exactly once, so that a parametrization (weight drop, spectral norm) acts once and not once a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.functional import dropout
from torch.nn.utils import parametrize

from ostinato.cells.cell import Cell
from ostinato.cells.weight_drop import Drops
from ostinato.errors import CellError, InvalidValue


@dataclass(frozen=True)
class Slot:
    """One cell's place in a layer: which of the layer's names are its own."""

    template: Cell
    suffix: str
    parameters: tuple[str, ...]
    absent: tuple[str, ...]
    buffers: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def name(self) -> str:
        """``l0``, ``l0_reverse``, …: the cell's name in tapes and in explanations."""
        return self.suffix.removeprefix("_")


def take_over(layer: nn.Module, cell: Cell, suffix: str) -> Slot:
    """Register all tensors and submodules of ``cell`` on ``layer`` under NAME + suffix; the rest is the template."""
    if cell._forward_hooks or cell._forward_pre_hooks:
        raise CellError(
            f"{type(cell).__name__} registers forward hooks on itself (as torch.nn.utils.prune and the older "
            "weight_norm do), and a layer never calls the cell as a module; apply them to the layer, or use "
            "torch.nn.utils.parametrize in the cell"
        )
    slot = Slot(
        cell,
        suffix,
        parameters=tuple(name for name, value in cell._parameters.items() if value is not None),
        absent=tuple(n for own in (cell._parameters, cell._modules) for n, value in own.items() if value is None),
        buffers=tuple(cell._buffers),
        modules=tuple(name for name, value in cell._modules.items() if value is not None),
    )
    for name in slot.parameters:
        layer.register_parameter(name + suffix, cell._parameters[name])
    for name in slot.buffers:
        persistent = name not in cell._non_persistent_buffers_set
        layer.register_buffer(name + suffix, cell._buffers[name], persistent=persistent)
    for name in slot.modules:
        layer.add_module(name + suffix, cell._modules[name])
    for own in ("_parameters", "_buffers", "_modules"):
        cell.__dict__[own] = {}
    return slot


def bind(slot: Slot, layer: nn.Module, kind: type[Cell] | None = None) -> Cell:
    """The cell on the layer's effective values, in the layer's mode; assigning to it is refused (steps are pure).

    Args:
        kind: a class derived from the cell's own, to stand in its place.
    """
    suffix = slot.suffix
    parameters: dict[str, Any] = {name: getattr(layer, name + suffix) for name in slot.parameters}
    parameters.update(dict.fromkeys(slot.absent))
    modules = {name: getattr(layer, name + suffix) for name in slot.modules}
    own = modules.pop("parametrizations", None)
    if own is not None:
        parameters.update({name: tensor() for name, tensor in own.items()})
    bound = _view(slot.template, parameters, {n: _read_once(m) for n, m in modules.items()}, kind)
    bound.__dict__["_buffers"] = {name: getattr(layer, name + suffix) for name in slot.buffers}
    bound.__dict__["training"] = layer.training
    if layer.training and (drops := vars(layer).get("_weight_drops")):
        _drop(bound, drops.get(suffix, {}))
    bound.__dict__["_frozen"] = True
    return bound


def tensor_names(slot: Slot, layer: nn.Module) -> list[str]:
    """The paths in the cell of its parameters and of its submodules'; of parametrized ones what the cell reads."""
    names = [*slot.parameters]
    for module in slot.modules:
        names += [f"{module}.{name}" for name, _ in getattr(layer, module + slot.suffix).named_parameters()]
    return list(dict.fromkeys(_as_read(name) for name in names))


def _as_read(path: str) -> str:
    """``parametrizations.weight.original0`` is read as ``weight``; any other path is what it says."""
    parts = path.split(".")
    if "parametrizations" not in parts:
        return path
    at = parts.index("parametrizations")
    return ".".join((*parts[:at], parts[at + 1]))


def reset(slot: Slot, layer: nn.Module) -> None:
    """Let the cell's submodules and the cell draw their parameters again, in place, on the layer's own tensors."""
    suffix = slot.suffix
    hidden = [name + suffix for name in slot.parameters if layer._parameters.get(name + suffix) is None]
    if hidden or "parametrizations" in slot.modules:
        raise InvalidValue(
            f"reset_parameters cannot draw {', '.join(hidden) or 'parametrized values'} anew: remove the "
            "parametrization or pruning first"
        )
    parameters = {name: layer._parameters[name + suffix] for name in slot.parameters}
    parameters.update(dict.fromkeys(slot.absent))
    modules = {name: getattr(layer, name + suffix) for name in slot.modules}
    for module in (inner for outer in modules.values() for inner in outer.modules()):
        if callable(draw := getattr(module, "reset_parameters", None)):
            draw()
    view = _view(slot.template, parameters, modules)
    view.__dict__["_buffers"] = {name: getattr(layer, name + suffix) for name in slot.buffers}
    view.reset_parameters()


def _drop(bound: Cell, drops: Drops) -> None:
    """Drop of each of these tensors its part; a submodule that holds one is the layer's, and gives way to a view."""
    for path, part in drops.items():
        owner: Any = bound
        *inner, name = path.split(".")
        for step in inner:
            module = owner._modules[step]
            owner._modules[step] = _view(module, dict(module._parameters), dict(module._modules))
            owner = owner._modules[step]
        owner._parameters[name] = dropout(owner._parameters[name], part, training=True)


def _view(
    module: Any, parameters: dict[str, Any], modules: dict[str, nn.Module], kind: type[nn.Module] | None = None
) -> Any:
    view: Any = object.__new__(kind or parametrize.type_before_parametrizations(module))
    view.__dict__.update(module.__dict__)
    view.__dict__.update(_parameters=parameters, _modules=modules)
    return view


def _read_once(module: nn.Module) -> nn.Module:
    """The module itself, or, where anything in it is parametrized, a view with each such value computed once."""
    if not any(parametrize.is_parametrized(m) for m in module.modules()):
        return module
    parameters: dict[str, Any] = dict(module._parameters)
    modules = {n: _read_once(m) for n, m in module._modules.items() if m is not None}
    for name, tensor in getattr(modules.pop("parametrizations", None), "_modules", {}).items():
        parameters[name] = tensor()
    return _view(module, parameters, modules)
