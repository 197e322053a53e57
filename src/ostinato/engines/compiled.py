"""A program ready to run: what follows from its text alone, worked out once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from ostinato.compiler import interpret, program
from ostinato.compiler.graph import Graph, Node
from ostinato.compiler.less_mean import less_mean
from ostinato.compiler.program import Program
from ostinato.compiler.rebuild import reads
from ostinato.compiler.sink import held_in_output
from ostinato.engines.hoist import Hoist
from ostinato.engines.kernels import Kernel, make_kernel
from ostinato.engines.sink import Sink
from ostinato.engines.splits import splits_of

Values = Mapping[str, Tensor]


class Compiled:
    """One cell's program, and its kernels.

    Attributes:
        program: what the pipeline made.
        times: the passes of the pipeline with the seconds each took; empty if the program came as text.
        tensors: the cell's tensors it reads, by their path in the cell.
        params: what ``prepare`` makes of them.
        passed: for each param the tensor it is, or None if it is computed or a part of one.
        splits: the tensors whose rows are several params.
        centred: the params that are a tensor less its mean over its rows, and which tensor.
        streams, constants: what the loop reads of each step and of each sequence.
        kept_streams, kept_constants: what of it is kept for the backward.
        kept_states: the states whose values are, besides the one that is the output.
        outputs_are: the states that lie in what the loop puts out, and which of its columns they are.
        sink: what is done after the loop, for all steps at once.
    """

    def __init__(self, made: Program, times: Mapping[str, float] | None = None) -> None:
        self.program = made
        self.times = dict(times or {})
        self.tensors = tuple(made.prepare.inputs)
        self.params = tuple(made.prepare.outputs)
        self.passed = tuple(n["name"] if n.op == "input" else None for n in made.prepare.outputs.values())
        self._places = [self.tensors.index(n) for n in self.passed if n is not None]
        self.plain = not any("." in path for path in self.tensors)
        self.splits = splits_of(made.prepare)
        self.centred = {n: node.inputs[0]["name"] for n, node in made.prepare.outputs.items() if _is_centred(node)}
        apart = {n for split in self.splits for n in split.names} | set(self.centred)
        self.computed = _computed(made.prepare, self.passed, apart)
        self.computed_from = {n: reads([node]) for n, node in made.prepare.outputs.items()}
        self.hoist = Hoist(made)
        forward = made.forward
        self.streams = tuple(forward.inputs_of("x", "stream"))
        self.constants = tuple(forward.inputs_of("constant"))
        self.loop_params = tuple(forward.inputs_of("param"))
        self.sink = None if made.sink is None else Sink(made.sink)
        self.outputs_are = held_in_output(forward)
        self.kept_streams, self.kept_constants, self.kept_states = self._kept()
        self.backward_params = () if made.backward is None else tuple(made.backward.graph.inputs_of("param"))
        self.fault: str | None = None
        """What a trial against the loop found wrong; None for nothing."""
        self.tried: list[frozenset[str]] = []
        """Which of x, the streams and the constants had gradients in each trial so far."""
        self._kernels: dict[torch.dtype, Kernel] = {}

    def _kept(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        backward = self.program.backward
        if backward is None:
            return (), (), ()
        read = {*self.hoist.given, *backward.graph.inputs, *(w.value for w in backward.weights if w.where == "stream")}
        states = tuple(s for s in backward.trajectories if s not in self.outputs_are)
        return tuple(n for n in self.streams if n in read), self.constants, states

    def kernel(self, dtype: torch.dtype) -> Kernel:
        """The kernel for numbers of one dtype, made when first asked for."""
        kernel = self._kernels.get(dtype)
        if kernel is None:
            kernel = self._kernels[dtype] = make_kernel(self.program, dtype)
        return kernel

    def prepare(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The params out of the cell's tensors, both in order: ordinary torch operations."""
        if self.computed is None and not self.splits and not self.centred:
            return [tensors[n] for n in self._places]
        named = dict(zip(self.tensors, tensors, strict=True))
        made = (
            {} if self.computed is None else interpret.run(self.computed, {n: named[n] for n in self.computed.inputs})
        )
        made.update({name: less_mean(named[tensor]) for name, tensor in self.centred.items()})
        for split in self.splits:
            made.update(split.run(named[split.tensor]))
        return [
            made[name] if passed is None else named[passed]
            for name, passed in zip(self.params, self.passed, strict=True)
        ]

    def asked(self, names: Set[str]) -> frozenset[str]:
        """What of the loop's inputs needs a gradient, if ``names`` do."""
        reads = self.hoist.reads
        inputs = (*self.streams, *self.constants, *self.program.states, *self.loop_params)
        return frozenset(n for n in inputs if (n in names if n not in reads else not reads[n].isdisjoint(names)))

    @property
    def keeps_nothing(self) -> bool:
        """Whether the backward reads nothing but the output and the tensors themselves."""
        made = self.program.hoist.outputs
        inner = any(name in made for name in (*self.kept_streams, *self.kept_constants)) or bool(self.hoist.within)
        return self.sink is None and not (self.program.saved or self.kept_states or inner)

    @cached_property
    def text(self) -> str:
        """The program as text."""
        return program.dumps(self.program)


