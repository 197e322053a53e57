"""The last valid step of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor


def last_step(output: Tensor, lengths: Tensor | None, directions: int) -> Tensor:
    """(T, B, D·H) → (B, D·H): forward's features at each row's last valid step, backward's at the first.

    A row of length zero has no valid step: zeros.
    """
    steps, rows, width = output.shape
    if lengths is None:
        lengths = torch.full((rows,), steps, device=output.device)
    lengths = lengths.to(output.device)
    if steps == 0:
        return output.new_zeros(rows, width)
    half = width // directions
    at = (lengths - 1).clamp(min=0).view(1, rows, 1).expand(1, rows, half)
    last = output[..., :half].gather(0, at).squeeze(0)
    if directions == 2:
        last = torch.cat([last, output[0, :, half:]], dim=-1)
    return torch.where((lengths > 0).unsqueeze(-1), last, torch.zeros((), dtype=last.dtype, device=last.device))
