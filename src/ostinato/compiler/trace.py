"""A cell's step as a graph: it is run on small random tensors, and every operation of torch's that it makes is noted.

It is run at two batch sizes. What differs between the two is the batch axis; if anything else differs, the step depends
on the batch size and has no native form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell, check_step
from ostinato.compiler.graph import Graph, Node
from ostinato.compiler.guard import ON_ALL
from ostinato.compiler.recorder import Recorder
from ostinato.compiler.refusal import Refused, is_exhaustion
from ostinato.compiler.traced import Maker, Value

Widths = Mapping[str, tuple[int, torch.dtype]]
"""Streams or constants: the keyword of the step → width and dtype."""

BATCHES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)
"""Batch sizes to run at: two primes that no width of the cell's is a multiple of."""


def trace(cell: Cell, x_size: int, streams: Widths, constants: Widths, *, dtype: torch.dtype | None = None) -> Graph:
    """One graph of a bound cell's step.

    Args:
        cell: bound to its tensors (``binding.bind``), of float32 or float64.
        x_size: the width of x.
        streams, constants: the keywords that the step is called with, by name.
        dtype: of x and the states; that of the cell's first real tensor if not given.

    Returns:
        A graph with the inputs ``x``, streams, constants and states by name, and the cell's tensors that the step
        reads by their path in the cell (``"weight_hh"``, ``"ln.weight"``), and the outputs ``output`` and
        ``new.STATE`` for each state.

    Raises:
        Refused: the step, or a part of it, has no native form; it names the operation and the user's line.
    """
    if torch._C._is_any_autocast_enabled():
        raise Refused("autocast chooses the dtypes of a step anew")
    if cell._modules and any(ON_ALL):
        raise Refused("hooks on every module (torch.nn.modules.module.register_module_forward_hook) watch the step")
    call = _Call(cell, x_size, streams, constants, dtype)
    first, second = (call.graph(rows) for rows in call.batches())
    if not alike(first, second):
        raise Refused(f"{type(cell).__name__}.step depends on the batch size", difference(first, second))
    return first


