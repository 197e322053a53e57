"""The quality of a language model against the time it was trained: the figures of docs/training.md.

    python benchmarks/language_model.py ../shared/data/tinyshakespeare.txt            the defaults
    python benchmarks/language_model.py FILE --long                                   the longer run of docs/training.md
    python benchmarks/language_model.py FILE --set hidden_size=512 --set steps=3000   anything else

Validation is the last tenth of the file. Prints the machine, the versions, the settings, the seconds of training
(validation included) and the figures; exits with 1 if the figure is above the bar of the defaults or of the longer run.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

import lightning
import torch
import yaml

from ostinato.cli import wait_patiently
from ostinato.training.run import train
from ostinato.version import __version__

LONG = {
    "hidden_size": 384,
    "num_layers": 2,
    "dropout": 0.3,
    "learning_rate": 0.006,
    "steps": 6500,
    "validate_every": 500,
}
BAR, LONG_BAR = 1.60, 1.48


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--long", action="store_true", help="the longer run")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    arguments = parser.parse_args()
    changes = dict(LONG) if arguments.long else {}
    changes |= {name: yaml.safe_load(value) for name, _, value in (one.partition("=") for one in arguments.set)}

    print(f"machine   {processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.platform()}")
    print(f"versions  ostinato {__version__}, torch {torch.__version__}, lightning {lightning.__version__}")
    print(f"settings  {changes or 'the defaults'}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result = train(arguments.file, folder, **changes)
    if result.validation is None:
        return 1
    print(f"steps     {result.step:,}, the best after {result.best_step:,} ({result.stopped_because})")
    print(f"seconds   {result.seconds:.1f} of training, validation included")
    print(f"result    {result.validation}")
    bar = LONG_BAR if arguments.long else BAR
    nats = result.validation.figures["nats"]
    if arguments.set:
        return 0
    print(f"bar       {bar} nats: {'reached' if nats <= bar else 'MISSED'}")
    return int(nats > bar)


if __name__ == "__main__":
    wait_patiently()
    sys.exit(main())
