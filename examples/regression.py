"""Estimate numbers from a sequence, (N, L, I) → (N, values): frequency and decay of a swing from noisy samples.

    python examples/regression.py

Each sequence holds 20 to 40 samples of a decaying oscillation, with noise and an unknown phase and size. Many-to-one
with mean squared error; the targets are standardised, so that both count alike and the loss begins near 1.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ostinato

VALUES = ("frequency", "decay")
LONGEST = 40


def swings(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """samples (N, L, 1), zero past a row's end; lengths (N); frequency and decay a step (N, 2)."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, generator=generator)

    lengths = torch.randint(20, LONGEST + 1, (count,), generator=generator)
    t = torch.arange(LONGEST).float()
    frequency, decay, phase, size = uniform(0.04, 0.2), uniform(0.0, 0.1), uniform(0.0, 1.0), uniform(0.5, 1.5)
    clean = size * torch.exp(-decay * t) * torch.sin(2 * math.pi * (frequency * t + phase))
    noisy = clean + 0.05 * torch.randn(count, LONGEST, generator=generator)
    noisy[t >= lengths.unsqueeze(1)] = 0.0
    return noisy.unsqueeze(-1), lengths, torch.cat([frequency, decay], dim=-1)


class Regressor(nn.Module):
    """(N, L, I) → (N, values)."""

    def __init__(self, input_size: int, hidden_size: int, values: int) -> None:
        super().__init__()
        self.rnn = ostinato.LSTM(input_size, hidden_size, batch_first=True, forget_bias=1.0)
        self.head = nn.Linear(self.rnn.output_size, values)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        output, _ = self.rnn(x, lengths=lengths)
        return self.head(self.rnn.last(output, lengths))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=500, help="training steps (default: 500)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    # A network this small gains nothing from a second thread, and waits for it where the machine is busy.
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    x, lengths, y = swings(4000, generator)
    test_x, test_lengths, test_y = swings(1000, generator)
    mean, scale = y.mean(dim=0), y.std(dim=0)

    model = Regressor(1, 32, len(VALUES))
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    shape = tuple(model(x[:64], lengths[:64]).shape)
    print(f"x {tuple(x.shape)}, lengths {tuple(lengths.shape)} → {shape} for 64 rows")
    for step in range(1, options.steps + 1):
        rows = torch.randint(len(x), (64,), generator=generator)
        loss = F.mse_loss(model(x[rows], lengths[rows]), (y[rows] - mean) / scale)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        if step == 1 or step % max(1, options.steps // 5) == 0:
            print(f"step {step:>4}  mean squared error {loss.item():.3f} (standardised)")

    with torch.no_grad():
        said = model(test_x, test_lengths) * scale + mean
    print("root mean squared error on 1000 new swings, beside that of always saying the mean:")
    for n, name in enumerate(VALUES):
        error = F.mse_loss(said[:, n], test_y[:, n]).sqrt().item()
        trivial = F.mse_loss(mean[n].expand(len(test_y)), test_y[:, n]).sqrt().item()
        print(f"  {name:<10} {error:.4f} a step  (mean: {trivial:.4f})")


if __name__ == "__main__":
    main()
