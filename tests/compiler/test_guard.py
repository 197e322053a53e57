"""A guard fails as soon as anything is changed that a step could read, and at nothing else."""

from __future__ import annotations

import dataclasses
import enum
import functools
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest
import torch
from torch import nn

import ostinato
from ostinato.compiler.guard import Guard, tensors_of
from ostinato.compiler.refusal import Refused
from tests.support.own_cells import OWN_CELLS

SCALE = 2.0
TABLE = {"tanh": torch.tanh}
LIMITS = [1.0, 2.0]
WEIGHTS = torch.ones(3)


class Kind(enum.Enum):
    SOFT = "soft"
    HARD = "hard"


@dataclasses.dataclass
class Options:
    gain: float = 0.5
    names: tuple[str, ...] = ("a",)

    def scaled(self, value):
        return value * self.gain


class Constants:
    GAIN = 3.0


def deeper(value):
    return value + 1


def helper(value, factor=2.0):
    return deeper(value) * factor


class Inner(nn.Module):
    slope = 0.1

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.mode = "a"

    def forward(self, x):
        return self.act(x) * self.weight

    def act(self, x):
        return x * self.slope


class Base(ostinato.Cell):
    gain = 0.9

    def mixed(self, value):
        return value * self.gain


class Many(Base):
    """Reads something of every kind."""

    def __init__(self, input_size: int = 3, hidden_size: int = 4):
        super().__init__(input_size, hidden_size)
        self.weight = nn.Parameter(torch.ones(hidden_size, input_size))
        self.register_buffer("scale", torch.tensor(0.5))
        self.plain = torch.ones(hidden_size)
        self.inner = Inner(hidden_size)
        self.parts = nn.ModuleList([nn.LayerNorm(hidden_size), nn.Dropout(0.1)])
        self.number, self.text, self.flag, self.none = 1, "text", True, None
        self.items, self.table, self.group = [1, [2]], {"a": 1}, {1, 2}
        self.kind, self.dtype, self.options = Kind.SOFT, torch.float32, Options()
        self.function = torch.tanh
        self.call = lambda v: v * 2
        self.part = functools.partial(helper, factor=3.0)

    @property
    def doubled(self):
        return self.number * 2

    @staticmethod
    def static(value):
        return value - 1

    @classmethod
    def of_class(cls, value):
        return value * cls.gain

    def step(self, x, h):
        new = self.inner(x @ self.weight.T + h) * SCALE * self.scale + self.plain
        new = TABLE["tanh"](helper(new)) + LIMITS[0] + Constants.GAIN + self.mixed(self.static(new))
        return self.of_class(new) * self.doubled + self.options.scaled(self.call(self.part(new))) + module.GAIN


module = types.ModuleType("module_of_the_user")
module.GAIN = 1.0


@pytest.fixture
def cell(monkeypatch):
    monkeypatch.setitem(sys.modules, "module_of_the_user", module)
    yield Many()
    del LIMITS[2:]


