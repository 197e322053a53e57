"""The whole way on a real text, through the installed command and in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from math import log
from pathlib import Path

import pytest

from ostinato.cli import main

COMMAND = str(Path(sys.executable).with_name("ostinato"))


def test_a_minute_of_shakespeare(data, tmp_path, monkeypatch, capsys) -> None:
    text, folder = data / "tinyshakespeare.txt", tmp_path / "model"
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def ostinato(*arguments: object) -> str:
        command = [COMMAND, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def here(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert not ended.value.code
        return capsys.readouterr().out

    sizes = ("--hidden-size=96", "--embedding-size=32", "--batch-size=16", "--validation-limit=20000")
    said = ostinato("train", text, "--out", folder, "--steps=150", "--validate-every=150", *sizes)
    assert "over 20,000 characters" in said

    found = json.loads(here("evaluate", folder, text, "--part", "validation", "--format", "json"))
    letters = Counter(text.read_text(encoding="utf-8")[1_003_854:1_023_854])
    entropy = -sum(n * log(n / 20_000) for n in letters.values()) / 20_000
    # Below the entropy of single letters by more than a letter's neighbour could tell: it has learnt to spell.
    assert found["tokens"] == 20_000
    assert 1.5 < found["nats"] < entropy - 0.8

    sample = ostinato("sample", folder, "--prompt", "ROMEO:", "--length", 80, "--seed", 1)
    assert sample.startswith("ROMEO:")
    assert sample == here("sample", folder, "--prompt", "ROMEO:", "--length", 80, "--seed", 1)
