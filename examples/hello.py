"""Teach three small recurrent programs to answer "hello" with "ohlol"; prints the string and the loss of every epoch.

    python examples/hello.py                     # all three
    python examples/hello.py --program 2 --seed 3

Program 1 calls a cell in a loop of its own, program 2 a layer over the whole sequence, program 3 puts an embedding
before a layer of two and a linear map behind it. Each takes the recurrent classes from outside, so the same program
runs on Ostinato's and on torch.nn's.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ostinato

ALPHABET = "ehlo"
QUESTION, ANSWER = "hello", "ohlol"
EPOCHS = 15

CHOSEN_SEED = 58
"""Not drawn by lot: with it all three programs end in ``ohlol`` below the losses of TO_REACH, as most seeds do not."""

TO_REACH = {1: 2.6347, 2: 0.5630, 3: 0.0363}
"""The last loss of a run that counts as learnt: program 1 sums it over the five characters, the others average."""


class Networks(Protocol):
    """Where the recurrent classes come from: ``ostinato`` or ``torch.nn``."""

    RNNCell: Any
    RNN: Any


@dataclass(frozen=True)
class Epoch:
    """What a program would answer at this point of training, and its loss."""

    text: str
    loss: float


def numbers(text: str) -> Tensor:
    """text → (T,) places in the alphabet."""
    return torch.tensor([ALPHABET.index(character) for character in text])


def spell(scores: Tensor) -> str:
    """(T, 4) scores → the likeliest character of each step."""
    return "".join(ALPHABET[n] for n in scores.argmax(dim=-1).tolist())


def cell_in_a_loop(networks: Networks, seed: int) -> list[Epoch]:
    """Program 1: one-hot characters through a cell, step by step; its state serves as the scores."""
    torch.manual_seed(seed)
    x = F.one_hot(numbers(QUESTION), len(ALPHABET)).float().unsqueeze(1)  # (T=5, B=1, I=4)
    y = numbers(ANSWER).unsqueeze(1)  # (T=5, B=1)
    cell = networks.RNNCell(len(ALPHABET), len(ALPHABET))
    adam = torch.optim.Adam(cell.parameters(), lr=0.1)
    epochs = []
    for _ in range(EPOCHS):
        h = torch.zeros(1, len(ALPHABET))
        loss, states = torch.zeros(()), []
        for x_t, y_t in zip(x, y, strict=True):
            h = cell(x_t, h)
            loss = loss + F.cross_entropy(h, y_t)
            states.append(h)
        epochs.append(Epoch(spell(torch.cat(states)), loss.item()))
        descend(adam, loss)
    return epochs


def whole_layer(networks: Networks, seed: int) -> list[Epoch]:
    """Program 2: the same characters through a layer, which is the loop; the loss is the mean."""
    torch.manual_seed(seed)
    x = F.one_hot(numbers(QUESTION), len(ALPHABET)).float().unsqueeze(1)  # (T=5, B=1, I=4)
    layer = networks.RNN(len(ALPHABET), len(ALPHABET))
    adam = torch.optim.Adam(layer.parameters(), lr=0.05)
    epochs = []
    for _ in range(EPOCHS):
        output, _ = layer(x)  # (T=5, B=1, H=4)
        scores = output.flatten(0, 1)
        loss = F.cross_entropy(scores, numbers(ANSWER))
        epochs.append(Epoch(spell(scores), loss.item()))
        descend(adam, loss)
    return epochs


class Embedded(nn.Module):
    """Embedding 10 → two layers of 8 → a score for each of the 4 characters, batch first."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), 10)
        self.rnn = networks.RNN(10, 8, num_layers=2, batch_first=True)
        self.head = nn.Linear(8, len(ALPHABET))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) → (B, T, 4)."""
        output, _ = self.rnn(self.embedding(tokens))
        return self.head(output)


def embedded(networks: Networks, seed: int) -> list[Epoch]:
    """Program 3: learnt vectors in, a linear map out, so that the scores are not bound to (-1, 1)."""
    torch.manual_seed(seed)
    model = Embedded(networks)
    adam = torch.optim.Adam(model.parameters(), lr=0.05)
    epochs = []
    for _ in range(EPOCHS):
        scores = model(numbers(QUESTION).unsqueeze(0)).flatten(0, 1)  # (B·T=5, 4)
        loss = F.cross_entropy(scores, numbers(ANSWER))
        epochs.append(Epoch(spell(scores), loss.item()))
        descend(adam, loss)
    return epochs


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradient of ``loss``."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


PROGRAMS: dict[int, Callable[[Networks, int], list[Epoch]]] = {1: cell_in_a_loop, 2: whole_layer, 3: embedded}


def least_loss_of_tanh() -> float:
    """The least cross-entropy of one character when the scores are tanh's: the right one at 1, the others at -1."""
    wrong = len(ALPHABET) - 1
    return -math.log(math.exp(1) / (math.exp(1) + wrong * math.exp(-1)))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--program", choices=["1", "2", "3", "all"], default="all")
    parser.add_argument("--seed", type=int, default=CHOSEN_SEED, help=f"default: {CHOSEN_SEED}, chosen (see below)")
    options = parser.parse_args(argv)
    wanted = list(PROGRAMS) if options.program == "all" else [int(options.program)]
    for number in wanted:
        program = PROGRAMS[number]
        print(f"Program {number}, {(program.__doc__ or '').partition(': ')[2]}")
        for epoch, now in enumerate(program(ostinato, options.seed), start=1):
            print(f"  epoch {epoch:>2}  {now.text}  loss {now.loss:.4f}")
        print(f"  to reach: {ANSWER} with a loss of {TO_REACH[number]:.4f} or less\n")
    if options.seed == CHOSEN_SEED:
        print(
            f"The seed {CHOSEN_SEED} was chosen because all three programs end well with it. Over the seeds 0 to 299\n"
            "program 1 ends in ohlol for 69 %, program 2 for 58 %, program 3 for 99.7 %: try --seed 0, 1, 2, …\n"
        )
    least = least_loss_of_tanh()
    print(
        "Programs 1 and 2 cannot do much better: they use the cell's output, a tanh between -1 and 1, as scores.\n"
        f"The softmax of the best of them, (1, -1, -1, -1), gives the right character {math.exp(-least):.1%} and no "
        f"more,\nso a character's loss cannot fall below {least:.3f}, nor program 1's sum over five below "
        f"{5 * least:.3f}.\nProgram 3's linear map has no such floor."
    )


if __name__ == "__main__":
    main()
