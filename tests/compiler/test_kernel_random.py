"""Random cells: the plain loop, the reference and the kernel agree. More of them: tests/support/random_cells.py."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostinato.compiler.verify import verify
from tests.support.random_cells import Geometry, RandomGraph, RandomStep, check_cell, check_graph, check_layer

BOUNDED = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False
)


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTINATO_CACHE", "off")


@given(st.randoms(use_true_random=False), st.integers(0, 10**6))
@BOUNDED
def test_random_graphs(draw: Random, seed: int) -> None:
    torch.manual_seed(seed)
    graph = RandomGraph(draw).make()
    verify(graph)
    check_graph(graph, Geometry.drawn(draw))


@given(st.randoms(use_true_random=False), st.integers(0, 10**6))
@BOUNDED
def test_random_steps(draw: Random, seed: int) -> None:
    torch.manual_seed(seed)
    cell = RandomStep(draw).make()
    check_cell(cell, Geometry.drawn(draw))


@pytest.mark.parametrize("start", range(0, 24, 6))
def test_steps_of_fixed_seeds(start: int) -> None:
    """Larger ones than hypothesis begins with."""
    for seed in range(start, start + 6):
        draw = Random(seed)
        torch.manual_seed(seed)
        if seed % 2:
            check_cell(RandomStep(draw).make(), Geometry.drawn(draw))
        else:
            check_graph(RandomGraph(draw).make(), Geometry.drawn(draw))


@pytest.mark.filterwarnings("ignore:.*runs step by step")
@pytest.mark.parametrize("seed", range(4))
def test_layers_of_random_steps(seed: int) -> None:
    draw = Random(seed)
    torch.manual_seed(seed)
    check_layer(RandomStep(draw).make(), Geometry.drawn(draw), draw)
