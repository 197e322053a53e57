"""What added steps mean, row by row in plain Python: the cell's own step, and around it what was added; masks given.

Nothing is shared with the layers but the numbers: the cells are made anew, each row is cut to its length and run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import ostinato
from tests.support import reference
from tests.support.layer_matrix import Case, as_tuple

Masks = Mapping[str, Mapping[str, Tensor]]
"""Place → name → (T, B, ·): a tape."""

Step = Callable[
    [Any, dict[str, Tensor], Tensor, tuple[Tensor, ...], dict[str, Tensor]], tuple[Tensor, tuple[Tensor, ...]]
]
"""(cell, its numbers, x, states, masks of this row and step) → the output and the new states, without zoneout."""


def own_step(cell, own, x, states, masks):
    """The cell's own step."""
    result = torch.func.functional_call(cell, own, (x, states if len(states) > 1 else states[0]))
    output, new = result if cell.separate_output else (None, result)
    new = as_tuple(new)
    return (new[0] if output is None else output), new


@dataclass
class Added:
    """What is added, and the reference's way through a sequence.

    Args:
        masks: what the layer drew; empty in eval mode.
        expected: by state the part that zoneout keeps in eval mode.
        reset: (T, B) flags.
        begins: by (layer, direction), for each state (B, ·), where a row restarts; zeros if not given.
        step: the step that is run, with recurrent dropout if it has any.
    """

    masks: Masks = field(default_factory=dict)
    expected: Mapping[str, float] = field(default_factory=dict)
    reset: Tensor | None = None
    begins: Mapping[tuple[int, int], Sequence[Tensor]] | None = None
    step: Step = own_step

    def run(self, layer, x: Tensor, lengths: list[int], hx=None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(T, B, I) → the output (T, B, D·H_out), zero past each end, and the states [name] (D·L, B, ·)."""
        rows = [self._row(layer, x[:length, b], b, hx) for b, length in enumerate(lengths)]
        padded = [torch.cat([y, y.new_zeros(len(x) - len(y), y.shape[1])]) for y, _ in rows]
        places = sorted(rows[0][1])
        names = range(len(layer.state_shape.names))
        final = tuple(torch.stack([torch.stack([s[p][n] for _, s in rows]) for p in places]) for n in names)
        return torch.stack(padded, dim=1), final

    def _row(self, layer, x: Tensor, b: int, hx):
        directions = 2 if layer.bidirectional else 1
        finals = {}
        for k in range(layer.num_layers):
            outputs = []
            for d in range(directions):
                cell, own = reference.cell_at(layer, k, d, x.shape[-1])
                masks = self.masks.get(f"l{k}" + "_reverse" * d, {})
                begin = tuple(
                    x.new_zeros(size) if self.begins is None else self.begins[k, d][n][b]
                    for n, size in enumerate(cell.state_sizes)
                )
                state = begin if hx is None else tuple(s[k * directions + d, b] for s in hx)
                steps: list[Any] = [None] * len(x)
                for t in range(len(x))[:: -1 if d else 1]:
                    boundary = t + d  # the second direction crosses the boundary of t + 1 as it comes to t
                    if self.reset is not None and boundary < len(x) and bool(self.reset[boundary, b]):
                        state = begin
                    now = {name: value[t, b] for name, value in masks.items()}
                    steps[t], state = self._step(cell, own, x[t], state, now)
                finals[k, d] = state
                outputs.append(torch.stack(steps) if steps else x.new_zeros(0, cell.output_size))
            x = torch.cat(outputs, dim=-1)
        return x, finals

    def _step(self, cell, own, x, old, masks):
        output, new = self.step(cell, own, x, old, masks)
        zoned = []
        for name, before, after in zip(cell.state_names, old, new, strict=True):
            if (mask := masks.get(f"zoneout_{name}")) is not None:
                after = torch.stack([a if keep else b for keep, a, b in zip(mask, before, after, strict=True)])
            elif (part := self.expected.get(name)) is not None:
                after = part * before + (1 - part) * after
            zoned.append(after)
        return (output if cell.separate_output else zoned[0]), tuple(zoned)


def tape_of(layer, x: Tensor, lengths: list[int] | None, seed: int, **call: Any) -> Masks:
    """What the layer draws after this seed."""
    torch.manual_seed(seed)
    return ostinato.record(layer, x, lengths=lengths, **call)


def flags_in_form(case: Case, flags: Tensor, lengths: list[int]) -> Any:
    """(T, B) as the layer of this case takes it."""
    if case.form == "unbatched":
        return flags[:, 0]
    turned = flags.t() if case.batch_first else flags
    if case.form == "packed":
        return pack_padded_sequence(turned, lengths, batch_first=case.batch_first, enforce_sorted=False)
    return turned
