"""recompute="chunks": the same gradients, for less memory between forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

import ostinato
from ostinato import errors, memory
from ostinato.engines import chunks, passes
from ostinato.engines.geometry import Geometry
from tests.support.own_cells import PeepholeLSTMCell, SharedByHeads, TimeGapCell, TwoWidthsCell

pytestmark = pytest.mark.usefixtures("_short_chunks")
STEPS, ROWS, WIDTH = 70, 5, 4
LENGTHS = [70, 0, 33, 3, 16]


class Spoken(PeepholeLSTMCell):
    """Peepholes, a stream that scales the old memory, and a constant that meets a product."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.weight_speaker = nn.Parameter(torch.empty(hidden_size, 3))
        self.reset_parameters()

    def step(self, x, h, c, *, gap, speaker):
        h, c = super().step(x, h, c * torch.exp(-torch.relu(gap)))
        return h + 0.1 * torch.tanh(linear(speaker, self.weight_speaker)) * c, c


class Leaky(ostinato.Cell):
    """Nothing of it is kept but the output, and not even that is read by a backward."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.reset_parameters()

    def step(self, x, h):
        return 0.9 * h + linear(x, self.weight_ih)


class Summed(ostinato.Cell):
    """x and a stream that it only adds up; and two constants, if it is given them, in work around the loop."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.reset_parameters()

    def step(self, x, h, *, gap, first=None, second=None):
        new = linear(h, self.weight_hh) + x + gap
        return torch.tanh(new if first is None else new + torch.tanh(first + second))


@pytest.fixture
def _short_chunks(monkeypatch) -> None:
    """Small calls are cut too: 2·√T steps a chunk."""
    monkeypatch.setattr(chunks, "LEAST", 1)


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def flat(state) -> list[torch.Tensor]:
    return [state] if isinstance(state, torch.Tensor) else list(state)


def results(layer, x, hx, create_graph: bool = False, **given) -> list[torch.Tensor]:
    """What a call returns and every gradient of it, of the given tensors' too."""
    output, state = layer(x, hx, **given)
    made = [output, *flat(state)]
    loss = sum((torch.cos(m) * m).sum() for m in made)
    inputs = [x, *flat(hx), *(v for v in given.values() if isinstance(v, torch.Tensor)), *layer.parameters()]
    wanted = [t for t in inputs if t.requires_grad]
    grads = torch.autograd.grad(loss, wanted, create_graph=create_graph)
    if create_graph:
        grads = torch.autograd.grad(sum((g * g).sum() for g in grads), wanted)
    return [*made, *grads]


def case(cell, recompute: str = "chunks", engine: str = "native", **options):
    """The layer without recomputing, the same one with it, and arguments."""
    torch.manual_seed(1)
    plain = ostinato.Recurrent(cell, WIDTH, 6, engine="native", dtype=torch.float64, **options)
    other = copy.deepcopy(plain)
    other.recompute, other.engine = recompute, engine
    shape = plain.state_shape.zeros(ROWS, torch.zeros(1, dtype=torch.float64))
    hx = tuple(torch.randn_like(s).requires_grad_() for s in shape)
    given = {}
    if cell in (Spoken, TimeGapCell):
        given["gap"] = leaf(STEPS, ROWS, 6)
        given["speaker"] = leaf(ROWS, 3 if cell is Spoken else 6)
    return plain, other, leaf(STEPS, ROWS, WIDTH), hx if len(hx) > 1 else hx[0], given


OWN = (Spoken, TimeGapCell, TwoWidthsCell, Leaky, SharedByHeads)
CELLS = (ostinato.LSTMCell, ostinato.GRUCell, ostinato.RNNCell, *OWN)


@pytest.mark.parametrize("engine", ["native", "loop"])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one", "both"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_without(cell, bidirectional: bool, lengths, engine: str) -> None:
    plain, other, x, hx, given = case(cell, engine=engine, bidirectional=bidirectional)
    expected = results(plain, x, hx, lengths=lengths, **given)
    torch.testing.assert_close(results(other, x, hx, lengths=lengths, **given), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 15, 16, 17])
def test_any_number_of_steps(steps: int) -> None:
    plain, other, x, hx, _ = case(ostinato.GRUCell, bidirectional=True)
    x = x[:steps].detach().requires_grad_()
    torch.testing.assert_close(results(other, x, hx), results(plain, x, hx), rtol=1e-9, atol=1e-10)


