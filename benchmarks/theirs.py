"""torchrecurrent's layer of one of our cells, on copies of the cell's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ostinato import Cell
from ostinato.cells import registry
from rivals import Unavailable

Weights = Callable[[Any], Mapping[str, Tensor]]

ONE_BIAS = {"recurrent_bias": False}
"""As most of our cells have it: the other stays a buffer of zeros, which their step adds all the same."""
AFTER = {"bias": False}
"""The same, where ours stands with the recurrent product."""


@dataclass(frozen=True)
class Theirs:
    """Which of their layers it is, and how our weights go into it.

    Attributes:
        layer: its class in torchrecurrent.
        weights: of our cell, theirs by name, where name or layout differ; the others go by their names.
        options: their constructor's.
        ours: our cell's own, with which it is the same cell.
        differs: why theirs computes something else, if it does: then it keeps weights of its own.
    """

    layer: str
    weights: Weights = field(default=lambda cell: {})
    options: Mapping[str, Any] = field(default_factory=lambda: ONE_BIAS)
    ours: Mapping[str, Any] = field(default_factory=dict)
    differs: str | None = None


def renamed(**names: str) -> Weights:
    """Each of theirs is one of ours."""
    return lambda cell: {theirs: getattr(cell, own) for theirs, own in names.items()}


def order(*gates: int, names: tuple[str, ...] = ("weight_ih", "weight_hh", "bias_ih")) -> Weights:
    """Our stacked gates in their order."""
    return lambda cell: {name: rows(getattr(cell, name), len(gates), *gates) for name in names}


def rows(stacked: Tensor, count: int, *gates: int) -> Tensor:
    """Some of ``count`` stacked gates, in this order."""
    parts = stacked.chunk(count)
    return torch.cat([parts[gate] for gate in gates])


def nothing(like: Tensor, gates: int, hidden_size: int) -> Tensor:
    return like.new_zeros(gates * hidden_size)


def _multiplicative(cell: Any) -> dict[str, Tensor]:
    return {
        "weight_ih": torch.cat([cell.weight_mx, cell.weight_ih]),
        "weight_hh": cell.weight_mh,
        "weight_mh": cell.weight_hh,
        "bias_ih": torch.cat([nothing(cell.bias_ih, 1, cell.hidden_size), cell.bias_ih]),
    }


def _original(cell: Any) -> dict[str, Tensor]:
    """The paper's squashing functions are tanh stretched by two, theirs tanh: halves of the memory's weights."""
    found = {}
    for name in ("weight_ih", "weight_hh", "bias_ih"):
        i, c, o = getattr(cell, name).chunk(3)
        found[name] = torch.cat([i, c / 2, o])
    return found


def _peepholes(cell: Any) -> dict[str, Tensor]:
    return {"weight_ph": torch.cat([cell.peephole_i, cell.peephole_f, cell.peephole_o])}


def _mut1(cell: Any) -> dict[str, Tensor]:
    gates, candidate = cell.bias_hh.split([2 * cell.hidden_size, cell.hidden_size])
    zeros = nothing(gates, 1, cell.hidden_size)
    return {
        "weight_ih": torch.cat([cell.weight_ih, cell.weight_xh]),
        "bias_ih": torch.cat([gates, zeros]),
        "bias_hh": torch.cat([zeros, candidate]),
    }


def _mut2(cell: Any) -> dict[str, Tensor]:
    z, n = cell.weight_ih.chunk(2)
    return {"weight_ih": torch.cat([z, cell.weight_xh, n])}


def _t_rnn(cell: Any) -> dict[str, Tensor]:
    return {"bias_ih": torch.cat([nothing(cell.bias_f, 1, cell.hidden_size), cell.bias_f])}


THEIRS: dict[str, Theirs] = {
    "antisymmetric-rnn": Theirs("AntisymmetricRNN", options={**ONE_BIAS, "epsilon": 0.01, "gamma": 0.01}),
    "atr": Theirs("ATR"),
    "br": Theirs("BR", options=AFTER),
    "cfn": Theirs("CFN", options=AFTER),
    "cornn": Theirs(
        "coRNN", renamed(weight_hh="weight_yh", weight_ch="weight_zh"), {**ONE_BIAS, "cell_bias": False, "dt": 0.1}
    ),
    "dsgu": Theirs("DSGU", renamed(weight_ho="weight_go")),
    "fast-grnn": Theirs("FastGRNN", options={**ONE_BIAS, "nonlinearity": "sigmoid"}),
    "fast-rnn": Theirs("FastRNN"),
    "gated-antisymmetric-rnn": Theirs("GatedAntisymmetricRNN", options={**ONE_BIAS, "epsilon": 0.01, "gamma": 0.01}),
    "ind-rnn": Theirs("IndRNN", renamed(vector_u="weight_hh"), {**ONE_BIAS, "nonlinearity": "relu"}),
    "intersection-rnn": Theirs("IntersectionRNN"),
    "janet": Theirs("JANET"),
    "lem": Theirs("LEM", differs="theirs computes y from the z before, the paper from the new one"),
    "li-gru": Theirs("LiGRU", options={**ONE_BIAS, "nonlinearity": "relu"}),
    "light-ru": Theirs("LightRU", order(1, 0, names=("weight_ih",)), AFTER),
    "memory-controller-lstm": Theirs("MCLSTM"),
    "mgu": Theirs("MGU"),
    "minimal-rnn": Theirs("MinimalRNN", renamed(weight_mm="weight_zh"), {}),
    "miru1": Theirs("MiRU1", options={**ONE_BIAS, "update_coefficient": 0.5}),
    "miru2": Theirs("MiRU2", options={**ONE_BIAS, "update_coefficient": 0.5, "reset_coefficient": 0.5}),
    "multiplicative-lstm": Theirs("MultiplicativeLSTM", _multiplicative, {**ONE_BIAS, "multiplicative_bias": False}),
    "mut1": Theirs("MUT1", _mut1, {}, {"project": True}),
    "mut2": Theirs("MUT2", _mut2, AFTER, {"project": True}),
    "mut3": Theirs("MUT3", renamed(bias_ih="bias_hh")),
    "nas": Theirs("NAS", options=AFTER, differs="theirs adds in a node where the paper multiplies"),
    "nbr": Theirs("NBR", options=AFTER),
    "original-lstm": Theirs("OriginalLSTM", _original),
    "peephole-lstm": Theirs("PeepholeLSTM", _peepholes),
    "ran": Theirs("RAN", order(2, 0, 1, names=("weight_ih",)), AFTER),
    "res-lstm": Theirs(
        "ResLSTM",
        lambda cell: {**_peepholes(cell), "weight_proj": cell.weight_p, "weight_res": cell.weight_xh},
        ours={"project": True},
    ),
    "scrn": Theirs("SCRN", differs="theirs carries the output on, the paper the hidden layer"),
    "sgrn": Theirs("SGRN", options=AFTER),
    "sgu": Theirs("SGU"),
    "star": Theirs("STAR", order(1, 0, names=("weight_ih", "bias_ih"))),
    "t-gru": Theirs("TGRU", renamed(weight_hh="weight_before")),
    "t-lstm": Theirs("TLSTM", renamed(weight_hh="weight_before")),
    "t-rnn": Theirs("TRNN", _t_rnn, {}),
    "tau-gru": Theirs("tauGRU", order(0, 3, 1, 2)),
    "ugrnn": Theirs("UGRNN"),
    "unicornn": Theirs("UnICORNN", renamed(weight_ch="control"), {}),
    "wmc-lstm": Theirs("WMCLSTM", renamed(weight_mh="weight_ch"), {**ONE_BIAS, "memory_bias": False}),
}
"""By the names of our cells: every layer torchrecurrent 0.2.5 has."""


def options_of(name: str) -> Mapping[str, Any]:
    """Our cell's options with which theirs is the same."""
    return THEIRS[name].ours if name in THEIRS else {}


def layer(cell: Cell) -> tuple[nn.Module, str | None]:
    """Their layer on our cell's weights, and why it is not on them if it is not.

    Raises:
        Unavailable: torchrecurrent is not installed, or has no such cell, or not for these sizes.
    """
    name = next(known.name for known in registry.everyone().values() if known.cell is type(cell))
    try:
        import torchrecurrent
    except ImportError:
        raise Unavailable("no torchrecurrent: pip install -c constraints.txt -e '.[bench]'") from None
    if name not in THEIRS:
        raise Unavailable("torchrecurrent has no such cell")
    entry = THEIRS[name]
    try:
        made = getattr(torchrecurrent, entry.layer)(cell.input_size, cell.hidden_size, **entry.options)
    except ValueError as error:
        raise Unavailable(str(error)) from None
    if entry.differs is not None:
        return made, entry.differs
    own = entry.weights(cell)
    with torch.no_grad():
        for key, parameter in made.cells[0].named_parameters():
            parameter.copy_(own[key] if key in own else getattr(cell, key))
    return made, None
