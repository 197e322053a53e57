"""The four shapes of work, each on a short training that must beat its trivial baseline."""

from __future__ import annotations

import re

import pytest


def losses(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"step +\d+ .*? (\d+\.\d+)", text)]


@pytest.mark.parametrize(
    ("name", "steps", "shapes"),
    [
        ("classification", 160, "x (2000, 30, 2), lengths (2000,) → (64, 3)"),
        ("regression", 100, "x (4000, 40, 1), lengths (4000,) → (64, 2)"),
        ("generation", 160, "x (64, 25, 7) → (64, 25, 7)"),
    ],
)
def test_shapes_are_printed_and_the_loss_falls(example, capsys, name, steps, shapes):
    example(name).main(["--steps", str(steps)])
    text = capsys.readouterr().out
    assert shapes in text
    first, *_, last = losses(text)
    assert last < 0.6 * first
    better, trivial = scores(name, text)
    assert better > trivial


def scores(name: str, text: str) -> tuple[float, float]:
    """The network's score and the baseline's, more being better."""
    if name == "regression":
        ours, mean = re.findall(r"frequency +([\d.]+) a step  \(mean: ([\d.]+)\)", text)[0]
        return -float(ours), -float(mean)
    ours, trivial = re.findall(r"([\d.]+)%", text)[:2]
    return float(ours), float(trivial)


def test_two_directions_label_what_one_cannot_see(example, capsys):
    example("labelling").main(["--steps", "120"])
    text = capsys.readouterr().out
    assert "x (64, 24, 5) → (64, 24, 2)" in text
    (one, usual), (two, _) = re.findall(r"texts: ([\d.]+)%.*outside: ([\d.]+)%", text)
    assert float(usual) < float(one) < 90
    assert float(two) > 97


def test_a_bracket_that_never_closes_opens_nothing(example):
    inside = example("labelling").inside
    assert inside("a(b)c") == [0, 1, 1, 1, 0]
    assert inside("a(b") == [0, 0, 0]
    assert inside(")(()") == [0, 1, 1, 1]
