"""Between torch.nn's modules and ours: the same parameters, the other code."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from ostinato.cells.library.elman import RNNCell
from ostinato.cells.library.gru import GRUCell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import InvalidType, InvalidValue
from ostinato.layers.torch_nn import GRU, LSTM, RNN

OURS: dict[type[nn.Module], type[nn.Module]] = {
    nn.RNN: RNN,
    nn.GRU: GRU,
    nn.LSTM: LSTM,
    nn.RNNCell: RNNCell,
    nn.GRUCell: GRUCell,
    nn.LSTMCell: LSTMCell,
}
THEIRS = {ours: theirs for theirs, ours in OURS.items()}

_LAYER_OPTIONS = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_CELL_OPTIONS = ("input_size", "hidden_size", "bias")
BEYOND_TORCH: dict[str, Any] = {
    "weight_dropout": 0.0,
    "zoneout": 0.0,
    "recurrent_dropout": 0.0,
    "clip_gradient": None,
    "dropout_form": "element",
    "connection": None,
    "activation": "tanh",
    "gate_activation": "sigmoid",
    "recurrent_rank": None,
    "heads": 1,
}
"""Options of a layer or its cells that torch.nn's have not, with the value at which they do nothing."""

_EXTRA = {nn.RNN: ("nonlinearity",), nn.RNNCell: ("nonlinearity",), nn.LSTM: ("proj_size",)}


def replace_(model: nn.Module) -> nn.Module:
    """Swap every recurrent torch.nn module inside ``model`` for ours, in place, sharing the parameters.

    The parameters are the same objects, so an optimizer made before goes on working; a module used in two places stays
    one module; its mode, pruning, hooks, and whatever else was put into it are kept. Subclasses of torch's modules are
    left alone: their own code would be lost.

    Args:
        model: any module; if it is itself a recurrent torch.nn module, use what is returned.

    Returns:
        The model.

    Raises:
        InvalidValue: a module to swap is parametrized (``torch.nn.utils.parametrize``): replace first, then
            parametrize.

    Example:
        >>> model = nn.ModuleDict({"rnn": nn.LSTM(4, 5), "head": nn.Linear(5, 2)})
        >>> before = model["rnn"].weight_ih_l0
        >>> type(ostinato.replace_(model)["rnn"])
        <class 'ostinato.layers.torch_nn.LSTM'>
        >>> model["rnn"].weight_ih_l0 is before
        True
    """
    if not isinstance(model, nn.Module):
        raise InvalidType(f"replace_ needs a torch.nn.Module, got {type(model).__name__}")
    swapped: dict[nn.Module, nn.Module] = {}
    for module in list(model.modules()):
        if parametrize.is_parametrized(module) and parametrize.type_before_parametrizations(module) in OURS:
            raise InvalidValue(
                f"replace_ cannot swap a parametrized {parametrize.type_before_parametrizations(module).__name__}: "
                "replace first and parametrize the result, or remove the parametrization"
            )
        if type(module) in OURS:
            swapped[module] = _converted(module, OURS[type(module)], keep=False)
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child in swapped:
                parent._modules[name] = swapped[child]
    return swapped.get(model, model)


def to_torch(layer: nn.Module) -> nn.Module:
    """torch.nn's module of the same function, sharing the parameters: the way back from :func:`replace_`.

    Args:
        layer: one of our RNN, GRU, LSTM or their cells, without what torch.nn does not have.

    Raises:
        InvalidType: torch.nn has no module for this layer.
        InvalidValue: the layer uses what torch.nn's has not: widths a layer, a learned or computed initial state, a
            projection in a single cell, parametrizations.

    Example:
        >>> type(ostinato.to_torch(ostinato.GRU(4, 5)))
        <class 'torch.nn.modules.rnn.GRU'>
    """
    if parametrize.is_parametrized(layer):
        raise InvalidValue("to_torch: remove the parametrization first; torch.nn's module would not have it")
    if type(layer) not in THEIRS:
        names = ", ".join(sorted(ours.__name__ for ours in THEIRS))
        raise InvalidType(
            f"to_torch needs one of ostinato's {names}, which torch.nn has too, got {type(layer).__module__}."
            f"{type(layer).__name__}; for a whole model call it on each of its layers"
        )
    if isinstance(getattr(layer, "hidden_size", None), tuple):
        raise InvalidValue(f"to_torch: torch.nn has one width for all layers, got hidden_size={layer.hidden_size}")
    if getattr(layer, "initial_state", "zeros") != "zeros":
        raise InvalidValue("to_torch: torch.nn begins at zeros; this layer has an initial_state of its own")
    of_cells = getattr(layer, "cell_options", {})
    for option, default in BEYOND_TORCH.items():
        if (value := of_cells.get(option, getattr(layer, option, default))) != default:
            raise InvalidValue(f"to_torch: torch.nn has no {option}, and this layer has {option}={value!r}")
    if (f := getattr(layer, "nonlinearity", "tanh")) not in ("tanh", "relu"):
        raise InvalidValue(f"to_torch: torch.nn.RNN has tanh and relu, and this layer has nonlinearity={f!r}")
    if isinstance(layer, LSTMCell) and layer.proj_size:
        raise InvalidValue("to_torch: torch.nn.LSTMCell has no projection; torch.nn.LSTM has: use ostinato.LSTM")
    return _converted(layer, THEIRS[type(layer)], keep=True)


def _converted(module: nn.Module, target: type[nn.Module], keep: bool) -> nn.Module:
    """``module`` as a ``target`` on the same tensors; ``keep``: the module lives on, so what is its own is copied."""
    kind: Any = type(module) if type(module) in OURS else target
    names = (_LAYER_OPTIONS if hasattr(module, "num_layers") else _CELL_OPTIONS) + _EXTRA.get(kind, ())
    options = {name: getattr(module, name) for name in names}
    if options.get("num_layers") == 1:
        options["dropout"] = 0.0
    # On the meta device nothing is drawn and nothing is allocated: every tensor comes from the other module.
    made = target(**options, device=torch.device("meta"))
    fresh = type(module)(**options, device=torch.device("meta"))
    own = vars(nn.Module()).keys()
    for name, value in vars(module).items():
        # What torch.nn.Module keeps of every module (hooks, mode, buffers), and what somebody put there besides.
        if name in own or name not in vars(fresh):
            shared = isinstance(value, dict) and not keep and "hook" in name  # so that a handle still removes its hook
            made.__dict__[name] = copy.copy(value) if isinstance(value, (dict, set)) and not shared else value
    if "dropout" in options:
        made.dropout = module.dropout
    if isinstance(made, nn.RNNBase):
        made._init_flat_weights()
    return made
