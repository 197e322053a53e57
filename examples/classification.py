"""Classify whole sequences, (N, L, I) → (N, classes): which figure a pen drew, from its movements alone.

    python examples/classification.py

A sequence is a list of pen movements (dx, dy), 12 to 30 of them; the figure is a circle, a square or an eight, begun
anywhere, turned at random, shaky. Many-to-one: the network's last outputs go to a linear map.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ostinato

FIGURES = ("circle", "square", "eight")
LONGEST = 30


def figure(kind: int, at: Tensor) -> Tensor:
    """The figure's points (T, 2) at the phases ``at`` (T), in turns."""
    angle = 2 * math.pi * at
    if kind == 0:
        return torch.stack([angle.cos(), angle.sin()], dim=-1)
    if kind == 1:
        circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
        return circle / circle.abs().amax(dim=-1, keepdim=True)
    return torch.stack([angle.sin(), (2 * angle).sin()], dim=-1)


def drawings(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """movements (N, L, 2), zero past a drawing's end; lengths (N); figures (N)."""
    figures = torch.randint(len(FIGURES), (count,), generator=generator)
    lengths = torch.randint(12, LONGEST + 1, (count,), generator=generator)
    movements = torch.zeros(count, LONGEST, 2)
    for n, (kind, length) in enumerate(zip(figures.tolist(), lengths.tolist(), strict=True)):
        begin, turn = torch.rand(2, generator=generator).tolist()
        points = figure(kind, begin + torch.linspace(0, 1, length + 1))
        cos, sin = math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)
        points = points @ torch.tensor([[cos, sin], [-sin, cos]])
        steps = points.diff(dim=0)
        movements[n, :length] = steps + 0.06 * torch.randn(length, 2, generator=generator)
    return movements, lengths, figures


class Classifier(nn.Module):
    """(N, L, I) → (N, classes): scores, whose softmax are the probabilities."""

    def __init__(self, input_size: int, hidden_size: int, classes: int) -> None:
        super().__init__()
        self.rnn = ostinato.GRU(input_size, hidden_size, batch_first=True, bidirectional=True)
        self.head = nn.Linear(self.rnn.output_size, classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        output, _ = self.rnn(x, lengths=lengths)
        # output[:, -1] would be padding for a short row, and a single step of the reverse run for every row.
        return self.head(self.rnn.last(output, lengths))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300, help="training steps (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    # A network this small gains nothing from a second thread, and waits for it where the machine is busy.
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    x, lengths, y = drawings(2000, generator)
    test_x, test_lengths, test_y = drawings(1000, generator)

    model = Classifier(2, 24, len(FIGURES))
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    shape = tuple(model(x[:64], lengths[:64]).shape)
    print(f"x {tuple(x.shape)}, lengths {tuple(lengths.shape)} → {shape} for 64 rows")
    for step in range(1, options.steps + 1):
        rows = torch.randint(len(x), (64,), generator=generator)
        loss = F.cross_entropy(model(x[rows], lengths[rows]), y[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step == 1 or step % max(1, options.steps // 5) == 0:
            print(f"step {step:>4}  cross-entropy {loss.item():.3f}")

    with torch.no_grad():
        said = model(test_x, test_lengths).argmax(dim=-1)
    right = (said == test_y).float().mean().item()
    usual = (test_y == y.mode().values).float().mean().item()
    print(f"right on 1000 new drawings: {right:.1%}; always saying the most frequent figure: {usual:.1%}")
    for kind, name in enumerate(FIGURES):
        print(f"  {name:<8}{(said[test_y == kind] == kind).float().mean().item():.1%}")


if __name__ == "__main__":
    main()
