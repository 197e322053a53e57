"""Bad input: the exception type of torch.nn where it has the check, the rule, the value that came, the way out."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import ostinato
from ostinato import errors
from tests.support.own_cells import OWN_CELLS, PeepholeLSTMCell, TimeGapCell

KINDS = ("LSTM", "GRU", "RNN")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((0, 5), {}),
        ((-3, 5), {}),
        ((4.0, 5), {}),
        ((4, 0), {}),
        ((4, 5.5), {}),
        ((4, 5, 0), {}),
        ((4, 5, 2), {"dropout": 1.5}),
        ((4, 5, 2), {"dropout": -0.1}),
        ((4, 5, 2), {"dropout": True}),
        ((4, 5), {"bias": 1}),
        ((4, 5), {"batch_first": "yes"}),
    ],
)
def test_constructors_raise_what_torch_raises(kind: str, arguments, options) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - which one it is is the question
        getattr(nn, kind)(*arguments, **options)
    with pytest.raises(type(theirs.value)) as ours:
        getattr(ostinato, kind)(*arguments, **options)
    assert isinstance(ours.value, errors.OstinatoError)
    assert "got" in str(ours.value)


@pytest.mark.parametrize("proj_size", [5, 9, -1])
def test_proj_size(proj_size: int) -> None:
    for module in (nn, ostinato):
        with pytest.raises(ValueError, match=r"proj_size"):
            module.LSTM(4, 5, proj_size=proj_size)


def test_dropout_with_one_layer_warns_at_the_callers_line() -> None:
    with pytest.warns(UserWarning, match=r"num_layers=1") as caught:
        ostinato.LSTM(4, 5, dropout=0.5)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, None])
def test_sizes_of_cells_and_layers(value) -> None:
    for make in (
        lambda v: ostinato.LSTMCell(v, 5),
        lambda v: ostinato.GRUCell(4, v),
        lambda v: PeepholeLSTMCell(v, 5),
        lambda v: ostinato.Recurrent(PeepholeLSTMCell, 4, v),
        lambda v: ostinato.Recurrent(PeepholeLSTMCell, 4, [5, v]),
        lambda v: ostinato.Recurrent(PeepholeLSTMCell, 4, 5, v),
    ):
        with pytest.raises((ValueError, TypeError), match=r"must be .*got"):
            make(value)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(errors.InvalidValue, match=r"no cell is called 'grru'.*did you mean 'gru'"):
        ostinato.Recurrent("grru", 4, 5)


def test_the_first_argument_is_a_cell() -> None:
    for wrong in (nn.LSTM, nn.LSTMCell, PeepholeLSTMCell(4, 5), 3):
        with pytest.raises(errors.CellError, match=r"subclass of ostinato\.Cell"):
            ostinato.Recurrent(wrong, 4, 5)
    with pytest.raises(errors.InvalidType, match=r"has no option 'bias'; it has: none"):
        ostinato.Recurrent(PeepholeLSTMCell, 4, 5, bias=False)
    with pytest.raises(errors.InvalidType, match=r"no option 'zonout'.*did you mean 'zoneout'"):
        ostinato.Recurrent(ostinato.LSTMCell, 4, 5, zonout=0.1)
    with pytest.raises(errors.InvalidType, match=r"no option 'droput'.*did you mean 'dropout'"):
        ostinato.Recurrent(ostinato.LSTMCell, 4, 5, droput=0.1)
    with pytest.raises(errors.InvalidValue, match=r"names 2 layers and num_layers is 3"):
        ostinato.LSTM(4, [5, 6], 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "x",
    [
        torch.randn(6, 3, 7),
        torch.randn(6),
        torch.randn(6, 3, 4, 1),
        torch.randn(6, 3, 4).double(),
        torch.ones(6, 3, 4).long(),
        torch.ones(6, 3, 4, device="meta"),
    ],
    ids=["width", "1-D", "4-D", "double", "integers", "device"],
)
def test_inputs_raise_what_torch_raises(kind: str, x: torch.Tensor) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        getattr(nn, kind)(4, 5)(x)
    for engine in ("loop", "aten"):
        with pytest.raises(type(theirs.value)) as ours:
            getattr(ostinato, kind)(4, 5, engine=engine)(x)
        assert isinstance(ours.value, errors.OstinatoError)


@pytest.mark.parametrize("cell", OWN_CELLS)
def test_inputs_of_own_cells(cell) -> None:
    layer = ostinato.Recurrent(cell, 4, 5)
    with pytest.raises(RuntimeError, match=r"input_size = 4, got 7"):
        layer(torch.randn(6, 3, 7))
    with pytest.raises(ValueError, match=r"2-D or 3-D, got 1-D"):
        layer(torch.randn(6))
    with pytest.raises(ValueError, match=r"float64.*\.to\(torch\.float32\)"):
        layer(torch.randn(6, 3, 4).double())
    with pytest.raises(TypeError, match=r"must be a tensor, got list"):
        layer([[1.0]])


def test_states() -> None:
    layer, x = ostinato.LSTM(4, 5, 2, bidirectional=True), torch.randn(6, 3, 4)
    good = torch.zeros(4, 3, 5)
    with pytest.raises(RuntimeError, match=r"h_0 must be \(4, 3, 5\), for 2 layers × 2 directions and batch 3, got"):
        layer(x, (torch.zeros(2, 3, 5), good))
    with pytest.raises(RuntimeError, match=r"c_0"):
        layer(x, (good, torch.zeros(4, 3, 6)))
    with pytest.raises(RuntimeError, match=r"unbatched like the input"):
        layer(x[:, 0], (good, good))
    with pytest.raises(ValueError, match=r"c_0 has dtype torch.float64"):
        layer(x, (good, good.double()))
    with pytest.raises(RuntimeError, match=r"h_0 is on meta"):
        layer(x, (good.to("meta"), good))
    with pytest.raises(TypeError, match=r"tuple \(h, c\), got Tensor"):
        layer(x, good)
    with pytest.raises(TypeError, match=r"got 3 values"):
        layer(x, (good, good, good))
    with pytest.raises(TypeError, match=r"one a layer"):
        ostinato.GRU(4, [5, 6])(x, good)
    with pytest.raises(TypeError, match=r"h_0 must be a tensor, got str"):
        ostinato.GRU(4, 5)(x, "zeros")


@pytest.mark.parametrize(
    ("lengths", "kind", "says"),
    [
        ([7, 1, 1], ValueError, "between 0 and T = 6.*got 7"),
        ([-1, 1, 1], ValueError, "got -1"),
        ([1, 1], RuntimeError, r"must be \(3,\).*got \(2,\)"),
        ([[1, 1, 1]], RuntimeError, "one for each sequence"),
        ([1.0, 1.0, 1.0], TypeError, "whole numbers"),
        ([True, True, True], TypeError, "whole numbers"),
        (["a", "b", "c"], TypeError, "whole numbers"),
        (2, RuntimeError, r"got \(\)"),
        ({"a": 1}, TypeError, "whole numbers"),
        (torch.tensor([1.5, 2, 3]), TypeError, r"lengths\.long\(\)"),
    ],
)
@pytest.mark.parametrize("engine", ["loop", "aten"])
def test_lengths(lengths, kind, says, engine) -> None:
    with pytest.raises(kind, match=says):
        ostinato.GRU(4, 5, engine=engine)(torch.randn(6, 3, 4), lengths=lengths)


def test_lengths_that_a_packed_sequence_already_has() -> None:
    packed = pack_padded_sequence(torch.randn(6, 3, 4), [6, 2, 1])
    with pytest.raises(ValueError, match=r"knows its lengths"):
        ostinato.GRU(4, 5)(packed, lengths=[6, 2, 1])


def test_streams() -> None:
    layer, x = ostinato.Recurrent(TimeGapCell, 4, 5), torch.randn(6, 3, 4)
    gap = torch.rand(6, 3, 1)
    with pytest.raises(TypeError, match=r"needs the keyword 'gap'"):
        layer(x)
    with pytest.raises(TypeError, match=r"no keyword-only parameter 'gab'.*did you mean 'gap'"):
        layer(x, gab=gap)
    with pytest.raises(RuntimeError, match=r"gap must be \(6, 3, 1\)"):
        layer(x, gap=gap[:5])
    with pytest.raises(RuntimeError, match=r"speaker must be \(3, 5\)"):
        layer(x, gap=gap, speaker=torch.zeros(2, 5))
    with pytest.raises(RuntimeError, match=r"\(T, B, ·\) or \(B, ·\)"):
        layer(x, gap=torch.rand(6))
    with pytest.raises(TypeError, match=r"must be a tensor, got float"):
        layer(x, gap=0.5)
    with pytest.raises(TypeError, match=r"no keyword-only parameter 'gap' .it has: none."):
        ostinato.GRU(4, 5)(x, gap=gap)
    with pytest.raises(TypeError, match=r"needs the keyword 'gap'"):
        TimeGapCell(4, 5)(x[0])


def test_engines() -> None:
    x = torch.randn(6, 3, 4)
    with pytest.raises(
        ValueError, match=r"must be one of 'auto', 'loop', 'aten', 'native', got 'atan'; did you mean 'aten'"
    ):
        ostinato.GRU(4, 5, engine="atan")
    with pytest.raises(ValueError, match=r"engine must be one of"), ostinato.engine("cudnn"):
        pass
    layer = ostinato.Recurrent(PeepholeLSTMCell, 4, 5, engine="aten")
    with pytest.raises(errors.EngineError, match=r"PeepholeLSTMCell is not one of torch's own.*engine='auto'"):
        layer(x)
    with ostinato.engine("loop"):
        layer(x)
    with ostinato.engine("aten"), pytest.raises(RuntimeError, match=r"torch.func's transforms"):
        torch.func.vmap(ostinato.GRU(4, 5), in_dims=1, out_dims=(1, 1))(x)


def own(step, names=("h",), **more):
    """A cell with a parameter and the step given."""

    def __init__(self, input_size, hidden_size):  # noqa: N807
        ostinato.Cell.__init__(self, input_size, hidden_size)
        self.weight = nn.Parameter(torch.randn(hidden_size, input_size))
        self.kept = []
        self.count = 0

    return type("Own", (ostinato.Cell,), {"__init__": __init__, "step": step, "state_names": names, **more})


def counts(self, x, h):
    self.count += 1
    return torch.tanh(x @ self.weight.T + h)


def collects(self, x, h):
    self.kept.append(h)
    return torch.tanh(x @ self.weight.T + h)


def draws(self, x, h):
    return torch.dropout(torch.tanh(x @ self.weight.T + h), 0.5, True)


def writes(self, x, h):
    return h.add_(x @ self.weight.T)


STEPS = [
    (own(lambda self, x, h: (h, h)), r"must return 1 tensor \(h\), got 2"),
    (own(lambda self, x, h: None), r"must return 1 tensor \(h\), got 1: NoneType"),
    (own(lambda self, x, h, c: h, ("h", "c")), r"must return 2 tensors \(h, c\), got 1"),
    (own(lambda self, x, h: h, separate_output=True, output_size=5), r"2 tensors \(output, h\), got 1"),
    (own(lambda self, x, h: h[:, :3]), r"return h as \(batch, 5\) = \(3, 5\), got \(3, 3\)"),
    (own(lambda self, x, h: h.double()), r"given h as torch\.float32 and returned it as torch\.float64"),
    (own(lambda self, x, h: h.sum(0)), r"got \(5,\)"),
    (own(counts), r"assigns self\.count"),
    (own(collects), r"changes self\.kept"),
    (own(draws), r"two results for the same input"),
    (own(writes), r"changes h in place"),
]


@pytest.mark.parametrize(("cell", "says"), STEPS)
def test_steps_that_break_the_contract(cell, says) -> None:
    with pytest.raises(errors.CellError, match=says):
        ostinato.Recurrent(cell, 4, 5)(
            torch.randn(6, 3, 4), torch.randn(1, 3, 5) if cell.state_names == ("h",) else None
        )


def test_a_step_that_does_not_fit_its_states_fails_when_the_class_is_written() -> None:
    with pytest.raises(errors.CellError, match=r"must take \(self, x, h, c\).*got \(self, x, h\)"):
        own(lambda self, x, h: h, ("h", "c"))
    with pytest.raises(errors.CellError, match=r"state_names must be a tuple of names"):
        own(lambda self, x, h: h, "h")
    with pytest.raises(errors.CellError, match=r"a cell without a step"):
        ostinato.Recurrent(ostinato.Cell, 4, 5)


@pytest.mark.parametrize("engine", ["loop", "aten"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_nan_stays_in_its_row(kind: str, engine: str, bidirectional: bool) -> None:
    layer = getattr(ostinato, kind)(4, 5, 2, bidirectional=bidirectional, engine=engine)
    x = torch.randn(6, 3, 4)
    x[2, 1] = float("nan")
    output, _ = layer(x)
    assert not output[:, [0, 2]].isnan().any()
    assert output[2:, 1].isnan().any()


@pytest.mark.parametrize("cell", [*OWN_CELLS, ostinato.LSTMCell, ostinato.GRUCell, ostinato.RNNCell])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_padding_touches_nothing(cell, bad: float) -> None:
    layer = ostinato.Recurrent(cell, 4, 5, 2, bidirectional=True)
    lengths = [4, 0, 6]
    clean, dirty = torch.randn(6, 3, 4), None
    dirty = clean.clone()
    for b, n in enumerate(lengths):
        clean[n:, b], dirty[n:, b] = 0, bad
    found = []
    for x in (clean, dirty):
        x.requires_grad_()
        layer.zero_grad()
        output, state = layer(x, lengths=lengths)
        (output.sum() + sum(s.sum() for s in torch.utils._pytree.tree_leaves(state))).backward()
        found.append([output, x.grad, *(p.grad for p in layer.parameters())])
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)
        assert torch.isfinite(two).all()


def test_last() -> None:
    layer = ostinato.GRU(4, 5, 2, bidirectional=True)
    x, lengths = torch.randn(6, 3, 4), [4, 0, 6]
    output, h_n = layer(x, lengths=lengths)
    last = layer.last(output, lengths)
    expected = torch.cat([h_n[2], h_n[3]], dim=-1)
    assert torch.equal(last[[0, 2]], expected[[0, 2]])
    assert not last[1].any()
    packed, h_n = layer(pack_padded_sequence(x, [4, 1, 6], enforce_sorted=False))
    assert torch.equal(layer.last(packed), torch.cat([h_n[2], h_n[3]], dim=-1))
    full, h_n = layer(x)
    assert torch.equal(layer.last(full), torch.cat([h_n[2], h_n[3]], dim=-1))
    alone, _ = layer(x[:, 0])
    torch.testing.assert_close(layer.last(alone), layer.last(full)[0])
    assert not layer.last(layer(x[:0])[0]).any()
    with pytest.raises(RuntimeError, match=r"output width = 10, got 4"):
        layer.last(x)
    with pytest.raises(ValueError, match=r"knows its own lengths"):
        layer.last(packed, lengths)


def test_no_warning_is_left(recwarn) -> None:
    ostinato.LSTM(4, 5, 2, dropout=0.5)(torch.randn(6, 3, 4), lengths=[6, 0, 2])
    assert not [w for w in recwarn if "ostinato" in str(w.filename)]


def test_warnings_module_is_left_as_it_was() -> None:
    before = list(warnings.filters)
    ostinato.LSTM(4, 5)(torch.randn(6, 3, 4))
    assert warnings.filters == before


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
@pytest.mark.parametrize("size", [0, 3, -1])
def test_a_projection_where_there_is_none(kind, size) -> None:
    with pytest.raises(ValueError, match="proj_size"):
        getattr(nn, kind)(4, 5, proj_size=size)
    with pytest.raises(errors.InvalidValue, match=rf"{kind} has no projection, .* got {size}"):
        getattr(ostinato, kind)(4, 5, proj_size=size)


@pytest.mark.parametrize("engine", ["auto", "loop", "native"])
@pytest.mark.filterwarnings("error")
def test_a_keyword_of_a_width_that_the_step_cannot_read(engine) -> None:
    rnn, x = ostinato.Recurrent(TimeGapCell, 4, 5, engine=engine), torch.randn(7, 3, 4)
    gap, speaker = torch.rand(7, 3, 1), torch.randn(3, 5)
    for _ in range(2):  # the first call and a later one
        with pytest.raises(
            errors.InvalidShape, match=r"TimeGapCell: .* speaker must be 1 or 5 for .*, got 7 \(x has 4, h has 5\)"
        ):
            rnn(x, gap=gap, speaker=torch.randn(3, 7))
        rnn(x, gap=gap, speaker=speaker)
    with pytest.raises(errors.InvalidShape, match=r"widths they have, got gap 3, speaker 7"):
        rnn(x, gap=torch.rand(7, 3, 3), speaker=torch.randn(3, 7))


@pytest.mark.parametrize("engine", ["auto", "loop"])
def test_a_keyword_of_a_width_that_a_streams_step_cannot_read(engine) -> None:
    live = ostinato.stream(ostinato.Recurrent(TimeGapCell, 4, 5, engine=engine))
    x, gap = torch.randn(1, 4), torch.rand(1, 1)
    for _ in range(2):
        with pytest.raises(errors.InvalidShape, match=r"speaker must be 1 or 5 for .*, got 7"):
            live.step(x, gap=gap, speaker=torch.randn(1, 7))
        live.step(x, gap=gap, speaker=torch.randn(1, 5))


def test_what_a_step_raises_for_another_reason_stays() -> None:
    class Strict(TimeGapCell):
        def step(self, x, h, *, gap, speaker=None):
            if gap.abs().max() > 1:
                raise RuntimeError("gaps are below 1")
            return super().step(x, h, gap=gap, speaker=speaker)

    with pytest.raises(RuntimeError, match=r"gaps are below 1") as caught:
        ostinato.Recurrent(Strict, 4, 5)(torch.randn(7, 3, 4), gap=torch.full((7, 3, 1), 2.0))
    assert not isinstance(caught.value, errors.InvalidShape)
