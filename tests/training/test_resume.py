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

from ostinato.training.checkpoint import read_checkpoint

COMMAND = [str(Path(sys.executable).with_name("ostinato"))]
FLAGS = [
    "--hidden-size=16", "--num-layers=2", "--embedding-size=8", "--dropout=0.2", "--batch-size=4", "--device=cpu",
    "--sequence-length=20", "--steps=400", "--validate-every=70", "--checkpoint-every=9", "--quiet",
]  # fmt: skip


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "OSTINATO_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{n} bottles of beer on the wall, take {n % 7} down.\n" for n in range(400)))
    return path


def begin(environment, *arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, "train", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out + err


def wait_for_step(folder: Path, step: int, process: subprocess.Popen) -> None:
    """Until a checkpoint of at least that step is there."""
    checkpoint = folder / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if checkpoint.exists() and read_checkpoint(checkpoint)["global_step"] >= step:
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


def test_killed_resumed_killed_resumed(environment, text, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    code, said = finish(begin(environment, text, "--out", whole, *FLAGS))
    assert code == 0, said

    process = begin(environment, text, "--out", broken, *FLAGS)
    wait_for_step(broken, 60, process)
    process.kill()
    process.communicate()
    process = begin(environment, "--resume", "--out", broken, "--quiet")
    wait_for_step(broken, 200, process)
    process.kill()
    process.communicate()
    assert read_checkpoint(broken / "checkpoints" / "last.ckpt")["global_step"] < 400, "killed too late to show a thing"
    code, said = finish(begin(environment, "--resume", "--out", broken, "--quiet"))
    assert code == 0, said

    expected, found = weights(whole), weights(broken)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    assert all(torch.equal(a, b) for a, b in zip(moments(whole), moments(broken), strict=True))
    assert not list(broken.rglob("*.tmp"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_leaves_a_model_and_says_how_to_go_on(environment, text, tmp_path):
    folder = tmp_path / "model"
    endless = [flag for flag in FLAGS if not flag.startswith("--steps")] + ["--steps=100000", "--patience=0"]
    process = begin(environment, text, "--out", folder, *endless)
    wait_for_step(folder, 20, process)
    process.send_signal(signal.SIGINT)
    code, said = finish(process)
    assert code == 130, said
    assert f"ostinato train --resume --out {folder}" in said
    step = read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"]
    sampled = subprocess.run([*COMMAND, "sample", str(folder), "--length=5"], env=environment, check=True)
    assert sampled.returncode == 0
    code, said = finish(begin(environment, "--resume", "--out", folder, f"--steps={step + 3}", "--quiet"))
    assert code == 0, said
    assert read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == step + 3
