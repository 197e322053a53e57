from __future__ import annotations

import math
import statistics

import pytest
import torch

import ostinato

SEEDS = range(10)

MEDIANS = {1: 2.70, 2: 0.70, 3: 0.0363}
AT_LEAST = {1: 5, 2: 3, 3: 9}
REFERENCE = {1: 2.6347, 2: 0.5630, 3: 0.0363}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_epoch_is_that_of_the_same_program_on_torch_nn(example, number):
    program = example("hello").PROGRAMS[number]
    ends = []
    for seed in SEEDS:
        ours, torchs = program(ostinato, seed), program(torch.nn, seed)
        assert len(ours) == len(torchs) == 15
        for ours_now, torchs_now in zip(ours, torchs, strict=True):
            assert ours_now.text == torchs_now.text
            assert ours_now.loss == pytest.approx(torchs_now.loss, rel=1e-4)
        ends.append(ours[-1])
    assert statistics.median(end.loss for end in ends) <= MEDIANS[number]
    assert sum(end.text == "ohlol" for end in ends) >= AT_LEAST[number]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_chosen_seed_ends_in_ohlol_at_or_below_the_reference(example, number):
    hello = example("hello")
    end = hello.PROGRAMS[number](ostinato, hello.CHOSEN_SEED)[-1]
    assert end.text == "ohlol"
    assert end.loss <= REFERENCE[number] == hello.TO_REACH[number]


def test_the_floor_is_what_the_best_tanh_scores_give(example):
    floor = example("hello").least_loss_of_tanh()
    scores = torch.tensor([[1.0, -1.0, -1.0, -1.0]])
    assert floor == pytest.approx(torch.nn.functional.cross_entropy(scores, torch.tensor([0])).item())
    assert math.isclose(floor, 0.341, abs_tol=5e-4)


def test_it_prints_string_and_loss_of_every_epoch(example, capsys):
    example("hello").main(["--program", "3"])
    text = capsys.readouterr().out
    assert sum(line.startswith("  epoch") for line in text.splitlines()) == 15
    assert "epoch 15  ohlol  loss 0.0091" in text
    assert "cannot fall below 0.341" in text
    assert "was chosen" in text
