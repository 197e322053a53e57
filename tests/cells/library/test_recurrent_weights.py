"""The standard cells with a recurrent weight of low rank, or in heads: the whole matrix that it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import ostinato
from ostinato.cells import ChoGRUCell, GRUCell, LSTMCell, RNNCell
from ostinato.engines import aten
from ostinato.errors import EngineError
from tests.support.equations import assert_same_over_time, scattered

H = 6
CELLS = (RNNCell, GRUCell, ChoGRUCell, LSTMCell)
LAYERS = (ostinato.RNN, ostinato.GRU, ostinato.ChoGRU, ostinato.LSTM)
OPTIONS = ({"recurrent_rank": 2}, {"heads": 3}, {"heads": 2}, {"heads": 6})

every_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)


def whole(cell: ostinato.Cell) -> dict[str, Tensor]:
    """The cell's weights with the recurrent one written out, element by element where it lies in heads."""
    weights = cell.state_dict()
    if cell.recurrent_rank is not None:
        weights["weight_hh"] = weights.pop("weight_hh_u") @ weights.pop("weight_hh_v")
        return weights
    blocks = weights["weight_hh"]
    heads, rows, columns = blocks.shape
    units = rows // cell.gates
    matrix = torch.zeros(cell.gates * cell.hidden_size, heads * columns, dtype=blocks.dtype)
    for head in range(heads):
        for row in range(rows):
            gate, unit = divmod(row, units)
            place = gate * cell.hidden_size + head * units + unit
            matrix[place, head * columns : (head + 1) * columns] = blocks[head, row]
    return weights | {"weight_hh": matrix}


@every_cell
@every_option
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_whole_matrix_that_it_stands_for(cell, options, bias: bool) -> None:
    ours, plain = scattered(cell(4, H, bias=bias, **options)), cell(4, H, bias=bias, dtype=torch.float64)
    plain.load_state_dict(whole(ours))
    assert_same_over_time(ours, plain)


@pytest.mark.parametrize("options", [{"recurrent_rank": 2}, {"heads": 2}], ids=str)
def test_with_a_projection(options) -> None:
    ours, plain = (LSTMCell(4, H, proj_size=4, dtype=torch.float64, **o) for o in (options, {}))
    plain.load_state_dict(whole(scattered(ours)))
    assert_same_over_time(ours, plain)


@every_cell
def test_parameters(cell) -> None:
    rows = cell.gates * H
    low, heads = cell(4, H, recurrent_rank=2), cell(4, H, heads=3)
    assert low.weight_hh is None
    assert "weight_hh" not in low.state_dict()
    assert (low.weight_hh_u.shape, low.weight_hh_v.shape) == ((rows, 2), (2, H))
    assert heads.weight_hh.shape == (3, rows // 3, 2)
    assert f"{cell.__name__}(4, 6, recurrent_rank=2)" == str(low)
    assert f"{cell.__name__}(4, 6, heads=3)" == str(heads)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
@pytest.mark.parametrize("options", [{"recurrent_rank": 2}, {"heads": 3}], ids=str)
def test_the_layer_in_both_engines(layer, options) -> None:
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    results = []
    for engine in ("loop", "native"):
        torch.manual_seed(3)
        rnn = layer(4, H, bidirectional=True, dtype=torch.float64, engine=engine, **options)
        output, _ = rnn(x, lengths=[5, 2, 3])
        results.append([output, *torch.autograd.grad(output.square().sum(), rnn.parameters())])
    for loop, native in zip(*results, strict=True):
        torch.testing.assert_close(native, loop, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
@every_option
def test_torchs_kernels_do_not_compute_it(layer, options) -> None:
    rnn = layer(4, H, **options)
    assert all(aten.operator(slot.template) is None for stack in rnn._slots for slot in stack)
    rnn.engine = "aten"
    with pytest.raises(EngineError, match=r"not one of torch's own cells, or has options that those have not"):
        rnn(torch.randn(5, 3, 4))


@pytest.mark.parametrize("module", [ostinato.RNN, ostinato.GRU, ostinato.LSTM, RNNCell, GRUCell, LSTMCell])
@pytest.mark.parametrize(("name", "value"), [("recurrent_rank", 2), ("heads", 3)])
def test_torch_has_no_such_module(module, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"torch\.nn has no {name}, and this layer has {name}={value}"):
        ostinato.to_torch(module(4, H, **{name: value}))
    ostinato.to_torch(module(4, H, heads=1, recurrent_rank=None))


@every_cell
def test_orthogonal_parts(cell) -> None:
    eye = torch.eye(H, dtype=torch.float64)
    low = cell(4, H, recurrent_init="orthogonal", recurrent_rank=2, dtype=torch.float64)
    torch.testing.assert_close(low.weight_hh_v @ low.weight_hh_v.T, eye[:2, :2])
    for gate in low.weight_hh_u.chunk(cell.gates):
        torch.testing.assert_close(gate.T @ gate, eye[:2, :2])
    heads = cell(4, H, recurrent_init="orthogonal", heads=2, dtype=torch.float64)
    for gate in heads.weight_hh.flatten(0, 1).split(3):
        torch.testing.assert_close(gate @ gate.T, eye[:3, :3])


@pytest.mark.parametrize("options", [{"recurrent_rank": 20}, {"heads": 5}], ids=str)
def test_a_sum_over_the_state_is_spread_as_with_a_whole_matrix(options) -> None:
    """The expected square of a row of W_hh times a random state: 1/3 for draws from U(-1/√H, 1/√H)."""
    cell = LSTMCell(4, 400, dtype=torch.float64, **options)
    squares = whole(cell)["weight_hh"].square().sum(-1)
    assert abs(squares.mean() - 1 / 3) < 0.03


def test_the_usual_cell_draws_what_it_drew() -> None:
    torch.manual_seed(0)
    ours = ostinato.LSTM(4, H, heads=1)
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(4, H)
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heads": 4}, r"heads must divide hidden_size = 6, got 4"),
        ({"heads": 0}, r"heads must be greater than zero, got 0"),
        ({"heads": 2.0}, r"heads must be a whole number \(int\), got 2\.0"),
        ({"recurrent_rank": 6}, r"recurrent_rank must be smaller than the state's width, here 6, got 6"),
        ({"recurrent_rank": True}, r"recurrent_rank must be a whole number \(int\), got True"),
        ({"recurrent_rank": 2, "heads": 2}, r"recurrent_rank and heads cannot be combined, got .*=2 and heads=2"),
    ],
)
@every_cell
def test_wrong_options(cell, options, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        cell(4, H, **options)


def test_heads_divide_a_projection_too() -> None:
    with pytest.raises(ValueError, match=r"heads must divide hidden_size = 6 and proj_size = 4, got 3"):
        LSTMCell(4, H, proj_size=4, heads=3)