def test_stacked_batch_first_unlike_programs() -> None:
    plain, other, x, hx, _ = case(ostinato.LSTMCell, num_layers=2, batch_first=True, bidirectional=True)
    x = x.detach().transpose(0, 1).requires_grad_()
    torch.testing.assert_close(results(other, x, hx), results(plain, x, hx), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("cell", [ostinato.LSTMCell, ostinato.RNNCell, Spoken])
def test_only_what_is_wanted_gets_a_gradient(cell) -> None:
    plain, other, x, hx, given = case(cell)
    x = x.detach()
    hx = tuple(h.detach() for h in hx) if isinstance(hx, tuple) else hx.detach()
    given = {name: value.detach() for name, value in given.items()}
    for layer in (plain, other):
        for parameter in list(layer.parameters())[1:]:
            parameter.requires_grad_(False)
    torch.testing.assert_close(results(other, x, hx, **given), results(plain, x, hx, **given), rtol=1e-9, atol=1e-10)


def test_a_backward_leaves_what_was_kept_as_it_was() -> None:
    _, layer, x, hx, _ = case(ostinato.GRUCell, bidirectional=True)
    loss = layer(x, hx)[0].square().sum()
    wanted = [x, hx, *layer.parameters()]
    first = torch.autograd.grad(loss, wanted, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, torch.autograd.grad(loss, wanted), strict=True))


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_what_hooks_unpack_may_lie_otherwise(lengths) -> None:
    plain, other, x, hx, _ = case(ostinato.LSTMCell, bidirectional=True)
    expected = results(plain, x, hx, lengths=lengths)

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)

    with torch.autograd.graph.saved_tensors_hooks(torch.clone, unpack):
        made = results(other, x, hx, lengths=lengths)
    torch.testing.assert_close(made, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("recompute", ["none", "chunks"])
@pytest.mark.parametrize("constants", [(), ("first", "second")], ids=["loop", "around"])
def test_no_two_gradients_share_memory(recompute: str, constants: tuple[str, ...]) -> None:
    layer = ostinato.Recurrent(Summed, 6, 6, engine="native", recompute=recompute, dtype=torch.float64)
    x, given = leaf(STEPS, ROWS, 6), {"gap": leaf(STEPS, ROWS, 6), **{name: leaf(ROWS, 6) for name in constants}}
    leaves = [x, *given.values()]
    layer(x, **given)[0].sum().backward()
    once = [t.grad.clone() for t in leaves]
    layer(x, **given)[0].sum().backward()
    torch.testing.assert_close([t.grad for t in leaves], [2 * grad for grad in once])


@pytest.mark.parametrize("pick", [0, 1], ids=["output", "final states"])
def test_gradients_of_one_result_alone(pick: int) -> None:
    plain, other, x, hx, _ = case(ostinato.GRUCell, bidirectional=True)
    grads = [
        torch.autograd.grad(layer(x, hx, lengths=LENGTHS)[pick].square().sum(), [x, hx, *layer.parameters()])
        for layer in (plain, other)
    ]
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("engine", ["native", "loop"])
def test_second_derivatives(engine: str) -> None:
    plain, other, x, hx, given = case(Spoken, engine=engine)
    expected = results(plain, x, hx, create_graph=True, **given)
    torch.testing.assert_close(results(other, x, hx, create_graph=True, **given), expected, rtol=1e-8, atol=1e-9)


def test_no_steps_and_no_rows() -> None:
    for steps, rows in ((0, 2), (3, 0)):
        layer = ostinato.LSTM(4, 5, recompute="chunks", engine="native")
        output, _ = layer(torch.zeros(steps, rows, 4))
        output.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


def saved(layer: nn.Module, x: torch.Tensor) -> int:
    """Bytes autograd keeps for the backward, each storage once, without parameters, input and results."""
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output, state = layer(x)
    outside = {t.untyped_storage().data_ptr() for t in (*layer.parameters(), x, output, *flat(state))}
    sizes = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    return sum(size for place, size in sizes.items() if place not in outside)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_bytes_kept(name: str) -> None:
    x = torch.randn(1000, 3, 16)
    theirs = saved(getattr(nn, name)(16, 16), x)
    ours, chunked = (
        saved(getattr(ostinato, name)(16, 16, engine="native", recompute=how), x) for how in ("none", "chunks")
    )
    assert ours <= theirs
    # An RNN's backward reads its output, and there is nothing to run again: states beside it are all that is kept.
    assert 5 * chunked <= ours or chunked == ours < 10 * x[0].numel() * 4


def test_bytes_kept_in_both_directions_of_an_own_cell() -> None:
    x = torch.randn(1000, 3, 16)
    ours, chunked = (
        saved(ostinato.Recurrent(PeepholeLSTMCell, 16, 16, bidirectional=True, engine="native", recompute=how), x)
        for how in ("none", "chunks")
    )
    assert 5 * chunked <= ours


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_the_backward_holds_one_chunk_at_a_time(monkeypatch, lengths) -> None:
    """What it takes for the loops beside what the forward kept: room for the longest chunk, however many there are."""
    layer, x = ostinato.LSTM(96, 70, engine="native", recompute="chunks"), torch.randn(STEPS, ROWS, 96)
    output = layer(x, lengths=lengths)[0]
    cut = chunks.cut(geometry(lengths), False, keep=True)
    taken: list[tuple[int, ...]] = []
    empty = memory.empty
    monkeypatch.setattr(memory, "empty", lambda like, *shape: taken.append(shape) or empty(like, *shape))
    output.sum().backward()
    longest, again = (max(chunk.geometry.count for chunk in part) for part in (cut, cut[:-1]))
    wide = sorted(shape for shape in taken if len(shape) == 2 and all(shape))
    assert wide == sorted([(again, 6 * 70), (longest, 4 * 70)])  # what is run again keeps, and gradients of the gates
    assert len(cut) == 4


def test_a_program_with_work_around_its_loop_holds_one_chunk_at_a_time(monkeypatch) -> None:
    """No call of the passes sees more steps than a chunk has: forward, forward again, backward."""
    _, other, x, hx, given = case(Spoken)
    results(other, x, hx, **given)  # the trial of a new program is none of this
    seen: list[int] = []

    def spied(run):
        return lambda plan, geometry, *rest: seen.append(geometry.steps) or run(plan, geometry, *rest)

    for name in ("forward", "backward"):
        monkeypatch.setattr(passes, name, spied(getattr(passes, name)))
    results(other, x, hx, **given)
    parts = [chunk.geometry.steps for chunk in chunks.cut(geometry(None), False, keep=False)]
    assert seen == parts + [steps for steps in parts[::-1] for _ in range(2)]
    assert len(parts) == 4


def geometry(lengths: list[int] | None) -> Geometry:
    if lengths is None:
        return Geometry(STEPS, ROWS, None, STEPS * ROWS)
    sizes = torch.tensor([sum(n > t for n in lengths) for t in range(STEPS)])
    return Geometry(STEPS, ROWS, sizes, sum(lengths))


def test_a_chunk_is_worth_its_call(monkeypatch) -> None:
    monkeypatch.undo()
    assert chunks.length(1000, 34) == chunks.length(1000, 500) == 62
    assert chunks.length(1000, 4) == 512
    assert chunks.length(1_000_000, 4) == 2000


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_chunks_are_all_steps_once(keep: bool, lengths) -> None:
    whole = geometry(lengths)
    for reverse in (False, True):
        cut = chunks.cut(whole, reverse, keep)
        ordered = cut[::-1] if reverse else cut
        assert [t for chunk in ordered for t in range(STEPS)[chunk.steps]] == list(range(STEPS))
        assert [n for chunk in ordered for n in range(whole.count)[chunk.rows]] == list(range(whole.count))
        assert cut[-1].geometry.steps == (9 if keep else 18)
    for steps in range(40):
        sizes = [c.geometry.steps for c in chunks.cut(Geometry(steps, ROWS, None, steps * ROWS), False, keep)]
        assert sum(sizes) == steps
        assert all(sizes)


def test_auto_takes_an_engine_that_can() -> None:
    layer, x = ostinato.LSTM(4, 5, recompute="chunks"), torch.randn(8, 2, 4)
    assert layer.choose(x).engine == "native"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.choose(x).engine == "loop"
    with ostinato.engine("aten"):
        with torch.no_grad():
            layer(x)
        with pytest.raises(errors.EngineError, match="keep every step"):
            layer(x)


def test_transforms_run_through_the_loop() -> None:
    layer, x = ostinato.GRU(4, 5, recompute="chunks"), torch.randn(20, 2, 4)
    grad = torch.func.grad(lambda value: layer(value)[0].square().sum())(x)
    leaf = x.clone().requires_grad_()
    layer(leaf)[0].square().sum().backward()
    torch.testing.assert_close(grad, leaf.grad)


def test_the_option_is_an_argument_like_any_other() -> None:
    assert "recompute='chunks'" in repr(ostinato.GRU(4, 5, recompute="chunks"))
    assert "recompute" not in repr(ostinato.GRU(4, 5))
    layers = (ostinato.RNN, ostinato.GRU, ostinato.LSTM, ostinato.ChoGRU, ostinato.Elman)
    assert all(layer(4, 5, recompute="chunks").recompute == "chunks" for layer in layers)
    with pytest.raises(errors.InvalidValue, match="did you mean 'chunks'"):
        ostinato.LSTM(4, 5, recompute="chunk")
    with pytest.raises(errors.InvalidValue):
        ostinato.LSTM(4, 5, recompute=True)
