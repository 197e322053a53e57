"""A compiled loop inside torch.compile and torch.export: one opaque operator, for any T and B."""

from __future__ import annotations

import subprocess
import sys
import warnings
from itertools import product

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor import config
from torch.nn.functional import linear
from torch.nn.utils.rnn import pack_padded_sequence

import ostinato
from ostinato import errors
from tests.support.own_cells import NormalisedCell, PeepholeLSTMCell, TimeGapCell, TwoWidthsCell


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def make(cell, **options) -> ostinato.Recurrent:
    return ostinato.Recurrent(cell, 4, 5, **({"dtype": torch.float64, "num_layers": 2} | options))


def results(run, x, layer, **given):
    output, state = run(x, **given)
    state = state if isinstance(state, tuple) else (state,)
    loss = output.square().sum() + sum(s.sum() for s in state)
    grads = torch.autograd.grad(loss, [x, *layer.parameters()], allow_unused=True)
    return [output, *state, *(torch.zeros(()) if g is None else g for g in grads)]


def close(one, two) -> None:
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def batch(steps, rows, with_lengths):
    x = torch.randn(steps, rows, 4, dtype=torch.float64, requires_grad=True)
    return x, {"lengths": torch.randint(0, steps + 1, (rows,))} if with_lengths else {}


@pytest.mark.parametrize(
    ("cell", "layers", "with_lengths"),
    [
        *product([PeepholeLSTMCell, ostinato.LSTMCell], [2], [False, True]),
        *product([NormalisedCell, ostinato.GRUCell], [1], [False]),
        *product([TwoWidthsCell, ostinato.ChoGRUCell, ostinato.RNNCell], [1], [True]),
    ],
)
def test_one_graph_for_any_sizes(cell, layers, with_lengths) -> None:
    engine = "native" if cell in (ostinato.LSTMCell, ostinato.GRUCell, ostinato.RNNCell) else "auto"
    layer = make(cell, num_layers=layers, bidirectional=True, engine=engine)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for n, (steps, rows) in enumerate([(5, 3), (6, 4), (7, 2), (3, 9)]):
        x, given = batch(steps, rows, with_lengths)
        with torch.compiler.set_stance("default" if n < 2 else "fail_on_recompile"):
            got = results(compiled, x, layer, **given)
        with ostinato.engine("loop"):
            close(got, results(layer, x, layer, **given))


