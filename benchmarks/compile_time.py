"""What a kernel costs before it first runs: compiling it, and finding it again in the cache.

    python benchmarks/compile_time.py            an LSTM and a peephole LSTM, three fresh pairs of processes each

A pair shares one empty cache folder. The first process compiles forward and backward; the second finds both. What is
reported is the time of the first call less that of a steady one, with the modules of torch (and of what torch itself
imports) that the first call needs imported before: a process run before the others tells which those are. The bars, on
medians: 600 ms cold, forward and backward together; 60 ms in the second process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_cells import NAMES
from report import Report, Verdict
from timing import Machine, engine_missing

HERE = Path(__file__).parent
CELLS = ("lstm", "peephole")
COLD_BAR, WARM_BAR = 600.0, 60.0
TORCHS_OWN = {"torch", "torchgen", "functorch", "sympy", "mpmath", "networkx", "numpy", "jinja2", "filelock", "fsspec"}

CHILD = """
import gc, importlib, json, statistics, sys, time
sys.path.insert(0, sys.argv[1])
cell, engine, early = sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
import torch
from bench_cells import layer
for name in early:
    try:
        importlib.import_module(name)
    except Exception:
        pass
torch.set_num_threads(2)
x = torch.randn(20, 8, 128)
rnn = layer(cell, 128, 128, engine)
known = set(sys.modules)
gc.collect()  # of what the imports left, which is as little ours as they are

def call():
    start = time.perf_counter()
    output, _ = rnn(x)
    middle = time.perf_counter()
    output.sum().backward()
    return 1e3 * (middle - start), 1e3 * (time.perf_counter() - middle)

first = call()
loaded = sorted(set(sys.modules) - known)
later = [call() for _ in range(20)]
steady = [statistics.median(times) for times in zip(*later)]
print(json.dumps({"forward": first[0] - steady[0], "backward": first[1] - steady[1], "loaded": loaded}))
"""


def child(cell: str, engine: str, cache: Path, early: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-c", CHILD, str(HERE), cell, engine, json.dumps(early)]
    environment = {**os.environ, "OSTINATO_CACHE": str(cache)}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--runs", type=int, default=3, help="pairs of processes a cell (default 3)")
    arguments = parser.parse_args()
    why = engine_missing(arguments.engine)
    if why is not None:
        print(why)
        return 2
    report = Report(Machine.look())
    print("\n".join(report.machine.lines()))
    table = report.table("First calls, ms over a steady call", "cell", "process", "forward", "backward", "both")
    for cell in CELLS:
        with tempfile.TemporaryDirectory() as folder:
            probe = child(cell, arguments.engine, Path(folder), [])
        early = [name for name in probe["loaded"] if name.partition(".")[0] in TORCHS_OWN]
        table.add(NAMES[cell], "cold, imports", *_columns(probe))
        cold, warm = [], []
        for _ in range(arguments.runs):
            with tempfile.TemporaryDirectory() as folder:
                for name, figures in (("cold", cold), ("second", warm)):
                    times = child(cell, arguments.engine, Path(folder), early)
                    figures.append(times["forward"] + times["backward"])
                    table.add(NAMES[cell], name, *_columns(times))
        for name, figures, bar in (("cold compile", cold, COLD_BAR), ("first call from the cache", warm, WARM_BAR)):
            what = f"{name}, {NAMES[cell]}"
            report.verdicts.append(Verdict(what, statistics.median(figures), bar, at_most=True, unit=" ms"))
    return report.conclude()


def _columns(times: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{ms:.1f}" for ms in (times["forward"], times["backward"], times["forward"] + times["backward"]))


if __name__ == "__main__":
    sys.exit(main())
