"""Which processor kernels are written for."""

from __future__ import annotations

import re

import pytest
import torch

import ostinato
from ostinato.compiler.cpu import targets
from ostinato.errors import EngineError, InvalidValue


def test_the_host_is_the_widest_family_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTINATO_TARGET", raising=False)
    assert targets.host().name == targets.possible()[0]
    assert targets.possible()[-1] == "plain"


@pytest.mark.parametrize("name", targets.possible())
def test_a_narrower_one_can_be_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTINATO_TARGET", f" {name.upper()}")
    assert targets.host().name == name


def test_a_word_that_is_no_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTINATO_TARGET", "sse9")
    with pytest.raises(InvalidValue, match=r"avx512, avx2, neon, plain.*'sse9'"):
        targets.host()


def test_a_family_this_processor_is_not_of(monkeypatch: pytest.MonkeyPatch) -> None:
    other = "avx2" if "neon" in targets.possible() else "neon"
    monkeypatch.setenv("OSTINATO_TARGET", other)
    with pytest.raises(InvalidValue, match=f"{other}.*plain"):
        targets.host()


@pytest.mark.parametrize("asked", ["sse9", "avx2" if "neon" in targets.possible() else "neon"])
def test_a_wrong_word_leaves_the_other_engines(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTINATO_TARGET", asked)
    layer, x = ostinato.LSTM(3, 4), torch.randn(5, 2, 3)
    assert ostinato.explain(layer).engine == "aten"
    assert re.search(f"OSTINATO_TARGET.*{asked}", ostinato.explain(layer).why)
    assert layer(x)[0].shape == (5, 2, 4)
    with ostinato.engine("native"), pytest.raises(EngineError, match=f"OSTINATO_TARGET.*{asked}"):
        layer(x)


@pytest.mark.parametrize(
    ("features", "families"),
    [
        ({"avx512f", "avx512vl", "avx512dq", "avx512bw", "avx512cd", "avx2", "fma", "bmi2", "f16c", "bmi", "lzcnt",
          "movbe"}, ("avx512", "avx2", "plain")),
        ({"avx512f", "avx2", "fma", "bmi2", "f16c", "bmi", "lzcnt", "movbe"}, ("avx2", "plain")),
        ({"sse2"}, ("plain",)),
        (set(), ("plain",)),
    ],
)  # fmt: skip
def test_families_follow_from_features(
    features: set[str], families: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_features", lambda: features)
    monkeypatch.setattr(targets, "triple", lambda: "x86_64-unknown-linux-gnu")
    assert targets.possible.__wrapped__() == families


@pytest.mark.parametrize(
    ("triple", "families"),
    [
        ("aarch64-linux-gnu", ("neon", "plain")),
        ("arm64-apple-darwin", ("neon", "plain")),
        ("riscv64-linux", ("plain",)),
    ],
)
def test_families_of_other_processors(triple: str, families: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "triple", lambda: triple)
    assert targets.possible.__wrapped__() == families


def test_lanes_fill_a_register() -> None:
    widths = {name: targets.named(name, "any") for name in targets.FAMILIES}
    assert {name: (t.lanes("float"), t.lanes("double")) for name, t in widths.items()} == {
        "avx512": (16, 8),
        "avx2": (8, 4),
        "neon": (4, 2),
        "plain": (4, 2),
    }
    assert widths["plain"].vector("float").fused is False
    assert widths["avx2"].vector("double", 1).type == "double"
