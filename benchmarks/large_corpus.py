"""What a large text costs: memory and start-up of a run on a file of 500 MB.

    python benchmarks/large_corpus.py            500 MB, in a temporary folder
    python benchmarks/large_corpus.py --mb 50    a smaller one

Three child processes, so that each peak is its own: the first reads the file and fills the cache, the second begins
with the cache, the third trains a few hundred steps and validates. Peaks are ru_maxrss, in MB of 10^6 bytes; exits
with 1 above 1 GB, or if the start from the cache takes more than 20 s.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ostinato.cli import SPINS

MB = 1_000_000
CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from ostinato.training.run import train
imported = time.perf_counter() - start
result = train(sys.argv[1], sys.argv[2], overwrite=True, quiet=True, steps=int(sys.argv[3]), validate_every=250,
               hidden_size=128)
whole = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"imports": imported, "start": whole - result.seconds, "training": result.seconds, "peak": peak}))
"""


def write_text(path: Path, size: int) -> None:
    """Words with Zipf's frequencies, some of them not ASCII: a block of at most 20 MB, again and again."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlucmfwypvbgkqjxzéüλ", k=draw.randint(1, 9))) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    block = bytearray()
    while len(block) < min(size, 20 * MB):
        block += " ".join(draw.choices(words, weights, k=20_000)).replace(" e ", ".\n").encode() + b"\n"
    with path.open("wb") as file:
        for _ in range(-(-size // len(block))):
            file.write(block)


def child(text: Path, out: Path, steps: int, environment: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-c", CHILD, str(text), str(out), str(steps)]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text.txt"
        start = time.perf_counter()
        write_text(text, arguments.mb * MB)
        print(f"wrote {text.stat().st_size / MB:.0f} MB in {time.perf_counter() - start:.0f} s", flush=True)
        environment = {**os.environ, "OSTINATO_CACHE": str(folder / "cache"), "GOMP_SPINCOUNT": SPINS}
        worst = 0.0
        cached = 0.0
        for what, steps in (("reads the file", 1), ("from the cache", 1), ("trains", arguments.steps)):
            figures = child(text, folder / "model", steps, environment)
            cached = figures["start"] if what == "from the cache" else cached
            worst = max(worst, figures["peak"])
            print(
                f"{what:15} start {figures['start']:5.1f} s ({figures['imports']:.1f} s of it imports), "
                f"training {figures['training']:6.1f} s, peak {figures['peak'] / MB:5.0f} MB",
                flush=True,
            )
    good = worst <= 1000 * MB and cached <= 20
    print(f"bar: 1000 MB, 20 s from the cache: {'reached' if good else 'MISSED'}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
