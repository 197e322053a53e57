"""DropConnect: weights of which a part is left out while training. What ``weight_dropout=`` means for a layer's cells.

The draw itself is made where a cell is bound to the layer's values, once a forward pass (``binding.bind``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ostinato.cells import checks
from ostinato.errors import InvalidType, InvalidValue

RECURRENT = "weight_hh"
"""What the names of the weights from a state to the next begin with, in torch.nn's cells and in ours."""

Drops = dict[str, float]
"""A tensor's path in the cell (``weight_hh``, ``project.weight``) → the part of it that is dropped."""

Names = Sequence[tuple[str, str, Sequence[str]]]
"""For each cell of a layer: its suffix, the name of its class, and the paths of its tensors."""


def plan(value: Any, cells: Names) -> dict[str, Drops]:
    """What is dropped of each cell, by the cell's suffix; cells of which nothing is dropped are left out.

    Args:
        value: a probability, for every tensor whose name begins with ``weight_hh``; or one by the tensor's name.
        cells: the layer's cells.

    Raises:
        InvalidValue: no probability; no tensor of that name; none whose name begins with ``weight_hh``.
        InvalidType: neither a number nor a dictionary.

    Example:
        >>> from ostinato.cells import weight_drop
        >>> weight_drop.plan(0.5, [("_l0", "GRUCell", ["weight_ih", "weight_hh"])])
        {'_l0': {'weight_hh': 0.5}}
    """
    if isinstance(value, Mapping):
        return _by_name(value, cells)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidType(
            f"weight_dropout must be a probability, or a dictionary of them such as {{'{RECURRENT}': 0.5}}, got "
            f"{value!r} of type {type(value).__name__}"
        )
    part = checks.probability("weight_dropout", value)
    return {suffix: _recurrent(cell, names, part) for suffix, cell, names in cells} if part else {}


def _recurrent(cell: str, names: Sequence[str], part: float) -> Drops:
    found = [name for name in names if name.startswith(RECURRENT)]
    if not found:
        raise InvalidValue(
            f"weight_dropout={part:g} is for the parameters whose names begin with {RECURRENT}, and {cell} has "
            f"{', '.join(names) or 'none at all'}; name those it is meant for: weight_dropout={{NAME: {part:g}}}"
        )
    return dict.fromkeys(found, part)


def _by_name(value: Mapping[Any, Any], cells: Names) -> dict[str, Drops]:
    known = list(dict.fromkeys(name for _, _, names in cells for name in names))
    for name, part in value.items():
        if name not in known:
            owners = " or ".join(dict.fromkeys(cell for _, cell, _ in cells))
            raise InvalidValue(
                f"weight_dropout names {name!r}, and {owners} has {', '.join(known) or 'no parameters'}"
                f"{checks.nearest(name, known)}"
            )
        checks.probability(f"weight_dropout[{name!r}]", part)
    found = {suffix: {n: float(value[n]) for n in names if value.get(n)} for suffix, _, names in cells}
    return {suffix: drops for suffix, drops in found.items() if drops}
