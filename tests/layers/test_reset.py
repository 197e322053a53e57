"""A row with resets is its segments, each run alone: outputs, states and every gradient, in every form and engine."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import ostinato
from ostinato import errors
from tests.support.added import Added, flags_in_form
from tests.support.layer_matrix import FORMS, Case, as_tuple, call, gradients, lengths_of, randomised
from tests.support.own_cells import OWN_CELLS, TimeGapCell

CELLS = (*OWN_CELLS, ostinato.LSTMCell, ostinato.GRUCell, ostinato.ChoGRUCell, ostinato.RNNCell)


def close(got, want, atol=1e-10):
    for one, two in zip(got, want, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=atol)


def by_segments(layer, x, lengths, flags, hx=None):
    """Each segment of each row through the layer alone, without a reset."""
    directions = 2 if layer.bidirectional else 1
    outputs, finals = [], []
    for b, length in enumerate(lengths):
        borders = [0, *(t for t in range(1, length) if flags[t, b]), length]
        parts = list(pairwise(borders)) if length else []
        row, states = [x.new_zeros(0, layer.output_size)], []
        for n, (start, stop) in enumerate(parts):
            begin = None
            if hx is not None:
                # The first direction begins with hx unless the row restarts at once, the second at the row's end.
                fresh = [torch.zeros_like(s[:, b]) for s in hx]
                forward = n == 0 and not flags[0, b]
                at_end = n == len(parts) - 1
                mixed = [
                    torch.stack([s[p, b] if (at_end if p % directions else forward) else f[p] for p in range(len(f))])
                    for s, f in zip(hx, fresh, strict=True)
                ]
                begin = tuple(mixed) if len(mixed) > 1 else mixed[0]
            y, state = layer(x[start:stop, b], begin)
            row.append(y)
            states.append(as_tuple(state))
        outputs.append(torch.cat([*row, x.new_zeros(len(x) - length, layer.output_size)]))
        if not parts:
            finals.append(tuple(s[:, b] for s in hx) if hx is not None else tuple(begins_of(layer)))
            continue
        finals.append(
            tuple(
                torch.stack([(states[0] if p % directions else states[-1])[n][p] for p in range(len(s))])
                for n, s in enumerate(states[0])
            )
        )
    return torch.stack(outputs, 1), tuple(torch.stack(part, 1) for part in zip(*finals, strict=True))


def begins_of(layer):
    """The states of a call of no step."""
    empty = (1, 0) if layer.batch_first else (0, 1)
    _, state = layer(torch.zeros(*empty, layer.input_size, dtype=torch.float64))
    return [s[:, 0] for s in as_tuple(state)]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(CELLS),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    form=st.sampled_from(FORMS),
    steps=st.integers(1, 6),
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    with_hx=st.booleans(),
    engine=st.sampled_from(["loop", "auto", "native"]),
    bits=st.integers(0, 2**18 - 1),
)
def test_a_row_is_its_segments(cell, layers, bidirectional, batch_first, form, steps, lengths, with_hx, engine, bits):
    case = Case(layers, bidirectional, batch_first, form, steps, tuple(lengths), with_hx, engine)
    options = {"bidirectional": bidirectional, "batch_first": batch_first, "engine": engine}
    layer = randomised(ostinato.Recurrent(cell, 4, 5, layers, dtype=torch.float64, **options), 1)
    steps, lengths = lengths_of(case)
    rows = len(lengths)
    flags = torch.tensor([[bool(bits >> (t * rows + b) % 18 & 1) for b in range(rows)] for t in range(steps)])
    x = torch.randn(steps, rows, 4, dtype=torch.float64, requires_grad=True)
    count = layers * (2 if bidirectional else 1)
    initial = [torch.randn(count, rows, s, dtype=torch.float64, requires_grad=True) for s in layer.state_shape.sizes[0]]
    hx = initial if with_hx else None

    def with_reset(input, hx, **given):
        return layer(input, hx, reset=flags_in_form(case, flags, lengths), **given)

    got = call(with_reset, case, x, hx, steps, lengths)
    want = by_segments(layer, x, lengths, flags, hx)
    close((got[0], *got[1]), (want[0], *want[1]))
    wanted = [*layer.parameters(), x, *(initial if with_hx else [])]
    close(gradients((got[0], *got[1]), wanted), gradients((want[0], *want[1]), wanted), 1e-9)


class Mean(nn.Module):
    """An initial state out of the whole input."""

    def __init__(self, count: int):
        super().__init__()
        self.map = nn.Linear(4, 5, dtype=torch.float64)
        self.count = count

    def forward(self, x):
        h = self.map(x.sum(0)).expand(self.count, -1, -1)
        return h, 2 * h


@pytest.mark.parametrize("engine", ["loop", "native"])
@pytest.mark.parametrize("initial", ["learned", "computed"])
@pytest.mark.parametrize("with_hx", [False, True])
def test_it_restarts_where_a_call_without_hx_begins(engine, initial, with_hx) -> None:
    module = Mean(4) if initial == "computed" else "learned"
    options = {"bidirectional": True, "dtype": torch.float64, "engine": engine, "initial_state": module}
    layer = randomised(ostinato.LSTM(4, 5, 2, **options), 2)
    x = torch.randn(6, 3, 4, dtype=torch.float64, requires_grad=True)
    flags = torch.rand(6, 3) < 0.5
    lengths = [4, 6, 0]
    hx = [torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)] if with_hx else None
    output, state = layer(x, tuple(hx) if with_hx else None, lengths=lengths, reset=flags)
    if initial == "computed":
        valid = torch.arange(6).unsqueeze(1) < torch.tensor(lengths)
        whole = module(x * valid.unsqueeze(-1))
    else:
        names = [f"l{k}{end}" for k in (0, 1) for end in ("", "_reverse")]
        whole = [torch.stack([getattr(layer, f"initial_{s}_{n}").expand(3, -1) for n in names]) for s in "hc"]
    begins = {(k, d): [s[2 * k + d] for s in whole] for k in (0, 1) for d in (0, 1)}
    want = Added(reset=flags, begins=begins).run(layer, x, lengths, hx if with_hx else whole)
    close((output, *state), (want[0], *want[1]))
    wanted = [*layer.parameters(), x, *(hx or [])]
    close(gradients((output, *state), wanted), gradients((want[0], *want[1]), wanted), 1e-9)


@pytest.mark.parametrize("engine", ["loop", "native"])
def test_what_is_abandoned_does_not_leak(engine) -> None:
    layer = randomised(ostinato.GRU(4, 5, dtype=torch.float64, engine=engine), 1)
    x = torch.randn(6, 2, 4, dtype=torch.float64)
    x[2, 0] = float("nan")
    flags = torch.zeros(6, 2, dtype=torch.bool)
    flags[3] = True
    output, h_n = layer(x, reset=flags)
    assert output[2, 0].isnan().all()
    assert output[3:].isfinite().all()
    close([output[3:], h_n], layer(x[3:]))
    h = torch.full((1, 2, 5), float("nan"), dtype=torch.float64)
    flags[0] = True
    assert layer(x, h, reset=flags)[0][:2].isfinite().all()


def test_flags_of_other_kinds() -> None:
    layer, x = ostinato.GRU(4, 5), torch.randn(6, 3, 4)
    flags = torch.rand(6, 3) < 0.4
    want, _ = layer(x, reset=flags)
    for same in (flags.unsqueeze(-1), flags.long(), flags.float(), flags.byte().unsqueeze(-1)):
        close([layer(x, reset=same)[0]], [want], 0)
    lengths = [2, 6, 4]
    want, _ = layer(x, lengths=lengths, reset=flags)
    packed, of_flags = (pack_padded_sequence(v, lengths, enforce_sorted=False) for v in (x, flags.unsqueeze(-1)))
    close([pad_packed_sequence(layer(packed, reset=of_flags)[0])[0]], [want], 0)
    # Past a row's end flags say nothing, in either direction.
    both = ostinato.GRU(4, 5, bidirectional=True)
    more = flags.clone()
    more[2:, 0] = True
    close([both(x, lengths=lengths, reset=more)[0]], [both(x, lengths=lengths, reset=flags)[0]], 0)


def test_a_call_without_flags_is_the_call_it_was() -> None:
    layer, x = ostinato.LSTM(4, 5), torch.randn(3, 2, 4)
    assert ostinato.explain(layer).why.startswith("the cell's step is compiled; short")
    none = torch.zeros(3, 2, dtype=torch.bool)
    close([layer(x)[0]], [layer(x, reset=none)[0]], 1e-6)
    with ostinato.engine("aten"), pytest.raises(errors.EngineError, match="LSTMCell with resets is not one of torch's"):
        layer(x, reset=none)


class Forgets(TimeGapCell):
    """A cell whose step takes reset itself."""

    def step(self, x, h, *, reset):
        return torch.tanh(torch.where(reset > 0.5, -1.0, h) + x.sum(-1, keepdim=True))


def test_a_cells_own_reset_wins() -> None:
    layer = ostinato.Recurrent(Forgets, 4, 5)
    x, reset = torch.randn(3, 2, 4), torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.3, 0.7]]).unsqueeze(-1)
    h, outputs = torch.zeros(2, 5), []
    for t in range(3):
        h = torch.tanh(torch.where(reset[t] > 0.5, torch.tensor(-1.0), h) + x[t].sum(-1, keepdim=True))
        outputs.append(h)
    torch.testing.assert_close(layer(x, reset=reset)[0], torch.stack(outputs))
    live = ostinato.stream(layer.eval(), 2)
    torch.testing.assert_close(live.step(x[0], reset=reset[0]), outputs[0])


@pytest.mark.parametrize("engine", ["auto", "loop"])
@pytest.mark.parametrize("initial", ["zeros", "learned"])
def test_a_stream(engine, initial) -> None:
    layer = randomised(ostinato.LSTM(4, 5, 2, engine=engine, initial_state=initial), 3).eval()
    x, flags = torch.randn(6, 3, 4), torch.rand(6, 3) < 0.4
    want, state = layer(x, reset=flags)
    live = ostinato.stream(layer, 3)
    got = torch.stack([live.step(frame, reset=now) for frame, now in zip(x, flags, strict=True)])
    close([got, *live.state], [want.detach(), *(s.detach() for s in state)], 1e-6)
    for wrong in (flags[0, :2], flags[:, 0], flags[0].unsqueeze(0)):
        with pytest.raises(errors.InvalidShape, match=r"reset must be \(3,\), \(batch_size\), a flag a row"):
            live.step(x[0], reset=wrong)
    with pytest.raises(errors.InvalidValue, match="reset must be flags"):
        live.step(x[0], reset=torch.tensor([0.0, 0.5, 1.0]))
    single = ostinato.stream(layer)
    close([single.step(x[0, 0], reset=torch.tensor(True))], [layer(x[:1, :1])[0][0, 0].detach()], 1e-6)


@pytest.mark.parametrize("lengths", [None, [6, 0, 4]])
def test_in_a_graph(lengths) -> None:
    torch.compiler.reset()
    layer = randomised(ostinato.GRU(4, 5, 2, bidirectional=True, dtype=torch.float64, initial_state="learned"), 2)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(6, 3, 4, dtype=torch.float64, requires_grad=True)
    lengths = None if lengths is None else torch.tensor(lengths)
    for seed in (0, 1):
        flags = torch.rand(6, 3, generator=torch.Generator().manual_seed(seed)) < 0.4
        got, want = (f(x, reset=flags, lengths=lengths) for f in (compiled, layer))
        close(got, want)
        wanted = [*layer.parameters(), x]
        close(gradients(got, wanted), gradients(want, wanted), 1e-9)
    torch.compiler.reset()


def test_recompute_in_chunks() -> None:
    layer = randomised(ostinato.LSTM(4, 5, bidirectional=True, dtype=torch.float64, recompute="chunks"), 2)
    x = torch.randn(40, 70, 4, dtype=torch.float64, requires_grad=True)
    flags = torch.rand(40, 70) < 0.1
    results = []
    for recompute, engine in (("chunks", "native"), ("chunks", "loop"), ("none", "loop")):
        layer.recompute = recompute
        with ostinato.engine(engine):
            output, state = layer(x, reset=flags)
        results.append([output, *state, *gradients((output, *state), [x, *layer.parameters()])])
    close(results[0], results[2], 1e-9)
    close(results[1], results[2], 1e-9)


def test_bad_input() -> None:
    layer, x = ostinato.LSTM(4, 5), torch.randn(6, 3, 4)
    flags = torch.zeros(6, 3, dtype=torch.bool)
    with pytest.raises(
        errors.InvalidShape, match=r"reset must be \(6, 3\), \(T, B\), a flag a step, got \(3, 6\); transp"
    ):
        layer(x, reset=flags.t())
    with pytest.raises(errors.InvalidShape, match=r"got \(6, 3, 2\)"):
        layer(x, reset=torch.zeros(6, 3, 2, dtype=torch.bool))
    with pytest.raises(errors.InvalidShape, match=r"reset must be \(6,\), \(T\)"):
        layer(x[:, 0], reset=flags)
    with pytest.raises(errors.InvalidShape, match=r"reset must be \(6, 3\), \(B, T\)"):
        ostinato.LSTM(4, 5, batch_first=True)(torch.randn(6, 3, 4), reset=flags.t())
    with pytest.raises(errors.InvalidValue, match=r"reset must be flags.*float32"):
        layer(x, reset=torch.rand(6, 3))
    with pytest.raises(errors.InvalidValue, match=r"reset must be flags.*int64"):
        layer(x, reset=torch.full((6, 3), 2))
    with pytest.raises(errors.InvalidType, match="reset must be a tensor, got list"):
        layer(x, reset=[0, 1])
    packed = pack_padded_sequence(x, [6, 4, 2])
    with pytest.raises(errors.InvalidShape, match="reset must be packed with the input's own lengths"):
        layer(packed, reset=pack_padded_sequence(flags, [6, 5, 1]))
    with pytest.raises(errors.InvalidType, match="reset is a PackedSequence, and the input is not"):
        layer(x, reset=pack_padded_sequence(flags, [6, 4, 2]))
