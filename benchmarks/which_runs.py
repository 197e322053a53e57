"""One run of the study: who takes part, at which width, and how it is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ostinato
from ostinato.cells import registry
from ostinato.data.files import fingerprint
from ostinato.errors import InvalidValue
from ostinato.training.match import nearest_width
from ostinato.training.runs_file import Run
from which_tasks import BATCH, PROBLEMS, Problem

CLIP = 1.0


@dataclass(frozen=True)
class Contestant:
    """A cell of the registry with its options; those of ``at_width`` follow from the hidden size."""

    cell: str
    at_width: Callable[[int], Mapping[str, Any]] = field(default=lambda width: {})


VARIANTS = {
    "lstm-f1": Contestant("lstm", lambda width: {"forget_bias": 1.0}),
    "lstm-p2": Contestant("lstm", lambda width: {"proj_size": max(1, width // 2)}),
    "lstm-p4": Contestant("lstm", lambda width: {"proj_size": max(1, width // 4)}),
}
"""The LSTM whose forget gate begins with a bias of 1; LSTMP (Sak et al. 2014), projected to a half and to a quarter."""


def contestants() -> dict[str, Contestant]:
    """Every known cell as it comes, and the variants, by name."""
    return {name: Contestant(name) for name in registry.everyone()} | VARIANTS


class Network(nn.Module):
    """An embedding where the task needs one, one layer of the cell, a linear head."""

    def __init__(self, who: str, problem: Problem, width: int, device: str | None = None) -> None:
        super().__init__()
        one = contestants()[who]
        self.embedding = nn.Embedding(problem.symbols, problem.inputs, device=device) if problem.symbols else None
        self.rnn = ostinato.Recurrent(one.cell, problem.inputs, width, device=device, **one.at_width(width))
        self.head = nn.Linear(self.rnn.output_size, problem.outputs, device=device)
        self.last = problem.last

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.rnn(x if self.embedding is None else self.embedding(x))
        return self.head(output[-1] if self.last else output)


def size_of(who: str, problem: Problem, width: int) -> int | None:
    """How many parameters its network has; None for a width that the cell refuses."""
    try:
        with torch.random.fork_rng(devices=[]):
            return sum(p.numel() for p in Network(who, problem, width, "meta").parameters())
    except InvalidValue:
        return None


def width_for(who: str, problem: Problem) -> int:
    """The hidden size at which the network is about as large as the LSTM's.

    Raises:
        InvalidValue: no width comes near.
    """
    wanted = size_of("lstm", problem, problem.width)
    return nearest_width(lambda width: size_of(who, problem, width), wanted)


@dataclass(frozen=True)
class Plan:
    """What a run is to do; two equal plans are the same run."""

    task: str
    who: str
    rate: float
    seed: int
    steps: int
    text: Path | None
    most_seconds: float

    @property
    def name(self) -> str:
        return f"{self.task} {self.who} {self.rate:g} {self.seed}"

    @property
    def made_of(self) -> str:
        """What a run depends on besides its name."""
        data = f" {text_mark(self.text)}" if self.text is not None and self.task == "characters" else ""
        return f"{self.steps} × {BATCH}, as many parameters as LSTM {problem_of(self.task, self.text).width}{data}"


@lru_cache
def text_mark(text: Path) -> str:
    return fingerprint([text])[:12]


@lru_cache
def problem_of(task: str, text: Path | None) -> Problem:
    return PROBLEMS[task](text)


def train(plan: Plan) -> Run:
    """Train one network once; figures are NaN if its loss came to be no number.

    Its seconds are those of the processor: what else the machine does meanwhile neither lengthens nor ends it.
    """
    problem = problem_of(plan.task, plan.text)
    width = width_for(plan.who, problem)
    torch.manual_seed(plan.seed)
    draw = torch.Generator().manual_seed(plan.seed)
    network = Network(plan.who, problem, width)
    network(problem.batch(torch.Generator())[0][:3])  # compiles the step, before the clock runs
    parameters = list(network.parameters())
    optimiser = torch.optim.Adam(parameters, lr=plan.rate)
    start, done, broken = time.process_time(), 0, False
    while done < plan.steps and not broken and time.process_time() < start + plan.most_seconds:
        for group in optimiser.param_groups:  # down to a tenth, along a cosine
            group["lr"] = plan.rate * (0.55 + 0.45 * math.cos(math.pi * done / plan.steps))
        x, target = problem.batch(draw)
        loss = problem.loss(network(x), target)
        optimiser.zero_grad()
        loss.backward()
        broken = not math.isfinite(float(nn.utils.clip_grad_norm_(parameters, CLIP)))
        optimiser.step()
        done += 1
    seconds = time.process_time() - start
    parts = {"test": problem.test, "validation": problem.validation}
    with torch.no_grad():
        figures = {name: math.nan if broken else _measured(problem, network, part()) for name, part in parts.items()}
    return Run(
        plan.name, plan.who, width, plan.rate, plan.seed, sum(p.numel() for p in parameters), done, seconds,
        "test", plan.made_of, figures,
    )  # fmt: skip


def _measured(problem: Problem, network: Network, rows: tuple[Tensor, Tensor]) -> float:
    return problem.measure(network(rows[0]), rows[1])
