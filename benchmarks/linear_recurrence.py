"""What a loop without products costs beside the bytes it moves: minGRU, minLSTM, SRU, QRNN and LRU.

    python benchmarks/linear_recurrence.py                       T = 4096, B 8, I = H = 512; stored in results/
    python benchmarks/linear_recurrence.py --shapes 256,8,64,64 --cells lru

All matrix products of these cells stand outside the loop; what is left is one elementwise pass over memory each way.
Timed is that pass alone, as the layer calls it, on what the products before it have made. "Bytes" are those of the
tensors it reads and writes, each counted once. The bar is 1.5 times what a plain pass takes that reads and writes as
many: torch's copy (one read for a write) and addcmul (three), in such parts that both sums agree. Both write into
memory that was there, the pass into blocks that layers use again. The last column is the whole call of the layer,
products and all. "Training" is the forward pass that keeps what its backward reads, and the backward pass.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import ostinato
from ostinato import memory
from ostinato.cells import binding
from ostinato.compiler.cpu.machine import Machine as Code
from ostinato.compiler.kernel import Kernel
from ostinato.compiler.program import Loop
from ostinato.engines import known, native
from ostinato.engines.geometry import Geometry
from report import Report, Verdict
from timing import Machine, contest
from work import Shape

CELLS = ("min-gru", "min-lstm", "sru", "qrnn", "lru")
SHAPE = Shape(4096, 8, 512, 512)
BAR = 1.5
STEM = Path(__file__).parent / "results" / "linear_recurrence"


@dataclass
class Moved:
    """Bytes."""

    read: int
    written: int

    @property
    def total(self) -> int:
        return self.read + self.written


@dataclass
class Pass:
    """One pass of a loop and the bytes it moves."""

    run: Callable[[], object]
    moved: Moved


def passes(layer: ostinato.Recurrent, x: Tensor) -> dict[str, Pass]:
    """The forward pass, and both passes of training, on what the products before the loop have made."""
    slot = layer._slots[0][0]
    cell = binding.bind(slot, layer)
    made = {}
    for training in (False, True):
        signature = known.Signature(x.shape[-1], x.dtype, (), (), training)
        compiled = native.ready(slot.template, cell, signature)
        program, kernel = compiled.program, compiled.kernel(x.dtype)
        assert isinstance(kernel, Kernel)
        tensors = [t.detach() for t in native.tensors_of_cell(cell, compiled)]
        params = dict(zip(compiled.params, compiled.prepare(tensors), strict=True))
        geometry = Geometry.of(x, x.shape[1], None)
        given = {"x": geometry.flat(x)}
        streams = given | compiled.hoist.run(geometry, given, {}, params)
        states = {s: x.new_zeros(x.shape[1], program.forward.outputs[f"new.{s}"].width) for s in program.states}
        read = {n: streams[n] for n in compiled.streams}
        loop = Loop(read, {}, states, params, geometry.steps, geometry.rows, None, False)
        if not training:
            run = lambda kernel=kernel, loop=loop: kernel.forward([loop], False)  # noqa: E731
            made["forward"] = Pass(run, moved(kernel.machine(False), geometry.count, x.element_size()))
            continue
        width = program.forward.outputs["output"].width
        grad = memory.empty(x, geometry.count, width).fill_(0.5)
        wanted = frozenset((*compiled.streams, *compiled.loop_params, *program.states))

        def both(kernel=kernel, loop=loop, grad=grad, wanted=wanted) -> None:
            _, rans = kernel.forward([loop], True)
            kernel.backward([loop], rans, grad, [dict.fromkeys(loop.states)], wanted)

        machines = (kernel.machine(True), kernel.gradient_machine(wanted)[0])
        parts = [moved(m, geometry.count, x.element_size()) for m in machines]
        made["training"] = Pass(both, Moved(sum(p.read for p in parts), sum(p.written for p in parts)))
    return made


def moved(machine: Code, count: int, size: int) -> Moved:
    """Bytes of the tensors with a row a step. A state before the step lies where the one after it does: once."""
    buffers = machine.layout.buffers
    streams = [b for b in buffers.values() if b.kind == "stream"]
    written = sum(b.width for b in streams if b.name.startswith(WRITTEN))
    read = sum(b.width for b in streams) - written
    read += sum(b.width for b in buffers.values() if b.kind == "previous" and f"new.{b.name}" not in buffers)
    return Moved(read * count * size, written * count * size)


WRITTEN = ("output", "saved.", "traj.", "out.")
"""How the streams begin that a loop writes."""


def plain(bytes: Moved) -> Callable[[], object]:
    """A pass that reads and writes so many bytes."""
    copied = min(1.0, max(0.0, (3 - bytes.read / bytes.written) / 2)) * bytes.written
    sizes = [int(copied) // 4, int(bytes.written - copied) // 4]
    rest = torch.ones(max(0, bytes.read // 4 - sizes[0] - 3 * sizes[1]))
    one, three = torch.ones(sizes[0]), [torch.ones(sizes[1]) for _ in range(3)]
    out = [memory.empty(rest, size).zero_() for size in sizes]

    def run() -> None:
        out[0].copy_(one)
        torch.addcmul(*three, out=out[1])
        rest.sum()

    return run


def measure(cell: str, shape: Shape, budget: float, report: Report, table) -> None:
    torch.manual_seed(0)
    layer = ostinato.Recurrent(cell, shape.input, shape.hidden, engine="native")
    x = torch.randn(shape.steps, shape.batch, shape.input)

    def whole(training: bool) -> object:
        with torch.set_grad_enabled(training):
            output, _ = layer(x)
            return output.sum().backward() if training else output

    for what, one in passes(layer, x).items():
        training = what == "training"
        calls = {
            "pass": one.run,
            "plain": plain(one.moved),
            "layer": lambda training=training: whole(training),
        }
        result = contest(calls, budget)
        over = result.ratio("pass", "plain")
        milliseconds = [f"{1e3 * result.seconds(name):.1f}" for name in ("pass", "plain", "layer")]
        table.add(
            cell,
            what,
            f"{one.moved.total / 1e6:.0f}",
            *milliseconds[:2],
            f"{over:.2f}",
            milliseconds[2],
        )
        report.line(1, f"{cell} {what}", shape, result, bytes=[one.moved.read, one.moved.written], over=over)
        name = f"{cell}, {what}: the pass over a plain pass of its bytes"
        report.verdicts.append(Verdict(name, over, BAR, at_most=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--shapes", nargs="+", type=Shape.parse, default=[SHAPE], metavar="T,B,I,H")
    parser.add_argument("--budget", type=float, default=4.0, metavar="SECONDS", help="of a contest's rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, metavar="STEM", help="store in STEM.json and STEM.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report = Report(Machine.look())
    print("\n".join(report.machine.lines()))
    for shape in arguments.shapes:
        table = report.table(f"Passes at {shape}", "cell", "", "MB", "pass ms", "plain ms", "over plain", "layer ms")
        for cell in arguments.cells:
            report.attempt(
                table,
                cell,
                lambda cell=cell, shape=shape, table=table: measure(cell, shape, arguments.budget, report, table),
            )
    code = report.conclude()
    default = arguments.shapes == [SHAPE] and tuple(arguments.cells) == CELLS
    stem = arguments.out or (STEM if default else None)
    if stem is not None:
        report.store(stem)
    return code


if __name__ == "__main__":
    sys.exit(main())
