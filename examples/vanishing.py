"""Measure how far back a gradient reaches in RNN, LSTM and GRU, and what its vanishing costs on a task; draw both.

    python examples/vanishing.py --out pictures

First, in networks that have not been trained: the norm of ∂(loss at T)/∂(state k steps earlier). Then a task: one of
four symbols is shown, noise follows for a short or a long gap, and the symbol has to be named. All networks get about
the same number of parameters and the same training; LSTM and GRU once as torch initialises them, and once with the
bias of the gate that keeps the state at 4, so that it begins near 1.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ostinato

COLOURS = {"RNN": "#D55E00", "LSTM": "#0072B2", "GRU": "#009E73"}
"""Okabe and Ito's palette, told apart by colour-blind readers; marks and lines differ too."""

SYMBOLS = 4

KEEP = 4.0
"""The bias of the gate that keeps the state (f in an LSTM, z in a GRU) where it begins near 1: σ(4) = 0.982."""


@dataclass(frozen=True)
class Kind:
    """One kind of network, as it begins, and how it is drawn."""

    name: str
    family: str
    keep: float | None = None
    orthogonal: bool = False
    scale: float = 1.0
    line: str = "-"

    @property
    def colour(self) -> str:
        return COLOURS[self.family]

    @property
    def state(self) -> str:
        """The state whose gradient is measured: what the network hands on with the least in between."""
        return "c" if self.family == "LSTM" else "h"


RNN, ORTHOGONAL = Kind("RNN", "RNN"), Kind("RNN, orthogonal", "RNN", orthogonal=True, line="--")
LSTM, KEEPING_LSTM = Kind("LSTM", "LSTM", line=":"), Kind("LSTM, f begins near 1", "LSTM", keep=KEEP)
GRU, KEEPING_GRU = Kind("GRU", "GRU", line=":"), Kind("GRU, z begins near 1", "GRU", keep=KEEP)

PANELS = {
    "Vanishing": (
        RNN,
        ORTHOGONAL,
        GRU,
        LSTM,
        Kind("LSTM, forget_bias=1", "LSTM", keep=1.0, line="--"),
        KEEPING_GRU,
        KEEPING_LSTM,
    ),
    "Exploding: recurrent weights scaled up": (
        Kind("RNN × 1.7", "RNN", scale=1.7, line=":"),
        Kind("RNN × 4", "RNN", scale=4.0),
        Kind("GRU × 8", "GRU", scale=8.0),
        Kind("LSTM × 8", "LSTM", scale=8.0, line="--"),
    ),
}

TASK = (RNN, ORTHOGONAL, LSTM, GRU, KEEPING_LSTM, KEEPING_GRU)


def network(kind: Kind, input_size: int, hidden_size: int) -> ostinato.Recurrent:
    """A layer of that kind."""
    family = {"RNN": ostinato.RNN, "LSTM": ostinato.LSTM, "GRU": ostinato.GRU}[kind.family]
    options: dict[str, Any] = {"recurrent_init": "orthogonal"} if kind.orthogonal else {}
    if kind.family == "LSTM":
        options["forget_bias"] = kind.keep
    layer = family(input_size, hidden_size, **options)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(kind.scale)
        if kind.family == "GRU" and kind.keep is not None:
            z = slice(hidden_size, 2 * hidden_size)  # the gates lie as r, z, n
            layer.bias_ih_l0[z], layer.bias_hh_l0[z] = kind.keep, 0.0
    return layer


def reach(layer: ostinato.Recurrent, state: str, x: Tensor) -> Tensor:
    """(T): the mean norm of ∂loss/∂(state k steps before the end), for k = 0 … T-1, divided by that at k = 0.

    The loss is a random direction of the last output. For an LSTM, ``state`` is c: what it hands on from step to step
    past the gates. ∂loss/∂c_t counts every path to the loss, through h_t too.
    """
    tape = ostinato.record(layer, x, grad=True)
    loss = (tape.output[-1] * torch.randn_like(tape.output[-1])).sum()
    norms = tape.gradient(loss)["l0"][state].norm(dim=-1).mean(dim=1).flip(0)
    return norms / norms[0]


def measure_reach(steps: int, hidden_size: int, batch: int = 16) -> dict[str, list[tuple[Kind, Tensor]]]:
    """Every curve of every panel, on the same random input."""
    x = torch.randn(steps, batch, hidden_size)
    return {
        panel: [(kind, reach(network(kind, hidden_size, hidden_size), kind.state, x)) for kind in kinds]
        for panel, kinds in PANELS.items()
    }


def print_reach(measured: dict[str, list[tuple[Kind, Tensor]]]) -> None:
    steps = len(next(iter(measured.values()))[0][1])
    asked = [k for k in (1, 5, 10, 20, 50, 99) if k < steps]
    print("Gradient that reaches back k steps, divided by that at k = 0 (below 1 it shrinks, above 1 it grows):")
    for panel, rows in measured.items():
        print(f"  {panel:<40}" + "".join(f"{f'k={k}':>10}" for k in asked))
        for kind, norms in rows:
            print(f"    {kind.name:<38}" + "".join(f"{norms[k].item():>10.1e}" for k in asked))


