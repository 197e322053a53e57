"""A program as machine code: one loop compiled for what is wanted of it, called with the buffers of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ostinato import memory
from ostinato.compiler.cpu import jit, threads
from ostinato.compiler.cpu.launch import Call, run
from ostinato.compiler.cpu.layout import Buffer
from ostinato.compiler.cpu.machine import Machine, compiled, text
from ostinato.compiler.graph import Graph, parts_of
from ostinato.compiler.program import Gradients, Loop, Program, Ran
from ostinato.compiler.rebuild import trimmed
from ostinato.compiler.sink import held_in_output
from ostinato.compiler.weights import weight_gradient

Grads = Mapping[str, Tensor | None]

BACKWARD = "backward"

PASS = "one pass over memory, each thread through all steps with rows of its own, or with columns where rows are few"

THREADS = "each with rows of its own, or, where rows are few or weights many, with columns of all rows"


class Held(NamedTuple):
    """Where an output of the backward graph lies: columns of a buffer, all of them if ``width`` is None."""

    buffer: str
    column: int = 0
    width: int | None = None

    def of(self, outputs: Mapping[str, Tensor]) -> Tensor:
        value = outputs[self.buffer]
        return value if self.width is None else value.narrow(1, self.column, self.width)


class Kernel:
    """The loops of one program, each compiled when it is first needed.

    Args:
        program: what to compile.
        dtype: torch.float32 or torch.float64.
    """

    def __init__(self, program: Program, dtype: torch.dtype) -> None:
        self.program, self.dtype = program, dtype
        self._held = held_in_output(program.forward)
        self._forward: dict[bool, Machine] = {}
        self._backward: dict[frozenset[str], tuple[Machine, dict[str, Held]]] = {}

    def forward(self, loops: Sequence[Loop], save: bool) -> tuple[Tensor, list[Ran]]:
        """Run the directions of a layer.

        Args:
            loops: one a direction, on the same rows and steps.
            save: keep what the backward reads.

        Returns:
            The joint output, (N, D·width), and what each direction put out; its ``output`` is a part of the joint one.
        """
        machine = self.machine(save)
        width = machine.layout.buffers["output"].width
        total = _total(loops[0])
        first = next(iter(loops[0].states.values()))
        joint = memory.empty(first, total, len(loops) * width)
        calls, rans = [], []
        for d, loop in enumerate(loops):
            ran = self.room(joint.narrow(1, d * width, width), save)
            calls.append(self.forward_call(loop, ran, save))
            rans.append(ran)
        run(machine, calls)
        for call, ran in zip(calls, rans, strict=True):
            ran.finals.update(call.finals())
        return joint, rans

    def backward(
        self,
        loops: Sequence[Loop],
        rans: Sequence[Ran],
        grad_output: Tensor | None,
        grad_finals: Sequence[Grads],
        wanted: frozenset[str] | set[str],
    ) -> list[Gradients]:
        """The gradients of what each direction read.

        Args:
            grad_output: of the joint output, (N, D·width), or None.
            grad_finals: by state, for each direction.
            wanted: names of streams, constants, states and params; no other is computed.
        """
        backward = self.program.backward
        assert backward is not None, "the program was built without a backward"
        machine, streams = self.gradient_machine(frozenset(wanted))
        width = self.program.forward.outputs["output"].width
        total = _total(loops[0])
        calls, made = [], []
        for d, (loop, ran) in enumerate(zip(loops, rans, strict=True)):
            like = next(iter(loop.states.values()))
            outputs = {name: memory.empty(like, total, width) for name, width in outputs_of(machine)}
            sums = self.sums_of(machine, loop)
            part = None if grad_output is None else grad_output.narrow(1, d * width, width)
            calls.append(self.backward_call(machine, loop, ran, {**outputs, **sums}, part, grad_finals[d]))
            made.append((outputs, sums))
        run(machine, calls)
        return [
            self._gradients(loop, ran, call, streams, outputs, sums, wanted)
            for loop, ran, call, (outputs, sums) in zip(loops, rans, calls, made, strict=True)
        ]

    def forward_call(self, loop: Loop, ran: Ran, save: bool) -> Call:
        """One direction's call of the forward loop, told where all of its buffers are.

        Args:
            ran: :meth:`room` for what it puts out.
        """
        call = _call(self.machine(save), loop, descending=loop.reverse)
        call.streams(loop.streams)
        if loop.constants:
            call.streams(loop.constants)
        call.params(loop.params)
        call.states(loop.states)
        call.streams({"output": ran.output})
        if save:
            call.streams(ran.saved)
            call.streams({f"traj.{n}": t for n, t in ran.trajectories.items() if n not in self._held})
        return call

    def backward_call(
        self,
        machine: Machine,
        loop: Loop,
        ran: Ran,
        made: Mapping[str, Tensor],
        grad_output: Tensor | None,
        grad_finals: Grads,
    ) -> Call:
        """The same of a backward loop.

        Args:
            machine: of :meth:`gradient_machine`.
            made: room for what it puts out of all steps (:func:`outputs_of`), and zeros to add to (:meth:`sums_of`).
        """
        call = _call(machine, loop, descending=not loop.reverse)
        call.streams({**loop.streams, **ran.saved, **made})
        call.streams({f"new.{n}": t for n, t in ran.trajectories.items()})
        call.previous(loop.states, ran.trajectories)
        call.streams(loop.constants)
        call.params(loop.params)
        call.output_gradient(grad_output, _total(loop))
        call.states({f"grad.{n}": _initial(g, loop.states[n]) for n, g in grad_finals.items()})
        return call

    def sums_of(self, machine: Machine, loop: Loop) -> dict[str, Tensor]:
        """Zeros, (B, ·), for the gradients of the constants, which a backward loop adds up."""
        like = next(iter(loop.states.values()))
        return {
            name: like.new_zeros(loop.rows, b.width)
            for name, b in machine.layout.buffers.items()
            if b.kind == "rows" and name.startswith("sum.")
        }

    def machine(self, save: bool) -> Machine:
        """The forward loop's code."""
        machine = self._forward.get(save)
        if machine is None:
            machine = self._forward[save] = compiled(*self._forward_graph(save), self.dtype, backward=False)
        return machine

    def gradient_machine(self, wanted: frozenset[str]) -> tuple[Machine, dict[str, Held]]:
        """The backward loop's code, and where each output of the backward graph lies."""
        wanted -= set(self.program.states)  # their gradients are the loop's own states
        found = self._backward.get(wanted)
        if found is None:
            graph, buffers, streams = self._backward_graph(wanted)
            found = self._backward[wanted] = (compiled(graph, buffers, self.dtype, backward=True), streams)
        return found

    def schedule_text(self) -> str:
        """How the loops compiled so far are cut, in words."""
        lines = []
        for title, machine, _ in self._compiled():
            about = machine.about
            times = ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in about.times.items())
            origin = f"from the cache; made in {times}" if machine.cached else times
            lines += [
                f"{title} ({machine.target.name}; {origin})",
                *(f"  {line}" for line in about.stages.splitlines()),
            ]
            lines += [f"  tiles: {about.tiles}"] if about.tiles else []
            if about.work:
                lines.append(f"  products: {2 * about.work:,} floating-point operations a row and step")
            else:
                lines.append(f"  no products: {PASS if about.apart else 'each thread with rows of its own'}")
        lines.append(f"threads: {threads.most()}, {THREADS}" if threads.most() > 1 else "threads: one")
        return "\n".join(lines)

    def code_text(self) -> str:
        """The assembly of the loops compiled so far."""
        parts = []
        for title, machine, (graph, buffers) in self._compiled():
            source = text(graph, buffers, self.dtype, title == BACKWARD, machine.target)
            parts.append(f"# {title}\n{jit.assembly(source, machine.target)}")
        return "\n".join(parts)

    def _compiled(self) -> Iterator[tuple[str, Machine, tuple[Graph, list[Buffer]]]]:
        for save, machine in self._forward.items():
            yield "forward, kept for the backward" if save else "forward", machine, self._forward_graph(save)
        for wanted, (machine, _) in self._backward.items():
            yield BACKWARD, machine, self._backward_graph(wanted)[:2]

    def room(self, output: Tensor, save: bool) -> Ran:
        """Empty buffers for what a forward puts out beside its output, (N, ·). Saved values lie side by side, a row of
        a step together."""
        if not save:
            return Ran(output, {}, {}, {})
        widths, total = self.kept_widths(), output.shape[0]
        saved = [name for name in widths if name.startswith("saved.")]
        parts = dict(zip(saved, _side_by_side(output, total, [widths[name] for name in saved]), strict=True))
        parts |= {name: memory.empty(output, total, widths[name]) for name in widths if name not in parts}
        return self.ran(output, parts)

    def kept_widths(self) -> dict[str, int]:
        """What a forward keeps for its backward beside its output, by the names of its buffers, and how wide it is."""
        buffers = self.machine(True).layout.buffers.items()
        return {name: buffer.width for name, buffer in buffers if name.startswith(("saved.", "traj."))}

    def ran(self, output: Tensor, kept: Mapping[str, Tensor]) -> Ran:
        """What a forward puts out that keeps what its backward reads; ``kept``: the buffers of :meth:`kept_widths`."""
        names = () if self.program.backward is None else self.program.backward.trajectories
        trajectories = {
            n: kept[f"traj.{n}"] if f"traj.{n}" in kept else output.narrow(1, *self._held[n]) for n in names
        }
        return Ran(output, {}, {n: v for n, v in kept.items() if n.startswith("saved.")}, trajectories)

    def _forward_graph(self, save: bool) -> tuple[Graph, list[Buffer]]:
        program = self.program
        outputs = dict(program.forward.outputs)
        if not save:
            outputs = {name: node for name, node in outputs.items() if not name.startswith("saved.")}
        elif program.backward is not None:
            for name in program.backward.trajectories:
                if name not in self._held:
                    outputs[f"traj.{name}"] = outputs[f"new.{name}"]
        graph = trimmed(Graph(program.forward.inputs, outputs), ("state",))
        buffers = [_input(name, node["kind"], node.width) for name, node in graph.inputs.items()]
        for name, node in outputs.items():
            state = name.removeprefix("new.")
            is_state = name.startswith("new.")
            buffers.append(Buffer(name, "flip" if is_state else "stream", node.width, state if is_state else ""))
        return graph, buffers

    def _backward_graph(self, wanted: frozenset[str]) -> tuple[Graph, list[Buffer], dict[str, Held]]:
        backward, program = self.program.backward, self.program
        assert backward is not None
        made = backward.graph.outputs
        outputs, buffers, streams = {}, [], dict[str, Held]()
        for state in program.states:
            outputs[f"new.grad.{state}"] = made[f"grad.{state}"]
            buffers.append(Buffer(f"new.grad.{state}", "flip", made[f"grad.{state}"].width, f"grad.{state}"))
        holder: dict[int, Held] = {}
        summed: dict[int, str] = {}

        def stream(name: str, whole: bool = False) -> None:
            node = made[name]
            if id(node) not in holder or (whole and holder[id(node)].width is not None):
                holder[id(node)] = Held(f"out.{name}")
                outputs[f"out.{name}"] = node
                buffers.append(Buffer(f"out.{name}", "stream", node.width))
                for part, column in parts_of(node):
                    holder.setdefault(id(part), Held(f"out.{name}", column, part.width))
            streams[name] = holder[id(node)]

        for name, node in program.forward.inputs.items():
            if node["kind"] in ("x", "stream") and name in wanted:
                stream(f"grad.{name}", whole=True)
            elif node["kind"] == "constant" and name in wanted:
                outputs[f"sum.{name}"] = made[f"grad.{name}"]
                buffers.append(Buffer(f"sum.{name}", "rows", node.width))
        used = [weight for weight in backward.weights if weight.param in wanted]
        multiplied = [weight.grad for weight in used] + [w.value for w in used if w.where == "backward"]
        for name in sorted(multiplied, key=lambda name: -made[name].width):  # What is joined comes before its parts.
            stream(name)
        for total in backward.sums:
            if total.param in wanted:
                node = made[total.grad]
                name = summed.setdefault(id(node), f"sum.{total.grad}")
                streams[f"sum.{total.grad}"] = Held(name)
                if name not in outputs:
                    outputs[name] = node
                    buffers.append(Buffer(name, "sum", node.width))
        graph = trimmed(Graph(backward.graph.inputs, outputs), ("grad",))
        inputs = [_input(name, node["kind"], node.width, backward=True) for name, node in graph.inputs.items()]
        return graph, inputs + buffers, streams

    def _gradients(
        self,
        loop: Loop,
        ran: Ran,
        call: Call,
        streams: Mapping[str, Held],
        outputs: Mapping[str, Tensor],
        sums: Mapping[str, Tensor],
        wanted: frozenset[str] | set[str],
    ) -> Gradients:
        backward = self.program.backward
        assert backward is not None
        finals = call.finals()
        params: dict[str, Tensor] = {}
        for total in backward.sums:
            if total.param in wanted:
                _add(
                    params,
                    total.param,
                    call.summed(streams[f"sum.{total.grad}"].buffer).reshape(loop.params[total.param].shape),
                )
        for weight in backward.weights:
            if weight.param in wanted:
                made = {name: held.of(outputs) for name, held in streams.items() if held.buffer in outputs}
                _add(params, weight.param, weight_gradient(weight, loop, ran, made))
        return Gradients(
            {n: outputs[streams[f"grad.{n}"].buffer] for n in loop.streams if n in wanted and f"grad.{n}" in streams},
            {n.removeprefix("sum."): t for n, t in sums.items()},
            {n: finals[f"grad.{n}"] for n in loop.states if n in wanted},
            params,
        )


