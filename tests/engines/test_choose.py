"""Which engine runs, by rule."""

from __future__ import annotations

import threading

import torch

import ostinato
from ostinato.engines import aten, loop, native
from tests.support.own_cells import PeepholeLSTMCell


class Seen:
    """Stands in for an engine's functions and notes that it ran."""

    def __init__(self, monkeypatch, module, *names):
        self.ran = 0
        for name in names:
            function = getattr(module, name)
            monkeypatch.setattr(module, name, lambda *a, _f=function, **k: self.note(_f, *a, **k))

    def note(self, function, *arguments, **keywords):
        self.ran += 1
        return function(*arguments, **keywords)


def test_rule(monkeypatch) -> None:
    fused, looped = Seen(monkeypatch, aten, "run_stack"), Seen(monkeypatch, loop, "run")
    x = torch.randn(6, 3, 4)
    for make in (ostinato.LSTM, ostinato.GRU, ostinato.RNN):
        make(4, 5, 2)(x)
    assert (fused.ran, looped.ran) == (3, 0)
    compiled = Seen(monkeypatch, native, "run")
    ostinato.ChoGRU(4, 5)(x)
    ostinato.Recurrent(PeepholeLSTMCell, 4, 5)(x)
    assert (fused.ran, compiled.ran) == (3, 2)
    trials = looped.ran
    with ostinato.engine("loop"):
        ostinato.LSTM(4, 5, engine="aten")(x)
        with ostinato.engine("auto"):
            ostinato.LSTM(4, 5)(x)
    assert (fused.ran, looped.ran - trials) == (4, 1)
    layer = ostinato.LSTM(4, 5, engine="loop")
    layer(x)
    layer.engine = "aten"
    layer(x)
    assert (fused.ran, looped.ran - trials, compiled.ran) == (5, 2, 2)


def test_a_changed_step_is_never_run_by_torchs_kernel() -> None:
    class Louder(ostinato.GRUCell):
        def step(self, x, h):
            return 2 * super().step(x, h)

    x = torch.randn(6, 3, 4)
    layer = ostinato.Recurrent(Louder, 4, 5)
    assert ostinato.explain(layer).engine == "native"
    plain = ostinato.GRU(4, 5)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x[:1])[0], 2 * plain(x[:1])[0])


def test_complex_numbers_fall_through() -> None:
    layer = ostinato.RNN(4, 5, dtype=torch.complex128)
    x = torch.randn(6, 3, 4, dtype=torch.complex128)
    assert torch.equal(layer(x)[0], ostinato.functional.rnn_forward(x, None, *layer.parameters())[0])


def test_blocks_are_per_thread() -> None:
    layer, found = ostinato.GRU(4, 5), []
    with ostinato.engine("loop"):
        thread = threading.Thread(target=lambda: found.append(ostinato.explain(layer).engine))
        thread.start()
        thread.join()
        assert ostinato.explain(layer).engine == "loop"
    assert found == ["native"]