def draw_reach(measured: dict[str, list[tuple[Kind, Tensor]]], path: Path) -> None:
    plt = pyplot()
    figure, axes = plt.subplots(1, len(measured), figsize=(10, 5), layout="constrained")
    for axis, (panel, rows) in zip(axes, measured.items(), strict=True):
        for kind, norms in rows:
            axis.semilogy(norms, kind.line, color=kind.colour, linewidth=2, label=kind.name)
        axis.axhline(1, color="0.7", linewidth=1, zorder=0)
        axis.set_title(panel)
        axis.set_xlabel("k, steps back from the loss")
        axis.legend(fontsize=9, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncol=2)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("‖∂loss/∂state$_{T-k}$‖ relative to k = 0")
    axes[0].set_ylim(1e-12, 10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


class Rememberer(nn.Module):
    """(T, N, I) → (N, SYMBOLS): the symbol that was shown in the first step."""

    def __init__(self, kind: Kind, hidden_size: int) -> None:
        super().__init__()
        self.rnn = network(kind, SYMBOLS, hidden_size)
        self.head = nn.Linear(hidden_size, SYMBOLS)

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.rnn(x)
        return self.head(output[-1])


def shown(gap: int, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """x (1 + gap, N, SYMBOLS) and symbols (N): a symbol, one-hot, then ``gap`` steps of noise."""
    symbols = torch.randint(SYMBOLS, (rows,), generator=generator)
    x = 0.5 * torch.randn(1 + gap, rows, SYMBOLS, generator=generator)
    x[0] = F.one_hot(symbols, SYMBOLS).float()
    return x, symbols


def width_for(kind: Kind, parameters: int) -> int:
    """The hidden width that comes nearest to so many parameters."""
    return min(range(2, 100), key=lambda h: abs(sum(p.numel() for p in Rememberer(kind, h).parameters()) - parameters))


def learn(kind: Kind, hidden_size: int, gap: int, steps: int, seed: int) -> float:
    """The share of symbols named rightly on new rows, after training."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Rememberer(kind, hidden_size)
    adam = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(steps):
        x, symbols = shown(gap, 32, generator)
        loss = F.cross_entropy(model(x), symbols)
        adam.zero_grad()
        loss.backward()
        # Against exploding; it does nothing against vanishing.
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    x, symbols = shown(gap, 1000, generator)
    with torch.no_grad():
        return (model(x).argmax(dim=-1) == symbols).float().mean().item()


@dataclass(frozen=True)
class Plan:
    """How much work the task is."""

    gaps: tuple[int, ...] = (5, 50)
    seeds: int = 3
    steps: int = 300
    parameters: int = 4000


def measure_task(plan: Plan) -> dict[tuple[str, int], list[float]]:
    """(name, gap) → the share right of every seed, printed as it comes."""
    print(f"\nOne of {SYMBOLS} symbols, then noise; {plan.steps} training steps of 32 rows, {plan.seeds} seeds.")
    print(f"Guessing is right in {1 / SYMBOLS:.0%}. About {plan.parameters:,} parameters each:")
    results = {}
    for kind in TASK:
        hidden_size = width_for(kind, plan.parameters)
        count = sum(p.numel() for p in Rememberer(kind, hidden_size).parameters())
        for gap in plan.gaps:
            began = time.perf_counter()
            right = [learn(kind, hidden_size, gap, plan.steps, seed) for seed in range(plan.seeds)]
            results[kind.name, gap] = right
            every = ", ".join(f"{r:.0%}" for r in right)
            print(
                f"  {kind.name:<22} H {hidden_size:>3}, {count:,} parameters, gap {gap:>3}: right "
                f"{statistics.mean(right):>4.0%} ({every}), {time.perf_counter() - began:.1f} s"
            )
    return results


def draw_task(results: dict[tuple[str, int], list[float]], path: Path) -> None:
    plt = pyplot()
    gaps = sorted({gap for _, gap in results})
    figure, axes = plt.subplots(1, len(gaps), figsize=(10, 3.4), layout="constrained", sharey=True, squeeze=False)
    for axis, gap in zip(axes[0], gaps, strict=True):
        for place, kind in enumerate(reversed(TASK)):
            every = [100 * r for r in results[kind.name, gap]]
            axis.barh(place, statistics.mean(every), color=kind.colour, alpha=0.35, height=0.7)
            axis.plot(every, [place] * len(every), "o", color=kind.colour, markersize=6, alpha=0.8, clip_on=False)
        axis.axvline(100 / SYMBOLS, color="0.3", linestyle=":", linewidth=1.5)
        axis.set_title(f"gap of {gap} steps")
        axis.set_xlabel("symbols named rightly, %")
        axis.set_xlim(0, 100)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yticks(range(len(TASK)), [kind.name for kind in reversed(TASK)])
    figure.suptitle("Bar: mean. Dot: one seed. Dotted line: guessing.", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def pyplot() -> Any:
    """matplotlib's, without a screen."""
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit("the pictures need matplotlib: pip install 'ostinato[inspect]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where the pictures go (default: here)")
    parser.add_argument("--quick", action="store_true", help="less of everything, in a few seconds")
    parser.add_argument("--seeds", type=int, default=3, help="of the task (default: 3)")
    parser.add_argument("--gaps", type=int, nargs="+", default=[5, 50], help="of the task (default: 5 50)")
    options = parser.parse_args(argv)
    # A network this small gains nothing from a second thread, and waits for it where the machine is busy.
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    measured = measure_reach(steps=30 if options.quick else 100, hidden_size=64)
    print_reach(measured)
    gradient = options.out / "vanishing-gradient.png"
    draw_reach(measured, gradient)

    quick = Plan(gaps=(5,), seeds=1, steps=30)
    plan = quick if options.quick else Plan(gaps=tuple(options.gaps), seeds=options.seeds)
    results = measure_task(plan)
    task = options.out / "vanishing-task.png"
    draw_task(results, task)
    print(f"\nDrawn: {gradient} and {task}")


if __name__ == "__main__":
    main()
