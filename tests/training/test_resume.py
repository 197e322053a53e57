"""A run that is killed, at any moment, ends with exactly the weights of the run that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ostinato.cli import main
from ostinato.training.checkpoint import read_checkpoint

COMMAND = [str(Path(sys.executable).with_name("ostinato"))]
FLAGS = [
    "--hidden-size=16", "--num-layers=2", "--embedding-size=8", "--dropout=0.2", "--batch-size=4", "--device=cpu",
    "--sequence-length=20", "--steps=200", "--validate-every=70", "--checkpoint-every=9", "--quiet",
]  # fmt: skip


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """Of this process and of those that it begins."""
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{n} bottles of beer on the wall, take {n % 7} down.\n" for n in range(400)))
    return path


def begin(*arguments) -> subprocess.Popen:
    """The command, in a process that can be killed."""
    command = [*COMMAND, "train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments) -> None:
    """The command to its end, in this process, which has all packages loaded already."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert not ended.value.code


def wait_for_step(folder: Path, step: int, process: subprocess.Popen) -> None:
    """Until a checkpoint of at least that step is there."""
    checkpoint, seen = folder / "checkpoints" / "last.ckpt", 0
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if checkpoint.exists() and (now := checkpoint.stat().st_mtime_ns) != seen:
            seen = now
            if read_checkpoint(checkpoint)["global_step"] >= step:
                return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint of step {step} in four minutes")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The best weights and the last ones."""
    last = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    best = safetensors.torch.load_file(folder / "model.safetensors")
    return {**best, **{f"last {name}": tensor for name, tensor in last["state_dict"].items()}}


def moments(folder: Path) -> list[torch.Tensor]:
    state = read_checkpoint(folder / "checkpoints" / "last.ckpt")["optimizer_states"][0]["state"]
    return [tensor for entry in state.values() for tensor in entry.values()]


def test_killed_resumed_killed_resumed(text, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = begin(text, "--out", broken, *FLAGS)
    wait_for_step(broken, 30, process)
    process.kill()
    process.communicate()
    process = begin("--resume", "--out", broken, "--quiet")
    wait_for_step(broken, 100, process)
    process.kill()
    process.communicate()
    assert read_checkpoint(broken / "checkpoints" / "last.ckpt")["global_step"] < 200, "killed too late to show a thing"
    run("train", "--resume", "--out", broken, "--quiet")
    run("train", text, "--out", whole, *FLAGS)

    expected, found = weights(whole), weights(broken)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    assert all(torch.equal(a, b) for a, b in zip(moments(whole), moments(broken), strict=True))
    assert not list(broken.rglob("*.tmp"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_leaves_a_model_and_says_how_to_go_on(text, tmp_path):
    folder = tmp_path / "model"
    endless = [flag for flag in FLAGS if not flag.startswith("--steps")] + ["--steps=100000", "--patience=0"]
    process = begin(text, "--out", folder, *endless)
    wait_for_step(folder, 20, process)
    process.send_signal(signal.SIGINT)
    said = "".join(process.communicate(timeout=300))
    assert process.returncode == 130, said
    assert f"ostinato train --resume --out {folder}" in said
    step = read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"]
    run("sample", folder, "--length=5")
    run("train", "--resume", "--out", folder, f"--steps={step + 3}", "--quiet")
    assert read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == step + 3
