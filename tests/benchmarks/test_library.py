"""torchrecurrent's layers on our cells' weights, and the rows of the library's benchmark."""

from __future__ import annotations

import math

import pytest
import torch

import ostinato
from ostinato.cells import registry


def pairs(load) -> list[str]:
    return list(load("theirs").THEIRS)


def test_every_pair_computes_the_same_or_says_why_not(load) -> None:
    torchrecurrent = pytest.importorskip("torchrecurrent")
    theirs, differing = load("theirs"), []
    for name in pairs(load):
        cell = registry.find(name).cell(6, 6, **theirs.options_of(name))
        with torch.no_grad():
            for parameter in cell.parameters():  # ones and zeros to begin with would hide a wrong layout
                parameter.add_(0.1 * torch.randn_like(parameter))
        layer = ostinato.Recurrent(type(cell), 6, 6, engine="loop", **theirs.options_of(name))
        load("cell_tables").share(cell, layer)
        module, why = theirs.layer(cell)
        x = torch.randn(5, 3, 6)
        if why is None:
            torch.testing.assert_close(module(x)[0], layer(x)[0], rtol=1e-4, atol=1e-5, msg=name)
        else:
            differing.append(name)
    assert differing == ["lem", "nas", "scrn"]
    layers = {name for name in torchrecurrent.__all__ if not name.endswith("Cell")}
    assert layers == {entry.layer for entry in theirs.THEIRS.values()}


def test_what_torchrecurrent_has_not_is_said(load) -> None:
    pytest.importorskip("torchrecurrent")
    theirs, rivals = load("theirs"), load("rivals")
    with pytest.raises(rivals.Unavailable, match="no such cell"):
        theirs.layer(ostinato.GRUCell(4, 5))
    with pytest.raises(rivals.Unavailable, match="input_size == hidden_size"):
        theirs.layer(registry.find("intersection-rnn").cell(4, 6))


def test_a_row_is_measured_stored_and_not_measured_again(load, tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("torchrecurrent")
    library, stem = load("library"), tmp_path / "library"
    arguments = ["library.py", "--cells", "mgu", "gru", "--shapes", "4,2,3,5", "--budget", "0", "--threads", "1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(stem)])
    threads = torch.get_num_threads()
    try:
        library.main()
        first = stem.with_suffix(".json").read_text()
        capsys.readouterr()
        library.main()
    finally:
        torch.set_num_threads(threads)
    again = capsys.readouterr().out
    assert "4,2,3,5" not in again.partition("Verdicts")[0]
    report = load("report").resumed(stem, load("timing").Machine.look(), measures=False)
    rivals = {(line["table"], line["cell"]): line["rival"] for line in report.lines}
    for cell, rival in (("mgu", "torchrecurrent"), ("gru", "our loop")):
        assert (rivals[1, cell], rivals[2, cell]) == (rival, "the cell's call")
    assert '"differs": null' in first
    assert "| mgu | 4,2,3,5 | torchrecurrent |" in stem.with_suffix(".md").read_text()


def test_figures_of_another_machine_are_not_mixed_in(load, tmp_path) -> None:
    report, machine = load("report"), load("timing").Machine("A", 2, "", {}, 2, "", None, None)
    report.Report(machine, lines=[{"others": None}]).store(tmp_path / "figures", say=False)
    other = load("timing").Machine("B", 2, "", {}, 2, "", None, None)
    with pytest.raises(SystemExit, match="other processor: A"):
        report.resumed(tmp_path / "figures", other)
    assert report.resumed(tmp_path / "figures", other, measures=False).machine.processor == "A"
    report.Report(machine).store(tmp_path / "none", say=False)
    assert report.resumed(tmp_path / "none", other).machine.processor == "B"
    assert report.resumed(tmp_path / "nowhere", other).machine.processor == "B"


def test_the_bars_look_at_torchrecurrent_alone(load) -> None:
    library, report = load("library"), load("report")
    found = report.Report(None)
    row = {"table": 1, "shape": [4, 2, 3, 5], "others": 0.0, "differs": None}
    for cell, rival, speed in (
        ("mgu", "torchrecurrent", 25.0),
        ("atr", "torchrecurrent", 4.0),
        ("gru", "our loop", 1.0),
    ):
        seconds = {"ours": 1.0, rival: speed}
        found.lines.append(row | {"cell": cell, "rival": rival, "ours": speed, "seconds": seconds})
    library.fill(found, table := report.Table("", ("",) * 8))
    assert [verdict.value for verdict in found.verdicts] == pytest.approx([10.0, 4.0])
    assert all(verdict.met for verdict in found.verdicts)
    assert [row[0] for row in table.rows] == ["atr", "gru", "mgu"]
    assert math.isnan(_worst(library, report))


def _worst(library, report) -> float:
    empty = report.Report(None)
    library.fill(empty, report.Table("", ("",) * 8))
    return empty.verdicts[1].value