def outputs_of(machine: Machine) -> list[tuple[str, int]]:
    """What a backward loop puts out of every step, and how wide it is."""
    return [(name, b.width) for name, b in machine.layout.buffers.items() if name.startswith("out.")]


def _side_by_side(like: Tensor, total: int, widths: Sequence[int]) -> Sequence[Tensor]:
    """(N, ·) each, as parts of one tensor."""
    return memory.empty(like, total, sum(widths)).split(widths, 1) if widths else []


def _call(machine: Machine, loop: Loop, descending: bool) -> Call:
    return Call(machine, loop.steps, loop.rows, loop.batch_sizes, _total(loop), descending)


def _total(loop: Loop) -> int:
    return loop.steps * loop.rows if loop.batch_sizes is None else int(loop.batch_sizes.sum())


def _initial(grad: Tensor | None, state: Tensor) -> Tensor:
    return torch.zeros_like(state) if grad is None else grad


def _input(name: str, kind: str, width: int, backward: bool = False) -> Buffer:
    if kind == "grad":
        return Buffer(name, "stream" if name == "grad.output" else "flip", width)
    if kind == "state":
        return Buffer(name, "previous" if backward else "flip", width)
    if kind == "constant":
        return Buffer(name, "rows", width)
    return Buffer(name, "param" if kind == "param" else "stream", width)


def _add(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
    sums[name] = sums[name] + value if name in sums else value
