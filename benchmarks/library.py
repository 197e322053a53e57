"""What the library's cells are worth: each in training over torchrecurrent's same cell, or over our own loop.

    python benchmarks/library.py                                    everything; about an hour
    python benchmarks/library.py --cells mgu janet --shapes 100,8,64,64 --budget 0.5

1. Training on the compiler's grid of shapes, over torchrecurrent's layer of the same cell on the same weights (a cell
   whose weights do not go into theirs one to one keeps its own, and the table says why); over the cell's own loop where
   torchrecurrent has none. The bars: 8 times in geometric mean over all that torchrecurrent has, no shape below 2.
2. One frame of ``ostinato.stream`` over a call of the cell itself, step by step; beside it the frame of an LSTM
   (stream_table.py).

Every row is stored in benchmarks/results/library.json as soon as it is there, and is not measured again unless
``--again`` is given: the command goes on where it was stopped. The tables go to benchmarks/results/library.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import ostinato
import stream_table
import theirs
from cell_tables import COMPARED, share
from ostinato.cells import registry
from report import Report, Table, Verdict, line_load, ratio, resumed
from rivals import Unavailable, versions
from timing import Machine, contest, engine_missing, geometric_mean
from torch_tables import averages
from work import GRID, Shape, agree, forward_and_gradients, trainer

RESULTS = Path(__file__).parent / "results"
MEAN, WORST = 8.0, 2.0
PEER, LOOP = "torchrecurrent", "our loop"

Line = dict[str, Any]


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    known = list(registry.everyone())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=known, default=known, metavar="NAME", help="these cells only")
    parser.add_argument("--shapes", nargs="+", type=Shape.parse, default=GRID, metavar="T,B,I,H")
    parser.add_argument("--budget", type=float, default=1.0, metavar="SECONDS", help="of a contest's rounds")
    parser.add_argument("--engine", default="native", help="whose time is ours (default native)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="measure rows that are there again")
    parser.add_argument("--out", type=Path, default=RESULTS / "library", metavar="STEM")
    return parser.parse_args(argv)


def measure(report: Report, engine: str, budget: float, cell: str, shape: Shape) -> None:
    """One row of the first table."""
    torch.manual_seed(0)
    ours = ostinato.Recurrent(cell, shape.input, shape.hidden, engine=engine, **theirs.options_of(cell))
    x = shape.random()
    rival, module, differs = rival_of(cell, ours)
    if differs is None:
        mine, reference = (forward_and_gradients(m, m.parameters(), x[:COMPARED]) for m in (ours, module))
        # Gradients of torchrecurrent's weights come in its own order and layout: there the outputs are compared.
        agree(mine[:1], reference[:1], 1e-3) if rival == PEER else agree(mine, reference, 1e-3)
    calls = {"ours": trainer(ours, ours.parameters(), x), rival: trainer(module, module.parameters(), x)}
    result = contest(calls, budget)
    report.line(1, cell, shape, result, rival=rival, ours=result.ratio(rival, "ours"), differs=differs)


def rival_of(cell: str, ours: ostinato.Recurrent) -> tuple[str, nn.Module, str | None]:
    """Who it is, its layer, and why that is not on our weights if it is not."""
    options = theirs.options_of(cell)
    single = registry.find(cell).cell(ours.input_size, ours.hidden_size, **options)
    share(ours, single)
    try:
        return PEER, *theirs.layer(single)
    except Unavailable:
        loop = ostinato.Recurrent(cell, ours.input_size, ours.hidden_size, engine="loop", **options)
        share(ours, loop)
        return LOOP, loop, None


def fill(report: Report, training: Table) -> None:
    """The first table's rows and notes, and the verdicts, from the lines that are there."""
    lines = [line for line in report.lines if line["table"] == 1]
    by_rival = {
        rival: {
            cell: {Shape(*one["shape"]): one["ours"] for one in lines if (one["cell"], one["rival"]) == (cell, rival)}
            for cell in sorted({one["cell"] for one in lines if one["rival"] == rival})
        }
        for rival in (PEER, LOOP)
    }
    training.rows = [training_row(line) for line in sorted(lines, key=lambda line: (line["cell"], line["shape"]))]
    training.notes = [note for note in training.notes if note.startswith("FAILED")]
    for rival, cells in by_rival.items():
        training.notes += [f"{cell} over {rival}: {averages(found)}" for cell, found in cells.items()]
    others = {f"{line['cell']}: other weights, since {line['differs']}": None for line in lines if line["differs"]}
    training.notes += others
    peers, loops = ([speed for found in by_rival[rival].values() for speed in found.values()] for rival in (PEER, LOOP))
    training.notes.append(f"all {len(by_rival[LOOP])} cells over {LOOP}: geometric mean {ratio(geometric_mean(loops))}")
    what = f"training over {PEER}, {len(by_rival[PEER])} cells"
    worst = min((line for line in lines if line["rival"] == PEER), key=lambda line: line["ours"], default=None)
    where = f" ({worst['cell']} at {training_row(worst)[1]})" if worst else ""
    report.verdicts = [
        Verdict(f"{what}, geometric mean", geometric_mean(peers), MEAN),
        Verdict(f"{what}, the worst shape{where}", min(peers, default=math.nan), WORST),
    ]


def training_row(line: Line) -> tuple[str, ...]:
    times = (f"{line['seconds'][name] * 1e3:.3f}" for name in (line["rival"], "ours"))
    weights = "the same" if line["differs"] is None else "others"
    shape = ",".join(map(str, line["shape"]))
    return line["cell"], shape, line["rival"], *times, ratio(line["ours"]), weights, line_load(line)


def main() -> int:
    arguments = arguments_of()
    why = engine_missing(arguments.engine)
    if why is not None:
        print(why)
        return 2
    torch.set_num_threads(arguments.threads)
    report = resumed(arguments.out, Machine.look(versions()))
    print("\n".join(report.machine.lines()))
    training = report.table(
        "1. Training, over torchrecurrent's same cell, or over our loop where it has none",
        *("cell", "T,B,I,H", "rival", "rival ms", "ours ms", "ours", "weights", "others' load"),
    )
    frames = stream_table.frames_table(report)
    tasks = {
        (1, cell, shape): partial(measure, report, arguments.engine, arguments.budget, cell, shape)
        for cell in arguments.cells
        for shape in arguments.shapes
    } | {
        (2, cell, stream_table.FRAME): partial(stream_table.frame, report, arguments.budget, cell)
        for cell in arguments.cells
    }
    if arguments.again:
        report.lines = [line for line in report.lines if key(line) not in tasks]
    done = set(map(key, report.lines))
    for (number, cell, shape), work in tasks.items():
        if (number, cell, shape) not in done:
            table = training if number == 1 else frames
            before = len(report.lines)
            report.attempt(table, f"{cell} {shape}", work)
            say(report.lines[before:])
            fill(report, training)
            stream_table.fill_frames(report, frames)
            report.store(arguments.out, say=False)
    return report.conclude()


def key(line: Line) -> tuple[int, str, Shape]:
    return line["table"], line["cell"], Shape(*line["shape"])


def say(lines: Iterable[Line]) -> None:
    for line in lines:
        print(f"{line['cell']:24}{','.join(map(str, line['shape'])):20}{ratio(line['ours']):>10} over {line['rival']}")


if __name__ == "__main__":
    sys.exit(main())
