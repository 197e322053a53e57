from __future__ import annotations

import re


def test_a_cell_of_ones_own_is_a_whole_network(example, capsys):
    example("own_cell").main([])
    text = capsys.readouterr().out
    assert "output (7, 3, 10), h_n (4, 3, 5), c_n (4, 3, 5)" in text
    assert re.findall(r": (True|False)", text) == ["True"] * 4
    assert "PeepholeLSTMCell" in text
    assert "weight_ch" in text
    assert re.search(r"Track\(l1_reverse: .*\bi \(7, 3, 5\), f .*, g .*, o ", text)
