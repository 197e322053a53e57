"""The same weights in the layouts of other texts and programs, both ways.

``stacked`` is torch.nn's: ``weight_ih`` (G·H, I), ``weight_hh`` (G·H, P), ``bias_ih``, ``bias_hh`` (G·H), and
``weight_hr`` (P, H) for an LSTM with a projection. Every function takes or gives the weights of one cell, one
direction of one layer: ``cell.state_dict()``, or :func:`cell_weights` of a layer.

======== ============================================================ =====================================
layout   tensors                                                      a product is
======== ============================================================ =====================================
gates    ``W_i{gate}`` (I, H), ``W_h{gate}`` (P, H), ``b_{gate}`` (H)   ``x @ W_ii + h @ W_hi + b_i``
joined   ``W_{gate}`` (H, I + P), ``b_{gate}`` (H)                      ``W_i @ [x, h] + b_i``
uwv      ``U`` (I, H), ``W`` (H, H), ``b`` (H), ``V`` (H, O), ``b_y``   ``x @ U + h @ W + b``, ``y = h @ V + b_y``
======== ============================================================ =====================================

Each has one bias where torch.nn has two. Going there adds the two; coming back puts the sum into ``bias_ih`` and zero
into ``bias_hh``. The function stays the same to rounding, and exactly the same if ``bias_hh`` was zero; but how the sum
was split is lost, and as both halves receive the same gradient, training on moves the sum twice as fast as a
single bias: it differs between the layouts. The candidate of a GRU with the reset after the product has two biases
that do not add (the reset acts on one): ``gates`` keeps them as ``b_in`` and ``b_hn``, ``joined`` cannot say it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ostinato.cells import checks
from ostinato.errors import InvalidShape, InvalidType, InvalidValue
from ostinato.layers.recurrent import Recurrent

__all__ = ["cell_weights", "from_gates", "from_joined", "from_uwv", "to_gates", "to_joined", "to_uwv"]

Weights = Mapping[str, Tensor]

GATES = {"lstm": "ifgo", "gru": "rzn", "cho_gru": "rzn"}


def cell_weights(layer: Recurrent, place: str = "l0") -> dict[str, Tensor]:
    """The weights of one (layer, direction), detached, under the cell's own names.

    Args:
        place: ``"l0"``, ``"l0_reverse"``, ``"l1"``, …

    Raises:
        InvalidValue: the layer has no such place.

    Example:
        >>> sorted(ostinato.layouts.cell_weights(ostinato.GRU(4, 5, bidirectional=True), "l0_reverse"))
        ['bias_hh', 'bias_ih', 'weight_hh', 'weight_ih']
    """
    if not isinstance(layer, Recurrent):
        raise InvalidType(f"cell_weights needs a recurrent layer of ours, got {type(layer).__name__}")
    slots = {slot.name: slot for slot in layer.slots}
    slot = slots[checks.one_of("place", place, slots)]
    return {name: getattr(layer, name + slot.suffix).detach() for name in slot.parameters}


def to_gates(weights: Weights, network: str) -> dict[str, Tensor]:
    """Stacked → a separate matrix and one bias a gate, x on the left.

    Args:
        weights: stacked, of one cell.
        network: ``"lstm"``, ``"gru"`` or ``"cho_gru"``.

    Returns:
        ``W_i{gate}`` (I, H), ``W_h{gate}`` (P, H) and, if there are biases, ``b_{gate}`` (H), for the gates
        i, f, g, o or r, z, n; ``b_in`` and ``b_hn`` for n of ``"gru"``; ``W_hr`` (H, P) for a projection.

    Example:
        >>> cell = ostinato.LSTMCell(4, 5)
        >>> gates = ostinato.layouts.to_gates(cell.state_dict(), "lstm")
        >>> gates["W_ii"].shape, gates["b_f"].shape
        (torch.Size([4, 5]), torch.Size([5]))
    """
    gates = _gates(network)
    parts = _split(weights, len(gates))
    result = {}
    for k, gate in enumerate(gates):
        result[f"W_i{gate}"] = _turned(parts["weight_ih"][k])
        result[f"W_h{gate}"] = _turned(parts["weight_hh"][k])
        if "bias_ih" in parts:
            if (network, gate) == ("gru", "n"):
                result["b_in"], result["b_hn"] = parts["bias_ih"][k].clone(), parts["bias_hh"][k].clone()
            else:
                result[f"b_{gate}"] = parts["bias_ih"][k] + parts["bias_hh"][k]
    if "weight_hr" in weights:
        result["W_hr"] = _turned(weights["weight_hr"])
    return result


def from_gates(weights: Weights, network: str) -> dict[str, Tensor]:
    """The inverse of :func:`to_gates`; the sum of the biases goes into ``bias_ih``, zero into ``bias_hh``."""
    gates = _gates(network)
    _need(weights, [f"W_{side}{gate}" for side in "ih" for gate in gates])
    result = {
        "weight_ih": torch.cat([weights[f"W_i{gate}"].T for gate in gates]),
        "weight_hh": torch.cat([weights[f"W_h{gate}"].T for gate in gates]),
    }
    if any(name.startswith("b_") for name in weights):
        names = [("b_in", "b_hn") if (network, gate) == ("gru", "n") else (f"b_{gate}", None) for gate in gates]
        _need(weights, [name for pair in names for name in pair if name])
        result["bias_ih"] = torch.cat([weights[first] for first, _ in names])
        result["bias_hh"] = torch.cat(
            [weights[second] if second else torch.zeros_like(weights[first]) for first, second in names]
        )
    # Of a GRU, W_hr is the reset gate's matrix.
    if network == "lstm" and "W_hr" in weights:
        result["weight_hr"] = _turned(weights["W_hr"])
    return result


def to_joined(weights: Weights, network: str) -> dict[str, Tensor]:
    """Stacked → ``W [x, h] + b``, one matrix and one bias a gate.

    Args:
        network: ``"lstm"`` or ``"cho_gru"``, whose candidate reads ``[x, r ⊙ h]``.

    Raises:
        InvalidValue: ``"gru"``, whose reset acts on a part of the sum that a joined product does not have.

    Example:
        >>> joined = ostinato.layouts.to_joined(ostinato.LSTMCell(4, 5).state_dict(), "lstm")
        >>> joined["W_f"].shape
        torch.Size([5, 9])
    """
    gates = _joinable(network)
    parts = _split(weights, len(gates))
    result = {}
    for k, gate in enumerate(gates):
        result[f"W_{gate}"] = torch.cat([parts["weight_ih"][k], parts["weight_hh"][k]], dim=1)
        if "bias_ih" in parts:
            result[f"b_{gate}"] = parts["bias_ih"][k] + parts["bias_hh"][k]
    if "weight_hr" in weights:
        result["W_hr"] = weights["weight_hr"].clone()
    return result


def from_joined(weights: Weights, network: str, input_size: int) -> dict[str, Tensor]:
    """The inverse of :func:`to_joined`; ``input_size`` says where x ends and h begins."""
    gates = _joinable(network)
    _need(weights, [f"W_{gate}" for gate in gates])
    stacked = torch.cat([weights[f"W_{gate}"] for gate in gates])
    if not 0 < checks.size("input_size", input_size) < stacked.shape[1]:
        raise InvalidValue(f"input_size must be smaller than I + H = {stacked.shape[1]}, got {input_size}")
    result = {
        "weight_ih": stacked[:, :input_size].clone(),
        "weight_hh": stacked[:, input_size:].clone(),
    }
    if any(name.startswith("b_") for name in weights):
        _need(weights, [f"b_{gate}" for gate in gates])
        result["bias_ih"] = torch.cat([weights[f"b_{gate}"] for gate in gates])
        result["bias_hh"] = torch.zeros_like(result["bias_ih"])
    if "W_hr" in weights:
        result["weight_hr"] = weights["W_hr"].clone()
    return result


def to_uwv(weights: Weights) -> dict[str, Tensor]:
    """Stacked → ``U``, ``W``, ``b`` (and ``V``, ``b_y``) of a simple recurrent network, x on the left.

    Example:
        >>> sorted(ostinato.layouts.to_uwv(ostinato.ElmanCell(4, 5, output_size=3).state_dict()))
        ['U', 'V', 'W', 'b', 'b_y']
    """
    _need(weights, ["weight_ih", "weight_hh"])
    result = {
        "U": _turned(weights["weight_ih"]),
        "W": _turned(weights["weight_hh"]),
    }
    if "bias_ih" in weights:
        result["b"] = weights["bias_ih"] + weights["bias_hh"]
    if "weight_ho" in weights:
        result["V"] = _turned(weights["weight_ho"])
    if "bias_ho" in weights:
        result["b_y"] = weights["bias_ho"].clone()
    return result


def from_uwv(weights: Weights) -> dict[str, Tensor]:
    """The inverse of :func:`to_uwv`."""
    _need(weights, ["U", "W"])
    result = {
        "weight_ih": _turned(weights["U"]),
        "weight_hh": _turned(weights["W"]),
    }
    if "b" in weights:
        result["bias_ih"], result["bias_hh"] = weights["b"].clone(), torch.zeros_like(weights["b"])
    if "V" in weights:
        result["weight_ho"] = _turned(weights["V"])
    if "b_y" in weights:
        result["bias_ho"] = weights["b_y"].clone()
    return result


def _gates(network: str) -> str:
    return GATES[checks.one_of("network", network, GATES)]


def _joinable(network: str) -> str:
    if network == "gru":
        raise InvalidValue(
            "the candidate of 'gru' cannot be written as W [x, h] + b: its reset acts on W_hn h + b_hn alone; use "
            "the layout 'gates', or 'cho_gru', whose reset acts before the product"
        )
    return _gates(network)


def _split(weights: Weights, gates: int) -> dict[str, tuple[Tensor, ...]]:
    _need(weights, ["weight_ih", "weight_hh"])
    if "bias_ih" in weights or "bias_hh" in weights:
        _need(weights, ["bias_ih", "bias_hh"])
    hidden = weights["weight_hr"].shape[1] if "weight_hr" in weights else weights["weight_hh"].shape[1]
    stacked = [name for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if name in weights]
    for name in stacked:
        if weights[name].shape[0] != gates * hidden:
            raise InvalidShape(
                f"{name} must have {gates}·H = {gates * hidden} rows for {gates} gates of H = {hidden}, got "
                f"{weights[name].shape[0]}; are these weights of another network?"
            )
    return {name: weights[name].chunk(gates) for name in stacked}


def _need(weights: Weights, names: list[str]) -> None:
    missing = [name for name in names if name not in weights]
    if missing:
        raise InvalidValue(f"the weights need {missing[0]!r}; they have: {', '.join(sorted(weights)) or 'nothing'}")


def _turned(matrix: Tensor) -> Tensor:
    """The transpose, as a tensor of its own memory."""
    return matrix.T.clone(memory_format=torch.contiguous_format)