CHANGES = {
    "number": lambda c, m: setattr(c, "number", 2),
    "number of another type": lambda c, m: setattr(c, "number", 1.0),
    "text": lambda c, m: setattr(c, "text", "other"),
    "flag": lambda c, m: setattr(c, "flag", False),
    "none": lambda c, m: setattr(c, "none", 0),
    "list": lambda c, m: c.items.append(3),
    "list within a list": lambda c, m: c.items[1].append(3),
    "dict": lambda c, m: c.table.update(b=2),
    "dict value": lambda c, m: c.table.update(a=2),
    "set": lambda c, m: c.group.add(3),
    "enum": lambda c, m: setattr(c, "kind", Kind.HARD),
    "dtype": lambda c, m: setattr(c, "dtype", torch.float64),
    "attribute of an object": lambda c, m: setattr(c.options, "gain", 0.6),
    "function in an attribute": lambda c, m: setattr(c, "function", torch.sigmoid),
    "lambda in an attribute": lambda c, m: setattr(c, "call", lambda v: v * 3),
    "partial": lambda c, m: setattr(c, "part", functools.partial(helper, factor=4.0)),
    "new attribute": lambda c, m: setattr(c, "more", 1),
    "attribute gone": lambda c, m: delattr(c, "text"),
    "training": lambda c, m: c.eval(),
    "training of a submodule": lambda c, m: c.parts[1].eval(),
    "attribute of a submodule": lambda c, m: setattr(c.inner, "mode", "b"),
    "option of torch's module": lambda c, m: setattr(c.parts[0], "eps", 1e-3),
    "hook": lambda c, m: c.inner.register_forward_hook(lambda *args: None),
    "submodule": lambda c, m: setattr(c, "inner", nn.Linear(4, 4)),
    "another submodule": lambda c, m: c.parts.append(nn.Tanh()),
    "shape": lambda c, m: setattr(c, "weight", nn.Parameter(torch.ones(5, 3))),
    "dtypes": lambda c, m: c.double(),
    "buffer": lambda c, m: c.register_buffer("scale", torch.ones(4)),
    "plain tensor": lambda c, m: setattr(c, "plain", torch.ones(1)),
    "parameter gone": lambda c, m: c.register_parameter("weight", None),
    "global": lambda c, m: m.setitem(globals(), "SCALE", 3.0),
    "global table": lambda c, m: m.setitem(TABLE, "tanh", torch.sigmoid),
    "global list": lambda c, m: LIMITS.append(5.0),
    "class of constants": lambda c, m: m.setattr(Constants, "GAIN", 4.0),
    "module of the user": lambda c, m: m.setattr(module, "GAIN", 2.0),
    "class attribute": lambda c, m: m.setattr(Base, "gain", 0.8),
    "class attribute, hidden": lambda c, m: m.setattr(Many, "gain", 0.8, raising=False),
    "class attribute of a submodule": lambda c, m: m.setattr(Inner, "slope", 0.2),
    "helper": lambda c, m: m.setitem(globals(), "helper", lambda value: value),
    "code of a helper": lambda c, m: m.setattr(helper, "__code__", (lambda value, factor: value).__code__),
    "code of a helper's helper": lambda c, m: m.setattr(deeper, "__code__", (lambda value: value).__code__),
    "default of a helper": lambda c, m: m.setattr(helper, "__defaults__", (3.0,)),
    "step": lambda c, m: m.setattr(Many, "step", lambda s, x, h: h),
    "code of the step": lambda c, m: m.setattr(Many.step, "__code__", (lambda self, x, h: h).__code__),
    "method of a base": lambda c, m: m.setattr(Base.mixed, "__code__", (lambda self, value: value).__code__),
    "method, hidden": lambda c, m: m.setattr(Many, "mixed", lambda self, value: value, raising=False),
    "property": lambda c, m: m.setattr(Many, "doubled", property(lambda self: 3)),
    "static method": lambda c, m: m.setattr(Many, "static", staticmethod(lambda value: value)),
    "class method": lambda c, m: m.setattr(Many, "of_class", classmethod(lambda cls, value: value)),
    "forward of a submodule": lambda c, m: m.setattr(Inner.forward, "__code__", (lambda self, x: x).__code__),
    "method of a submodule": lambda c, m: m.setattr(Inner, "act", lambda self, x: x),
    "method of an object": lambda c, m: m.setattr(Options, "scaled", lambda self, value: value),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen(cell, monkeypatch, name: str) -> None:
    guard = Guard.of(cell._frozen_view())
    assert guard.holds(cell._frozen_view())
    CHANGES[name](cell, monkeypatch)
    assert not guard.holds(cell._frozen_view())
    assert Guard.of(cell._frozen_view()).key != guard.key


def test_new_numbers_in_the_tensors_are_no_change(cell) -> None:
    guard = Guard.of(cell._frozen_view())
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(2)
    cell.weight = nn.Parameter(torch.zeros(4, 3))
    cell.items = [1, [2]]
    assert guard.holds(cell._frozen_view())
    assert Guard.of(cell._frozen_view()).key == guard.key


def test_a_tensor_under_two_names_is_one() -> None:
    cell = ostinato.RNNCell(4, 4)
    cell.weight_ih = cell.weight_hh
    guard = Guard.of(cell._frozen_view())
    assert guard.holds(cell._frozen_view())
    cell.weight_ih = nn.Parameter(torch.ones(4, 4))
    assert not guard.holds(cell._frozen_view())


def test_a_builtin_that_a_global_hides(monkeypatch) -> None:
    class Counting(ostinato.Cell):
        def step(self, x, h):
            return h * sum(n for n in range(3))

    cell = Counting(2, 3)._frozen_view()
    guard = Guard.of(cell)
    assert guard.holds(cell)
    monkeypatch.setitem(globals(), "sum", max)
    assert not guard.holds(cell)


def test_closures_and_free_functions() -> None:
    factor = 2.0

    class Closed(ostinato.Cell):
        def step(self, x, h):
            return h * factor

    cell = Closed(2, 3)._frozen_view()
    guard = Guard.of(cell)
    assert guard.holds(cell)
    factor = 3.0
    assert not guard.holds(cell)


@pytest.mark.parametrize(
    "kind", [ostinato.LSTMCell, ostinato.GRUCell, ostinato.ChoGRUCell, ostinato.RNNCell, ostinato.ElmanCell, *OWN_CELLS]
)
def test_layers_of_every_cell_hold_from_call_to_call(kind) -> None:
    from ostinato.cells import binding

    layer = ostinato.Recurrent(kind, 3, 4)
    slot = layer._slots[0][0]
    bound = binding.bind(slot, layer)
    guard = Guard.of(bound)
    assert guard.holds(binding.bind(slot, layer))
    assert not guard.holds(binding.bind(slot, layer.eval()))
    assert guard.tensors(bound) == tensors_of(bound)
    assert all(guard.tensors(bound)[n] is t for n, t in tensors_of(bound).items())


def step_with(text: str, **attributes):
    class Made(ostinato.Cell):
        def __init__(self):
            super().__init__(3, 4)
            self.__dict__.update(attributes)

    space = dict(globals())
    exec(f"def step(self, x, h):\n    return {text}", space)
    Made.step = space["step"]
    return Made()


class Opaque:
    __slots__ = ()


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (step_with("h * WEIGHTS"), "register it as a buffer"),
        (step_with("h * self.items[0]", items=[torch.ones(4)]), "self.items: a tensor of shape"),
        (step_with("h", net=[nn.Linear(2, 2)]), "assign it to an attribute"),
        (step_with("h", source=torch.Generator()), "random numbers"),
        (step_with("h", thing=Opaque()), "can change without showing it"),
        (step_with("h", thing=iter([1])), "list_iterator can change without showing it"),
    ],
)
def test_what_cannot_be_watched_is_refused(cell, why: str) -> None:
    with pytest.raises(Refused, match=why):
        Guard.of(cell._frozen_view())


