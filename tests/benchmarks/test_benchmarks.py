"""What a benchmark's verdict rests on: rivals that compute the same as ours, and counts that fit the cells."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

import ostinato


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_onnx_runtime_computes_what_torch_does(load, kind: str) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    rivals = load("rivals")
    module = getattr(nn, kind)(5, 7)
    x = torch.randn(4, 3, 5)
    session = rivals.onnx_session(module, 1)
    y = torch.from_numpy(session.run(None, {"X": x.numpy()})[0])[:, 0]
    torch.testing.assert_close(y, module(x)[0].detach(), rtol=1e-4, atol=1e-5)

    step = load("stream_table").onnx_step(module, 1)
    steps = [torch.from_numpy(step(frame.numpy()[None, :1]))[0] for frame in x]
    torch.testing.assert_close(torch.stack(steps), module(x[:, :1])[0].detach(), rtol=1e-4, atol=1e-5)


def test_gates_are_counted_as_the_weights_have_them(load) -> None:
    cells = load("bench_cells")
    for name, gates in cells.GATES.items():
        layer = cells.layer(name, 5, 7, "loop")
        assert layer.weight_hh_l0.shape == (gates * 7, 7)
        assert layer.weight_ih_l0.shape == (gates * 7, 5)


def test_a_contest_finds_the_faster_and_leaves_out_a_slow_rival(load) -> None:
    timing = load("timing")
    calls = {name: lambda s=s: time.sleep(s) for name, s in (("ours", 0.01), ("near", 0.02), ("far", 0.1))}
    result = timing.contest(calls, 0.0, rivals=("near", "far"))
    assert set(result.rounds) == {"ours", "near"}
    assert result.fastest(("near", "far")) == "near"
    assert result.ratio("near", "ours") > 1.2
    assert result.seconds("far") >= 0.1


def test_a_figure_that_is_missing_meets_no_bar(load) -> None:
    verdict = load("report").Verdict
    assert not verdict("nothing", float("nan"), 1).met
    assert not verdict("nothing", float("nan"), 1, at_most=True).met
    assert verdict("enough", 1.0, 1).met
    assert not verdict("too much", 1.1, 1, at_most=True).met


def test_the_bytes_of_a_linear_recurrences_pass(load) -> None:
    """minGRU reads two streams of H and writes h; its backward reads these and a gradient, and writes two of H."""
    passes = load("linear_recurrence")
    made = passes.passes(ostinato.Recurrent("min-gru", 4, 6, engine="native"), torch.randn(3, 2, 4))
    one = 3 * 2 * 6 * 4
    assert made["forward"].moved == passes.Moved(2 * one, one)
    assert made["training"].moved == passes.Moved(2 * one + 4 * one, one + 2 * one)
    for what in made.values():
        what.run()
        passes.plain(what.moved)()