@pytest.mark.parametrize("lengths", [None, [5, 0, 2]])
def test_streams_constants_and_states(lengths) -> None:
    layer = make(TimeGapCell, batch_first=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    hx = torch.randn(2, 3, 5, dtype=torch.float64)
    given = {"gap": torch.rand(3, 5, 1, dtype=torch.float64), "speaker": torch.randn(3, 5, dtype=torch.float64)}
    got = results(compiled, x, layer, hx=hx, lengths=lengths, **given)
    close(got, results(layer, x, layer, hx=hx, lengths=lengths, **given))


def test_inductor() -> None:
    layer = make(ostinato.LSTMCell)
    model = torch.compile(lambda x: layer(2 * x)[0].relu(), fullgraph=True)
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    # What is around the operator needs no vectors; to find out which there are, the C++ compiler would be run again.
    with config.patch({"cpp.vec_isa_ok": False, "cpp_cache_precompile_headers": False}):
        torch.testing.assert_close(model(x), layer(2 * x)[0].relu())


def test_a_changed_step_is_traced_anew() -> None:
    class Scaled(ostinato.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.weight_ih = nn.Parameter(torch.randn(hidden_size, input_size))
            self.slope = 0.5

        def step(self, x, h):
            return torch.tanh(linear(x, self.weight_ih) + self.slope * h)

    layer = make(Scaled, num_layers=1)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    for slope in (0.5, 0.25, 0.75):
        layer.slots[0].template.slope = slope
        torch.testing.assert_close(compiled(x)[0], layer(x)[0])


SIZES = [(8, 3), (6, 4), (7, 2), (3, 9)]


class Counter:
    """A backend that counts graphs."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, module, inputs):
        self.graphs += 1
        return module.forward


def test_a_given_state_leaves_sizes_dynamic() -> None:
    layer, counter = make(ostinato.LSTMCell, num_layers=1), Counter()
    compiled = torch.compile(layer, fullgraph=True, backend=counter)
    for steps, rows in SIZES:
        x = torch.randn(steps, rows, 4, dtype=torch.float64)
        hx = (torch.randn(1, rows, 5, dtype=torch.float64), torch.randn(1, rows, 5, dtype=torch.float64))
        torch.testing.assert_close(compiled(x, hx)[0], layer(x, hx)[0])
    assert counter.graphs == 2


def test_sizes_marked_as_dynamic_with_a_given_state() -> None:
    layer, counter = make(ostinato.ChoGRUCell, num_layers=1), Counter()
    compiled = torch.compile(layer, fullgraph=True, backend=counter)
    for steps, rows in SIZES[:2]:
        x = torch.randn(steps, rows, 4, dtype=torch.float64)
        hx = torch.randn(1, rows, 5, dtype=torch.float64)
        for value, axis in ((x, 0), (x, 1), (hx, 1)):
            torch._dynamo.mark_dynamic(value, axis)
        torch.testing.assert_close(compiled(x, hx)[0], layer(x, hx)[0])
    assert counter.graphs == 1


def test_export_by_dynamo_with_a_given_state() -> None:
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = make(ostinato.ChoGRUCell, num_layers=1)

        def forward(self, x, hx):
            return self.rnn(x, hx)[0]

    def example(steps, rows):
        return torch.randn(steps, rows, 4, dtype=torch.float64), torch.randn(1, rows, 5, dtype=torch.float64)

    model, (T, B) = Model(), (torch.export.Dim("T"), torch.export.Dim("B"))
    shapes = ({0: T, 1: B}, {1: B})
    program = torch.export.export(model, example(5, 3), dynamic_shapes=shapes, strict=True).module()
    given = example(7, 2)
    torch.testing.assert_close(program(*given), model(*given))


@pytest.mark.parametrize("size", [(1, 3, 4), (1, 2, 5), (2, 3, 5), (3, 5)])
def test_a_given_state_that_does_not_fit(size) -> None:
    layer = make(ostinato.ChoGRUCell, num_layers=1)
    x, hx = torch.randn(5, 3, 4, dtype=torch.float64), torch.randn(size, dtype=torch.float64)
    for run in (layer, torch.compile(layer, backend="eager")):
        with pytest.raises(
            errors.InvalidShape, match=r"h_0 must be \(1, 3, 5\), for 1 layer × 1 direction and batch 3"
        ):
            run(x, hx)


@pytest.mark.parametrize("given", ["x", "lengths", "hx", "streams"])
def test_all_sizes_dynamic_from_the_first_call(given) -> None:
    layer, counter = make(TimeGapCell if given == "streams" else ostinato.LSTMCell, num_layers=1), Counter()
    compiled = torch.compile(layer, fullgraph=True, backend=counter, dynamic=True)
    for steps, rows in SIZES:
        x = torch.randn(steps, rows, 4, dtype=torch.float64)
        state = torch.randn(1, rows, 5, dtype=torch.float64)
        more = {
            "x": {},
            "lengths": {"lengths": torch.randint(1, steps + 1, (rows,))},
            "hx": {"hx": (state, state)},
            "streams": {"gap": torch.rand(steps, rows, 1, dtype=torch.float64), "speaker": state[0]},
        }[given]
        torch.testing.assert_close(compiled(x, **more)[0], layer(x, **more)[0])
    assert counter.graphs == 1


def test_learned_and_computed_initial_states() -> None:
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(4, 5, dtype=torch.float64)

        def forward(self, x):
            return self.map(x.sum(0)).unsqueeze(0)

    for initial in ("learned", Mean()):
        layer = make(ostinato.ChoGRUCell, num_layers=1, initial_state=initial)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        for lengths in (None, torch.tensor([5, 2, 0])):
            x = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
            close(results(compiled, x, layer, lengths=lengths), results(layer, x, layer, lengths=lengths))


def test_a_gradient_that_only_a_buffer_asks_for() -> None:
    class Gained(ostinato.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.register_buffer("gain", torch.tensor(0.9, dtype=torch.float64, requires_grad=True))

        def step(self, x, h):
            return torch.tanh(x.sum(-1, keepdim=True) + h * self.gain)

    layer, x = make(Gained, num_layers=1), torch.randn(5, 3, 4, dtype=torch.float64)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    close(*(torch.autograd.grad(run(x)[0].sum(), layer.gain_l0) for run in (compiled, layer)))


def test_lengths_are_checked_when_the_graph_runs() -> None:
    layer = make(ostinato.LSTMCell)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    compiled(x, lengths=torch.tensor([1, 2, 3]))
    with pytest.raises(errors.InvalidValue, match=r"between 0 and T = 5.*got 6"):
        compiled(x, lengths=torch.tensor([1, 2, 6]))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_second_derivative_is_refused(backend) -> None:
    layer = make(ostinato.LSTMCell)
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    x = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(compiled(x)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"double backward"):
        torch.autograd.grad(grad.sum(), x)


def test_native_by_name_that_cannot_run() -> None:
    class Sorted(ostinato.RNNCell):
        def step(self, x, h):
            return super().step(x, h.sort(-1).values)

    x = torch.randn(3, 2, 4, dtype=torch.float64)
    compiled = torch.compile(make(Sorted, num_layers=1, engine="native"), backend="eager")
    with pytest.raises(errors.EngineError, match=r"aten.sort has no native form"):
        compiled(x)
    layer = make(Sorted, num_layers=1)
    torch.testing.assert_close(torch.compile(layer, backend="eager")(x)[0], layer(x)[0])


class SortedCell(ostinato.RNNCell):
    """No native form."""

    def step(self, x, h):
        return super().step(x, h).sort(-1).values


WITHOUT = [*product((ostinato.LSTMCell, ostinato.ChoGRUCell, SortedCell), ("plain", "autocast", "bfloat16", "loop"))]


@pytest.mark.parametrize(("cell", "case"), [*WITHOUT, (ostinato.LSTMCell, "aten")])
def test_one_graph_without_a_kernel(cell, case) -> None:
    dtype = torch.bfloat16 if case == "bfloat16" else torch.float32
    layer = make(cell, dtype=dtype, num_layers=1, engine=case if case in ("loop", "aten") else "auto")
    x = torch.randn(3, 2, 4, dtype=dtype)
    with warnings.catch_warnings(), torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        warnings.simplefilter("ignore")
        compiled = torch.compile(layer, fullgraph=True, backend="eager")(x)[0]
        eager = layer(x)[0]
    lower = case in ("autocast", "bfloat16")
    torch.testing.assert_close(compiled, eager, rtol=0, atol=2e-2 if lower else 1e-5)


@pytest.mark.parametrize("cell", [ostinato.ChoGRUCell, ostinato.LSTMCell])
def test_transforms_inside_a_graph(cell) -> None:
    layer = make(cell, num_layers=1)
    own, x = dict(layer.named_parameters()), torch.randn(3, 2, 4, dtype=torch.float64)

    def loss(parameters, row):
        return torch.func.functional_call(layer, parameters, (row,))[0].sum()

    by_row = torch.vmap(lambda row: layer(row)[0], in_dims=1, out_dims=1)
    per_sample = torch.vmap(torch.func.grad(loss), in_dims=(None, 1))
    for run in (by_row, lambda x: per_sample(own, x)):
        torch.testing.assert_close(torch.compile(run, fullgraph=True, backend="eager")(x), run(x))


def test_dynamo_looks_at_no_frame_of_the_compilers() -> None:
    layer = make(NormalisedCell, num_layers=1)
    compiled = torch.compile(layer, backend="eager")
    counters["frames"].clear()
    for steps in (4, 6):
        packed = pack_padded_sequence(torch.randn(steps, 3, 4, dtype=torch.float64), [steps, 3, 2])
        torch.testing.assert_close(compiled(packed)[0].data, layer(packed)[0].data)
    assert counters["frames"]["total"] < 10


RUN = """
import sys, torch, ostinato
for path in sys.argv[1:]:
    program = torch.export.load(path + ".pt2").module()
    for given, expected in torch.load(path + ".cases"):
        torch.testing.assert_close(program(*given), expected, msg=lambda text: f"{path}: {text}")
    print(path)
"""


class Exported(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.rnn = make(cell, bidirectional=True)

    def forward(self, x, lengths=None):
        return self.rnn(x, lengths=lengths)[0]


def test_exported_programs_run_in_another_process(tmp_path) -> None:
    paths = []
    for cell, with_lengths in product([PeepholeLSTMCell, ostinato.LSTMCell], [False, True]):
        paths.append(str(tmp_path / f"{cell.__name__} {with_lengths}"))
        export(Exported(cell).eval(), with_lengths, paths[-1])
    done = subprocess.run([sys.executable, "-c", RUN, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == paths


def export(model, with_lengths, path) -> None:
    """The program for any T and B, and what the model gives for a few, to files."""

    def example(steps, rows):
        x, given = batch(steps, rows, with_lengths)
        return (x.detach(), *given.values())

    T, B = torch.export.Dim("T"), torch.export.Dim("B")
    shapes = ({0: T, 1: B}, {0: B}) if with_lengths else ({0: T, 1: B},)
    with torch.no_grad():
        program = torch.export.export(model, example(5, 3), dynamic_shapes=shapes)
        assert [n for n in program.graph.nodes if n.target is torch.ops.ostinato.layer.default]
        torch.export.save(program, f"{path}.pt2")
        cases = [example(*sizes) for sizes in [(7, 2), (1, 1), (5, 3)]]
        torch.save([(given, model(*given)) for given in cases], f"{path}.cases")


@pytest.mark.parametrize(
    ("cell", "lengths", "bidirectional"),
    [
        (NormalisedCell, None, False),
        (NormalisedCell, [3, 0, 5], True),
        (ostinato.ChoGRUCell, None, True),
        (ostinato.ChoGRUCell, [3, 0, 5], False),
        (ostinato.LSTMCell, None, True),
        (ostinato.LSTMCell, [3, 0, 5], False),
    ],
)
def test_the_operators_keep_torchs_rules(cell, lengths, bidirectional) -> None:
    layer = make(cell, num_layers=1, bidirectional=bidirectional)
    ((text, paths),) = layer.programs(True, (False, True), (), ())
    x = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    rows = [(3, size) for _ in paths for size in layer.state_shape.sizes[0]]
    states = [torch.randn(*size, dtype=torch.float64, requires_grad=True) for size in rows]
    cells = [ostinato.cells.binding.bind(slot, layer) for slot in layer.slots]
    tensors = [t for cell, own in zip(cells, paths, strict=True) for t in ostinato.engines.native.tensors_at(cell, own)]
    counts = None if lengths is None else torch.tensor(lengths)
    torch.library.opcheck(torch.ops.ostinato.layer.default, (x, [], [], states, tensors, counts, text))
    # What the backward gets is what the forward put out.
    given, seen = (x, [], [], states, tensors, counts, text), []
    made = torch.ops.ostinato.layer(*given)
    real = torch.ops.ostinato.layer_backward.default

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            if function is real:
                seen.append(arguments)
            return function(*arguments, **(keywords or {}))

    with Watch():
        made[0].sum().backward()
    (arguments,) = seen
    plain = torch.utils._pytree.tree_map(lambda a: a.detach() if isinstance(a, torch.Tensor) else a, arguments)
    torch.library.opcheck(real, plain)


class Inner(nn.Module):
    """A module with a tensor that is neither parameter nor buffer."""

    def __init__(self):
        super().__init__()
        self.gain = torch.tensor(0.9, requires_grad=True)

    def forward(self, h):
        return h * self.gain


class GainedCell(ostinato.Cell):
    """One that has such a tensor itself, or in a module; and nothing else that learns."""

    def __init__(self, input_size, hidden_size, *, inner):
        super().__init__(input_size, hidden_size)
        self.register_buffer("weight", torch.rand(hidden_size, input_size))
        module = Inner()
        self.scale = module if inner else None
        self.gain = None if inner else module.gain

    def step(self, x, h):
        total = torch.tanh(x @ self.weight.T + h)
        return total * self.gain if self.scale is None else self.scale(total)


@pytest.mark.parametrize("inner", [False, True])
def test_a_gradient_that_nothing_but_an_attribute_asks_for(inner: bool) -> None:
    layer, x = ostinato.Recurrent(GainedCell, 4, 5, inner=inner), torch.randn(6, 3, 4)
    template = layer.slots[0].template
    gain = layer.scale_l0.gain if inner else template.gain
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        found = [torch.autograd.grad(run(x)[0].sum(), gain)[0] for run in (compiled, layer)]
        torch.testing.assert_close(*found)
        gain.requires_grad_(False)
        assert not compiled(x)[0].requires_grad
        gain.requires_grad_()
