from __future__ import annotations

import pytest
import torch

import ostinato

PNG = b"\x89PNG"


def test_it_draws_where_it_is_told(example, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    example("vanishing").main(["--quick", "--out", "pictures"])
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["vanishing-gradient.png", "vanishing-task.png"]
    assert all((tmp_path / "pictures" / name).read_bytes().startswith(PNG) for name in pictures)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    assert "right" in capsys.readouterr().out


def test_what_reaches_back_is_the_gradient_of_the_state(example):
    vanishing = example("vanishing")
    layer, x = ostinato.RNN(3, 4), torch.randn(6, 2, 3)
    torch.manual_seed(1)
    measured = vanishing.reach(layer, "h", x)
    torch.manual_seed(1)
    direction = torch.randn(2, 4)
    norms = []
    for k in range(6):
        _, h = layer(x[: 6 - k])
        h = h.detach().requires_grad_()
        last = layer(x[6 - k :], h)[1][0] if k else h[0]
        (gradient,) = torch.autograd.grad((last * direction).sum(), h)
        norms.append(gradient[0].norm(dim=-1).mean())
    torch.testing.assert_close(measured, torch.stack(norms) / norms[0], atol=1e-6, rtol=1e-4)


def test_gates_near_one_let_it_through_and_a_plain_rnn_does_not(example):
    vanishing = example("vanishing")
    rows = {kind.name: norms for kind, norms in vanishing.measure_reach(steps=60, hidden_size=32)["Vanishing"]}
    assert rows["RNN"][50] < 1e-9
    assert rows["LSTM"][50] < 1e-6
    assert rows["LSTM, f begins near 1"][50] > 0.1
    assert rows["GRU, z begins near 1"][50] > 0.1


def test_an_lstm_explodes_too(example):
    vanishing = example("vanishing")
    rows = vanishing.measure_reach(steps=100, hidden_size=64)["Exploding: recurrent weights scaled up"]
    last = {kind.name: norms[-1].item() for kind, norms in rows}
    assert last["LSTM × 8"] > 100
    assert last["RNN × 4"] > 100


def test_equal_parameters_means_within_a_twentieth(example):
    vanishing = example("vanishing")
    for kind in vanishing.TASK:
        model = vanishing.Rememberer(kind, vanishing.width_for(kind, 4000))
        assert sum(p.numel() for p in model.parameters()) == pytest.approx(4000, rel=0.05)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_short_gap_is_bridged_by_all(example, kind):
    vanishing = example("vanishing")
    assert vanishing.learn(getattr(vanishing, kind), 24, gap=3, steps=120, seed=0) > 0.9
