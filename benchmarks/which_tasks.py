"""What the cells of the study learn: adding, copying, digits read pixel by pixel, and the characters of a text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, one_hot

Batch = tuple[Tensor, Tensor]

BATCH = 16
ADDING = 200
GAP, SYMBOLS, LENGTH = 100, 8, 10
WINDOW, EMBEDDING = 64, 16
VALIDATION, TEST = 10_000, 20_000
"""Seeds of the numbers that nothing is trained on: no run trains on a seed as large."""


@dataclass(frozen=True)
class Problem:
    """One task.

    Attributes:
        inputs: I, the width of what the cell reads.
        outputs: of the linear head.
        symbols: how many an embedding knows, for tasks whose x is (T, B) of whole numbers; 0 if x is (T, B, I).
        last: whether the head reads the last step only.
        width: H of the LSTM, whose parameters are the measure for all.
        steps: of training, BATCH rows each.
        batch: from a generator, x and the targets; drawn anew at every step.
        loss: of the head's outputs, (B, O) or (T, B, O).
        validation, test: what a rate is chosen on, and what the figure is of.
        measure: the figure.
        unit: of the figure.
        more_is_better: whether it should be high.
        line: the figure of an answer that remembers nothing, and how it comes about.
        beside: figures of others, each with its source.
    """

    inputs: int
    outputs: int
    symbols: int
    last: bool
    width: int
    steps: int
    batch: Callable[[torch.Generator], Batch]
    loss: Callable[[Tensor, Tensor], Tensor]
    validation: Callable[[], Batch]
    test: Callable[[], Batch]
    measure: Callable[[Tensor, Tensor], float]
    unit: str
    more_is_better: bool
    line: tuple[float, str]
    beside: tuple[str, ...] = ()


def seeded(draw: Callable[..., Batch], seed: int, rows: int) -> Callable[[], Batch]:
    """The same rows at every call."""
    return lambda: draw(torch.Generator().manual_seed(seed), rows)


def adding(text: Path | None) -> Problem:
    """The sum of two marked numbers out of 200."""

    def batch(draw: torch.Generator, rows: int = BATCH) -> Batch:
        values = torch.rand(ADDING, rows, generator=draw)
        marks = torch.zeros(ADDING, rows)
        half = ADDING // 2
        for start in (0, half):
            marks[start + torch.randint(half, (rows,), generator=draw), torch.arange(rows)] = 1
        return torch.stack([values, marks], -1), (values * marks).sum(0)

    def loss(outputs: Tensor, target: Tensor) -> Tensor:
        return mse_loss(outputs[:, 0], target)

    return Problem(
        2, 1, 0, True, 32, 3000, batch, loss, seeded(batch, VALIDATION, 500), seeded(batch, TEST, 1000),
        lambda outputs, target: float(loss(outputs, target)),
        "mean squared error", False, (1 / 6, "always answering 1"),
        (
            "Le, Jaitly and Hinton, arXiv:1504.00941, 2015: at such lengths an LSTM and an IRNN solve it, "
            "a tanh RNN does not leave that line",
        ),
    )  # fmt: skip


def copying(text: Path | None) -> Problem:
    """Ten symbols, to be written down again a hundred steps later."""

    def batch(draw: torch.Generator, rows: int = BATCH) -> Batch:
        symbols = torch.randint(1, SYMBOLS + 1, (LENGTH, rows), generator=draw)
        blank = torch.zeros(GAP - 1, rows, dtype=torch.long)
        now = torch.full((1, rows), SYMBOLS + 1)
        tokens = torch.cat([symbols, blank, now, torch.zeros(LENGTH, rows, dtype=torch.long)])
        target = torch.cat([torch.zeros(GAP + LENGTH, rows, dtype=torch.long), symbols])
        return one_hot(tokens, SYMBOLS + 2).float(), target

    def loss(outputs: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(outputs.flatten(0, 1), target.flatten())

    lost = LENGTH * math.log(SYMBOLS) / (GAP + 2 * LENGTH)
    return Problem(
        SYMBOLS + 2, SYMBOLS + 1, 0, False, 32, 3000, batch, loss,
        seeded(batch, VALIDATION, 200), seeded(batch, TEST, 500),
        lambda outputs, target: float(loss(outputs, target)),
        "nats a step", False, (lost, "the best without memory, 10 ln 8 / 120"),
        (
            "Arjovsky, Shah and Bengio, arXiv:1511.06464, 2016: a tanh RNN and an LSTM stay near that line for "
            "thousands of steps, a unitary RNN leaves it",
        ),
    )  # fmt: skip


def digits(text: Path | None) -> Problem:
    """The 8 × 8 digits that come with scikit-learn, one pixel a step."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    split = partial(train_test_split, random_state=0)
    images, labels = load_digits(return_X_y=True)
    learn_x, test_x, learn_y, test_y = split(images / 16, labels, test_size=0.2, stratify=labels)
    train_x, held_x, train_y, held_y = split(learn_x, learn_y, test_size=0.2, stratify=learn_y)
    linear = LogisticRegression(max_iter=2000).fit(train_x, train_y).score(test_x, test_y)
    x, y = torch.tensor(train_x, dtype=torch.float32).t()[..., None], torch.tensor(train_y)
    validation = torch.tensor(held_x, dtype=torch.float32).t()[..., None], torch.tensor(held_y)
    test = torch.tensor(test_x, dtype=torch.float32).t()[..., None], torch.tensor(test_y)

    def batch(draw: torch.Generator) -> Batch:
        rows = torch.randint(x.shape[1], (BATCH,), generator=draw)
        return x[:, rows], y[rows]

    return Problem(
        1, 10, 0, True, 32, 2000, batch, cross_entropy, lambda: validation, lambda: test,
        lambda outputs, target: 100 * float((outputs.argmax(-1) == target).float().mean()),
        "% right", True, (100 * float(test[1].bincount().max() / len(test[1])), "always the commonest digit"),
        (
            f"logistic regression on the 64 pixels at once, same split: {100 * linear:.1f} %",
            "the longer relative of it, 784 pixels of MNIST: an LSTM 98.2 % (Arjovsky, Shah and Bengio, 2016), a "
            "tanh RNN 35 % (Le, Jaitly and Hinton, 2015)",
        ),
    )  # fmt: skip


