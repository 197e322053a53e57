"""What a recurrent layer means, row by row in plain Python: no batching, no packing, nothing shared with the layers.

Each row is cut to its length and run alone through the cells, which are made anew and given the layer's numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cell_at(layer, k: int, d: int, width: int, **options):
    """A fresh cell with the numbers the layer holds under ``NAME_l{k}[_reverse]``."""
    hidden = layer.hidden_size[k] if isinstance(layer.hidden_size, tuple) else layer.hidden_size
    cell_type, options = layer.cell_type.at_layer(k, layer.num_layers, options or layer.cell_options)
    cell = cell_type(width, hidden, **options).to(next(layer.parameters()).dtype)
    suffix = f"_l{k}" + ("_reverse" if d else "")
    tensors = dict(layer.named_parameters()) | dict(layer.named_buffers())
    own = {}
    for name, value in tensors.items():
        head, _, tail = name.partition(".")
        if head.endswith(suffix) and not head.startswith("initial_"):
            own[head.removesuffix(suffix) + (f".{tail}" if tail else "")] = value
    return cell, own


def run_row(layer, x: Tensor, states: dict[tuple[int, int], tuple[Tensor, ...]], **given):
    """One row: x (t, I), given streams (t, ·) and constants (·). Returns (t, D·H_out) and the final states."""
    directions = 2 if layer.bidirectional else 1
    finals = {}
    for k in range(layer.num_layers):
        outputs = []
        for d in range(directions):
            cell, own = cell_at(layer, k, d, x.shape[-1])
            state = states[k, d]
            steps: list = [None] * len(x)
            order = range(len(x)) if d == 0 else reversed(range(len(x)))
            for t in order:
                now = {n: v[t] if v.dim() == 2 else v for n, v in given.items() if n in cell.streams()}
                hx = state if len(cell.state_names) > 1 else state[0]
                result = torch.func.functional_call(cell, own, (x[t], hx), now)
                output, new = result if cell.separate_output else (None, result)
                state = new if isinstance(new, tuple) else (new,)
                steps[t] = state[0] if output is None else output
            finals[k, d] = state
            outputs.append(torch.stack(steps) if steps else x.new_zeros(0, cell.output_size))
        x = torch.cat(outputs, dim=-1)
    return x, finals


def run(layer, x: Tensor, lengths: list[int], hx=None, **given):
    """(T, B, I) with lengths: the output (T, B, D·H_out), zero past each end, and the states [name] (D·L, B, ·)."""
    directions = 2 if layer.bidirectional else 1
    names = layer.state_shape.names
    rows = []
    for b, length in enumerate(lengths):
        states = {}
        for k in range(layer.num_layers):
            for d in range(directions):
                sizes = layer.state_shape.sizes[k]
                at = k * directions + d
                states[k, d] = tuple(x.new_zeros(size) if hx is None else hx[n][at, b] for n, size in enumerate(sizes))
        now = {n: v[:length, b] if v.dim() == 3 else v[b] for n, v in given.items()}
        rows.append(run_row(layer, x[:length, b], states, **now))
    padded = [torch.cat([y, y.new_zeros(len(x) - len(y), y.shape[1])]) for y, _ in rows]
    places = [(k, d) for k in range(layer.num_layers) for d in range(directions)]
    final = tuple(
        torch.stack([torch.stack([states[p][n] for _, states in rows]) for p in places]) for n in range(len(names))
    )
    return torch.stack(padded, dim=1), final
