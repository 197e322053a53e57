"""Label every step, (N, L, I) → (N, L, classes): which characters stand inside a pair of brackets.

    python examples/labelling.py

An opening bracket that is never closed opens nothing, so a label hangs on what comes later: a single direction has to
guess there, and two directions see it. Both are trained alike, with about the same number of parameters.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ostinato

ALPHABET = "abc()"
LABELS = ("outside", "inside")
LONGEST = 24
NO_LABEL = -100
"""``F.cross_entropy`` leaves positions with this label out: here the padding."""


def inside(text: str) -> list[int]:
    """1 for a character in a pair of brackets, the brackets included; pairs do not nest."""
    labels, opened = [0] * len(text), None
    for n, character in enumerate(text):
        if character == "(" and opened is None:
            opened = n
        elif character == ")" and opened is not None:
            labels[opened : n + 1] = [1] * (n + 1 - opened)
            opened = None
    return labels


def texts(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """one-hot characters (N, L, I), lengths (N), labels (N, L)."""
    lengths = torch.randint(8, LONGEST + 1, (count,), generator=generator)
    chances = torch.tensor([0.27, 0.27, 0.26, 0.1, 0.1])
    tokens = torch.multinomial(chances, count * LONGEST, True, generator=generator).view(count, LONGEST)
    labels = torch.full((count, LONGEST), NO_LABEL)
    for n, length in enumerate(lengths.tolist()):
        text = "".join(ALPHABET[k] for k in tokens[n, :length].tolist())
        labels[n, :length] = torch.tensor(inside(text))
    return F.one_hot(tokens, len(ALPHABET)).float(), lengths, labels


class Labeller(nn.Module):
    """(N, L, I) → (N, L, classes)."""

    def __init__(self, input_size: int, hidden_size: int, classes: int, bidirectional: bool) -> None:
        super().__init__()
        self.rnn = ostinato.GRU(input_size, hidden_size, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(self.rnn.output_size, classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        output, _ = self.rnn(x, lengths=lengths)
        return self.head(output)


def train(model: Labeller, steps: int, generator: torch.Generator) -> None:
    """Fit to fresh texts, printing the loss."""
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    x, lengths, labels = texts(2000, generator)
    for step in range(1, steps + 1):
        rows = torch.randint(len(x), (64,), generator=generator)
        scores = model(x[rows], lengths[rows])
        # The classes' axis goes second: cross_entropy reads (N, classes, L) against labels (N, L).
        loss = F.cross_entropy(scores.transpose(1, 2), labels[rows], ignore_index=NO_LABEL)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step == 1 or step % max(1, steps // 4) == 0:
            print(f"  step {step:>4}  cross-entropy {loss.item():.3f}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=240, help="training steps of each network (default: 240)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    # A network this small gains nothing from a second thread, and waits for it where the machine is busy.
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    test_x, test_lengths, test_labels = texts(1000, torch.Generator().manual_seed(options.seed + 1))
    counted = test_labels != NO_LABEL
    usual = (test_labels[counted] == 0).float().mean().item()

    for bidirectional, hidden_size in ((False, 32), (True, 22)):
        model = Labeller(len(ALPHABET), hidden_size, len(LABELS), bidirectional)
        size = sum(p.numel() for p in model.parameters())
        shape = tuple(model(test_x[:64], test_lengths[:64]).shape)
        print(f"{'two directions' if bidirectional else 'one direction'}, {size:,} parameters:")
        print(f"  x {tuple(test_x[:64].shape)} → {shape}")
        train(model, options.steps, torch.Generator().manual_seed(options.seed))
        with torch.no_grad():
            said = model(test_x, test_lengths).argmax(dim=-1)
        right = (said == test_labels)[counted].float().mean().item()
        print(f"  right on 1000 new texts: {right:.1%} of the characters (always saying outside: {usual:.1%})")
        shown = "ab(ca)b(cab(c"
        one_hot = F.one_hot(torch.tensor([[ALPHABET.index(c) for c in shown]]), len(ALPHABET)).float()
        with torch.no_grad():
            marks = model(one_hot, torch.tensor([len(shown)]))[0].argmax(dim=-1).tolist()
        print(f"  {shown}\n  {''.join('^' if mark else ' ' for mark in marks).rstrip()}")


if __name__ == "__main__":
    main()