def _is_centred(node: Node) -> bool:
    return node.op == "less_mean" and node.inputs[0].op == "input"


def _computed(prepare: Graph, passed: Sequence[str | None], apart: set[str]) -> Graph | None:
    """The part of ``prepare`` that computes something."""
    own = zip(prepare.outputs.items(), passed, strict=True)
    outputs = {n: node for (n, node), as_it_is in own if as_it_is is None and n not in apart}
    if not outputs:
        return None
    needed = {id(node) for node in Graph({}, outputs).nodes()}
    return Graph({n: node for n, node in prepare.inputs.items() if id(node) in needed}, outputs)


class Plan:
    """A layer's programs, one a direction, and the order in which all its tensors are handed on.

    That order: x, the streams, the constants, then for each direction its states and its params.

    Attributes:
        reverse: of each direction, whether it runs from the last step to the first.
    """

    def __init__(
        self,
        directions: Sequence[Compiled],
        streams: Sequence[str],
        constants: Sequence[str],
        reverse: Sequence[bool] = (False, True),
    ) -> None:
        self.directions = tuple(directions)
        self.reverse = tuple(reverse)
        self.streams = tuple(streams)
        self.constants = tuple(constants)
        self.same = all(d is directions[0] for d in directions)
        self.reads_output = any(
            state in d.program.backward.trajectories
            for d in directions
            if d.program.backward is not None and d.sink is None
            for state in d.outputs_are
        )
        place = 1 + len(self.streams) + len(self.constants)
        self.places: list[tuple[int, int, int]] = []
        for compiled in self.directions:
            middle = place + len(compiled.program.states)
            self.places.append((place, middle, middle + len(compiled.params)))
            place = middle + len(compiled.params)

    @cached_property
    def keeps_nothing(self) -> bool:
        """Whether the backward reads nothing but the output and the tensors themselves."""
        return all(d.keeps_nothing for d in self.directions)

    @cached_property
    def alone(self) -> tuple[Plan, ...]:
        """Each direction as a plan of its own."""
        pairs = zip(self.directions, self.reverse, strict=False)
        return tuple(Plan((compiled,), self.streams, self.constants, (reverse,)) for compiled, reverse in pairs)

    @cached_property
    def text(self) -> str:
        """All of it as one line: the argument of the operator, so that an exported program carries it."""
        own = list(dict.fromkeys(d.text for d in self.directions))
        return json.dumps(
            {
                "programs": own,
                "directions": [own.index(d.text) for d in self.directions],
                "streams": self.streams,
                "constants": self.constants,
            },
            separators=(",", ":"),
        )


@lru_cache(maxsize=256)
def plan_of(directions: tuple[Compiled, ...], streams: tuple[str, ...], constants: tuple[str, ...]) -> Plan:
    """One plan for the same programs."""
    return Plan(directions, streams, constants)


@lru_cache(maxsize=256)
def loads(text: str) -> Plan:
    """The plan that wrote :attr:`Plan.text`, in this or in another process."""
    data: dict[str, Any] = json.loads(text)
    programs = [Compiled(program.loads(t)) for t in data["programs"]]
    return Plan([programs[n] for n in data["directions"]], data["streams"], data["constants"])