def test_arrays_are_refused() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(Refused, match=r"numpy\.ndarray can change without showing it"):
        Guard.of(step_with("h", table=numpy.ones(3))._frozen_view())
    cell = step_with("h", number=numpy.float32(3))
    guard = Guard.of(cell._frozen_view())
    cell.number = numpy.float32(4)
    assert not guard.holds(cell._frozen_view())


PROGRAM = """
    import sys, torch, ostinato
    from ostinato.compiler.guard import Guard
    OPTIONS = {{"a", "b", "c", "d"}}
    def helper(v):
        return v * {factor} if "a" in OPTIONS else v
    class Mine(ostinato.Cell):
        def step(self, x, h):
            return helper(h) if "x" not in {{"p", "q", "r"}} else h
    cell = Mine(3, 4)
    cell.names = {{"u", "v", "w"}}
    cell.call = lambda v: v
    print(Guard.of(cell._frozen_view()).key, Guard.of(ostinato.LSTMCell(3, 4)._frozen_view()).key)
"""


def test_a_key_is_the_same_in_every_process_and_another_for_other_code(tmp_path) -> None:
    paths, keys = [], []
    for n, factor in enumerate((2, 2, 3)):
        paths.append(str(tmp_path / f"program{n}.py"))
        Path(paths[n]).write_text(("\n" * n) + textwrap.dedent(PROGRAM.format(factor=factor)))
    code = "import runpy, sys\nfor path in sys.argv[1:]: runpy.run_path(path, run_name='__main__')"
    for seed, programs in ((1, paths[:1]), (2, paths[1:])):
        command, environment = [sys.executable, "-c", code, *programs], {"PYTHONHASHSEED": str(seed), "PATH": ""}
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        keys += [line.split() for line in run.stdout.splitlines()]
    assert keys[0] == keys[1]
    assert keys[0][0] != keys[2][0]
    assert keys[0][1] == keys[2][1]


class ByName(ostinato.Cell):
    """Reaches a method, and a module of the user's, without naming them in the code that runs."""

    def gate_0(self, value):
        return torch.tanh(value)

    def step(self, x, h):
        import module_of_the_user

        return getattr(self, f"gate_{0}")(h) * module_of_the_user.GAIN


def test_what_is_reached_by_getattr_and_by_an_import_within_the_step(cell, monkeypatch) -> None:
    bound = ByName(2, 3)._frozen_view()
    guard = Guard.of(bound)
    assert guard.holds(bound)
    with monkeypatch.context() as within:
        within.setattr(module, "GAIN", 5.0)
        assert not guard.holds(bound)
    assert guard.holds(bound)
    monkeypatch.setattr(ByName, "gate_0", lambda self, value: value)
    assert not guard.holds(bound)
