"""Every example in a public docstring runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch
from torch import nn

import ostinato

SKIPPED = {"ostinato.examples"}


def modules() -> list[str]:
    found = pkgutil.walk_packages(ostinato.__path__, "ostinato.")
    return ["ostinato", *(m.name for m in found if not any(m.name.startswith(s) for s in SKIPPED))]


@pytest.mark.parametrize("name", modules())
def test_examples_of(name: str) -> None:
    module = importlib.import_module(name)
    names = {"torch": torch, "nn": nn, "ostinato": ostinato}
    result = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