class _Call:
    """What a step is called with."""

    def __init__(self, cell: Cell, x_size: int, streams: Widths, constants: Widths, dtype: torch.dtype | None) -> None:
        self.x_size, self.streams, self.constants = x_size, streams, constants
        self.tensors: dict[str, Tensor] = {}
        with torch.inference_mode(False), torch.no_grad():
            self.cell: Cell = _plain(cell, "", self.tensors, {})
        real = [t for t in self.tensors.values() if t.is_floating_point()]
        self.dtype = dtype or (real[0].dtype if real else torch.get_default_dtype())
        self.device = real[0].device if real else torch.device("cpu")
        if self.dtype not in (torch.float32, torch.float64):
            raise Refused(f"{type(cell).__name__} computes in {self.dtype}")

    def batches(self) -> list[int]:
        """Two batch sizes, to be told from any other size in the step."""
        widths = {size for t in self.tensors.values() for size in t.shape}
        widths |= {self.x_size, *self.cell.state_sizes}
        widths |= {size for size, _ in (*self.streams.values(), *self.constants.values())}
        return [n for n in BATCHES if all(width % n for width in widths if width)][:2] or [*BATCHES[:2]]

    def graph(self, rows: int) -> Graph:
        """The step, run once on so many rows."""
        maker = Maker(rows, self.dtype, self.device)
        recorder = Recorder(maker)
        random = torch.Generator(self.device).manual_seed(rows)
        inputs: dict[str, Node] = {}
        own: dict[str, Node] = {}

        def argument(kind: str, name: str, size: int, dtype: torch.dtype) -> Tensor:
            if dtype.is_complex:
                raise Refused(f"{name} is complex; carry two real values")
            value = torch.randn(rows, size, generator=random, device=self.device, dtype=torch.float64).to(dtype)
            node = maker.build.input(kind, name, (size,), True, "bool" if dtype is torch.bool else "real")
            inputs[name] = node
            recorder.argument(value, Value(node, 0, dtype), f"{name}, an argument of the step")
            return value

        with torch.inference_mode(False), torch.enable_grad():
            x = argument("x", "x", self.x_size, self.dtype)
            given = {n: argument("stream", n, *kind) for n, kind in self.streams.items()}
            given |= {n: argument("constant", n, *kind) for n, kind in self.constants.items()}
            names, sizes = self.cell.state_names, self.cell.state_sizes
            states = tuple(argument("state", n, s, self.dtype) for n, s in zip(names, sizes, strict=True))
            for path, tensor in self.tensors.items():
                kind = "bool" if tensor.dtype is torch.bool else "real"
                node = maker.build.input("tensor", path, tuple(tensor.shape), False, kind)
                recorder.argument(tensor, Value(node, dtype=tensor.dtype), f"self.{path}")
                own[path] = node
            output, new = self._run(recorder, x, states, given)
        outputs = {"output": recorder.result(output, "output")}
        outputs |= {f"new.{n}": recorder.result(t, n) for n, t in zip(names, new, strict=True)}
        read = _read(own, outputs)
        if both := read.keys() & inputs.keys():
            raise Refused(f"self.{min(both)} and an argument of the step have one name; rename one of them")
        return Graph(inputs | read, outputs)

    def _run(
        self, recorder: Recorder, x: Tensor, states: tuple[Tensor, ...], given: dict[str, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        try:
            with recorder.watching():
                result = self.cell.step(x, *states, **given)
            output, new = self.cell.split(result)
            check_step(self.cell, x, states, output, new)
        except Refused:
            raise
        except Exception as error:
            if is_exhaustion(error):
                raise
            name = type(self.cell).__name__
            raise Refused(f"{name}.step cannot be traced: {type(error).__name__}: {error}", recorder.source) from error
        return output, new


def _plain(module: Any, path: str, tensors: dict[str, Tensor], seen: dict[int, Any]) -> Any:
    """A view of a module whose tensors want no gradient; ``tensors`` gets each of them under its path."""
    if id(module) in seen:
        return seen[id(module)]
    view: Any = object.__new__(type(module))
    seen[id(module)] = view

    def own(name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if type(value) not in (Tensor, nn.Parameter):
            raise Refused(f"self.{path}{name} is a {type(value).__name__}, not a plain tensor")
        if id(value) not in seen:
            plain = value.detach()
            seen[id(value)] = nn.Parameter(plain, requires_grad=False) if type(value) is nn.Parameter else plain
            tensors[path + name] = seen[id(value)]
            seen[-id(value)] = value  # kept: an id is one tensor's as long as that lives
        return seen[id(value)]

    view.__dict__.update({name: own(name, value) for name, value in vars(module).items()})
    for kind in ("_parameters", "_buffers"):
        view.__dict__[kind] = {name: own(name, value) for name, value in vars(module)[kind].items()}
    view.__dict__["_modules"] = {
        name: None if inner is None else _plain(inner, f"{path}{name}.", tensors, seen)
        for name, inner in module._modules.items()
    }
    return view


def _read(tensors: dict[str, Node], outputs: dict[str, Node]) -> dict[str, Node]:
    """Those tensors of the cell that an output needs."""
    used = {id(n) for n in Graph({}, outputs).nodes()}
    return {path: node for path, node in tensors.items() if id(node) in used}


def alike(one: Graph, two: Graph) -> bool:
    """Whether two graphs are the same but for the lines they come from."""
    return _text(one) == _text(two)


def difference(one: Graph, two: Graph) -> str:
    """The line of the first node that differs, or of what reads it."""
    nodes = one.nodes()
    differ = {id(n) for n, a, b in zip(nodes, _text(one), _text(two), strict=False) if a != b}
    return next((n.source for n in nodes if n.source and differ & {id(n), *map(id, n.inputs)}), "")


def _text(graph: Graph) -> list[Any]:
    nodes = graph.nodes()
    number = {id(node): n for n, node in enumerate(nodes)}
    lines: list[Any] = [
        (n.op, [number[id(i)] for i in n.inputs], n.shape, n.rows, n.dtype, repr(n.attrs)) for n in nodes
    ]
    return [*lines, *((name, number[id(n)]) for name, n in (*graph.inputs.items(), *graph.outputs.items()))]
