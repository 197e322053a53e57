from __future__ import annotations

import re


def test_the_worked_shapes_are_printed(example, capsys):
    example("shapes").main([])
    text = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in text.splitlines()]

    def has(*wanted: str) -> bool:
        return all(any(line.startswith(one) for line in lines) for one in wanted)

    assert has("x (6, 3, 10)", "outputs 6 × (3, 20)")
    assert has("cell, each step (1, 2)", "layer, output (3, 1, 2)", "output (1, 3, 2)", "h_n (1, 1, 2)")
    assert has("weight_ih_l0 (20, 4)", "weight_hh_l0 (20, 5)", "bias_ih_l0 (20,)", "bias_hh_l0 (20,)")
    assert has("weight_hh_l0 (20, 3)", "weight_hr_l0 (3, 5)", "output (2, 3, 3)", "h_n (1, 2, 3)", "c_n (1, 2, 5)")
    assert has("weight_ih_l1 (20, 10)", "weight_ih_l1_reverse (20, 10)", "h_n (4, 2, 5)")
    assert re.findall(r": (True|False)", text) == ["True"] * 3


def test_a_projection_saves_parameters_and_multiplications(example, capsys):
    example("shapes").main([])
    text = capsys.readouterr().out
    assert re.search(r"LSTM\(4, 5\) +220 +180", text)
    assert re.search(r"proj_size=3 +195 +11% +155 +14%", text)
