"""Cells by name: what is found, what is not, and that the table and the library hold the same cells."""

from __future__ import annotations

import pytest

import ostinato
from ostinato.cells import library, registry
from ostinato.errors import InvalidValue


def test_the_library_and_the_table_hold_the_same_cells():
    everyone = registry.everyone()
    assert {known.cell.__name__ for known in everyone.values()} == set(library.__all__)
    assert list(everyone) == sorted(everyone)
    assert library.__all__ == sorted(library.__all__)


@pytest.mark.parametrize("name", ["gru", "peephole-lstm"])
def test_a_name_is_a_layer(name):
    layer = ostinato.Recurrent(name, 4, 5, num_layers=2)
    assert layer.cell_type is registry.find(name).cell


@pytest.mark.parametrize(
    ("name", "near"),
    [("GRU", "'gru'"), ("lstmm", "'lstm'"), ("layernorm-lstm", "'layer-norm-lstm'"), ("min_gru", "'min-gru'")],
)
def test_an_unknown_name_gets_the_nearest(name, near):
    with pytest.raises(InvalidValue, match=rf"no cell is called {name!r}; .*lists all \d+; did you mean {near}\?"):
        ostinato.Recurrent(name, 4, 5)


@pytest.mark.parametrize("name", ["", "qqqqqqq", "../gru", "gru\n"])
def test_a_name_that_nothing_is_near_to(name):
    with pytest.raises(InvalidValue, match="no cell is called"):
        registry.find(name)


def test_two_cells_of_one_name(monkeypatch):
    monkeypatch.setattr(registry, "_known", dict(registry.everyone()))
    with pytest.raises(InvalidValue, match="two cells are called 'gru': GRUCell and Again"):

        @registry.known("gru", "Again", 2026)
        class Again(ostinato.Cell):
            def step(self, x, h):
                return h