def characters(text: Path | None) -> Problem:
    """The next character of a text; its last twentieth is the test, the twentieth before it the validation."""
    if text is None:
        raise FileNotFoundError("the task characters learns from a text: give its path, as the command's argument")
    letters = text.read_text(encoding="utf-8")
    known = sorted(set(letters))
    number = {letter: n for n, letter in enumerate(known)}
    codes = torch.tensor([number[letter] for letter in letters])
    part = len(codes) // 20
    train, validation, test = codes[: -2 * part], codes[-2 * part : -part], codes[-part:]

    def batch(draw: torch.Generator) -> Batch:
        starts = torch.randint(len(train) - WINDOW, (BATCH,), generator=draw)
        windows = train[starts + torch.arange(WINDOW + 1)[:, None]]
        return windows[:-1], windows[1:]

    def rows(part: Tensor) -> Batch:
        length = 2 * WINDOW
        count = (len(part) - 1) // length
        cut = part[: count * length + 1]
        return cut[:-1].view(count, length).t(), cut[1:].view(count, length).t()

    def loss(outputs: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(outputs.flatten(0, 1), target.flatten())

    share = train.bincount(minlength=len(known)).float() / len(train)
    alone = -float((share[test].clamp(min=1e-9)).log().mean())
    return Problem(
        EMBEDDING, len(known), len(known), False, 48, 2500, batch, loss, lambda: rows(validation), lambda: rows(test),
        lambda outputs, target: float(loss(outputs, target)),
        "nats a character", False, (alone, "the characters' shares, whatever came before"),
    )  # fmt: skip


PROBLEMS: dict[str, Callable[[Path | None], Problem]] = {
    "adding": adding,
    "copying": copying,
    "digits": digits,
    "characters": characters,
}
