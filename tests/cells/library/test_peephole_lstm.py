"""The peephole LSTM: the paper's equations, and torchrecurrent's on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ostinato
from ostinato.cells import PeepholeLSTMCell
from tests.support.equations import assert_follows, assert_same_over_time, scattered, sigmoid


def step_with(squash_input, squash_output):
    def step(w, x, h, c):
        net = x @ w["weight_ih"].T + h @ w["weight_hh"].T + w.get("bias_ih", 0)
        i, f, g, o = np.split(net, 4, axis=-1)
        new = sigmoid(f + w["peephole_f"] * c) * c + sigmoid(i + w["peephole_i"] * c) * squash_input(g)
        return sigmoid(o + w["peephole_o"] * new) * squash_output(new), new

    return step


def test_the_papers_equations() -> None:
    assert_follows(PeepholeLSTMCell(4, 5), step_with(np.tanh, np.tanh))
    assert_follows(PeepholeLSTMCell(4, 5, bias=False), step_with(np.tanh, np.tanh))


def test_other_activations() -> None:
    cell = PeepholeLSTMCell(4, 5, activation=torch.sin, output_activation="identity")
    assert_follows(cell, step_with(np.sin, lambda c: c))


def test_without_peepholes_it_is_the_lstm() -> None:
    ours, lstm = PeepholeLSTMCell(4, 5, dtype=torch.float64), ostinato.LSTMCell(4, 5, dtype=torch.float64)
    shared = {name: value for name, value in ours.state_dict().items() if not name.startswith("peephole")}
    lstm.load_state_dict(shared | {"bias_hh": torch.zeros(20)})
    with torch.no_grad():
        for p in (ours.peephole_i, ours.peephole_f, ours.peephole_o):
            p.zero_()
    assert_same_over_time(ours, lstm)


def test_orthogonal_gates() -> None:
    cell = PeepholeLSTMCell(4, 5, recurrent_init="orthogonal", dtype=torch.float64)
    for gate in cell.weight_hh.chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(5, dtype=torch.float64))


def test_torchrecurrents() -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    ours = scattered(PeepholeLSTMCell(4, 5))
    theirs = torchrecurrent.PeepholeLSTMCell(4, 5, dtype=torch.float64)
    weights = ours.state_dict()
    theirs.load_state_dict(
        {name: weights[name] for name in ("weight_ih", "weight_hh", "bias_ih")}
        | {"weight_ph": torch.cat([weights[f"peephole_{gate}"] for gate in "ifo"]), "bias_hh": torch.zeros(20)}
    )
    assert_same_over_time(ours, theirs)
