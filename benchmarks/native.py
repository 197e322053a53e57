"""What the compiled time loop is worth: against torch.nn, ONNX Runtime, loops, and the machine's own matrix product.

    python benchmarks/native.py              everything, within half an hour; stored in benchmarks/results/native.*
    python benchmarks/native.py --quick      three shapes, short; stored only if --out says where
    python benchmarks/native.py --tables 1,3 --cells lstm gru --shapes 100,8,64,64 35,20,650,650 --budget 2

Tables 1 to 3 (torch's own cells; torch_tables.py), 4 to 6 (custom cells and rates; cell_tables.py) and 7 (streams;
stream_table.py) each say their bars at the top of their file. "Ours" is the engine of --engine, "auto" what a user gets
who asks for nothing; a ratio above 1 means that ours is the faster. What is compared is first checked to be equal.
Exits with 1 if a bar is missed or something of ours fails, with 2 if the engine does not exist.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

import cell_tables
import stream_table
import torch_tables
from bench_cells import CUSTOM, TORCHS
from report import Report
from rivals import versions
from timing import Machine, engine_missing
from work import GRID, QUICK, Shape

CELLS = (*TORCHS, *CUSTOM)
TABLES = tuple(range(1, 8))
RESULTS = Path(__file__).parent / "results"


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three shapes, 0.5 s a contest")
    parser.add_argument("--tables", default="", metavar="1,2,…", help="these tables only (3 needs 1 or 2)")
    parser.add_argument("--shapes", nargs="+", type=Shape.parse, metavar="T,B,I,H", help="these shapes only")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=CELLS, help="these cells only")
    parser.add_argument("--engine", default="native", help="whose time is ours (default native)")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="of a contest's rounds (default 4)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="table 4 without the loop over torch.compile's step")
    parser.add_argument("--out", type=Path, metavar="STEM", help="store in STEM.json and STEM.md")
    arguments = parser.parse_args(argv)
    part = arguments.quick or arguments.shapes or arguments.tables or arguments.no_compile
    part = part or set(arguments.cells) != set(CELLS) or arguments.engine != "native" or arguments.threads != 2
    arguments.tables = {int(n) for n in arguments.tables.split(",") if n} or set(TABLES)
    if not arguments.tables <= set(TABLES):
        parser.error(f"--tables: there are tables 1 to {len(TABLES)}")
    arguments.shapes = arguments.shapes or (QUICK if arguments.quick else GRID)
    if arguments.budget is None:
        arguments.budget = 0.5 if arguments.quick else 4.0
    if arguments.out is None and not part:
        arguments.out = RESULTS / "native"
    return arguments


def main() -> int:
    arguments = arguments_of()
    why = engine_missing(arguments.engine)
    if why is not None:
        print(why)
        return 2
    torch.set_num_threads(arguments.threads)
    report = Report(Machine.look(versions()))
    print("\n".join(report.machine.lines()))
    tables, shapes, engine, budget = arguments.tables, arguments.shapes, arguments.engine, arguments.budget
    torchs = [cell for cell in TORCHS if cell in arguments.cells]
    customs = [cell for cell in CUSTOM if cell in arguments.cells]
    speeds = []
    if 1 in tables and torchs:
        speeds += torch_tables.training(report, torchs, shapes, engine, budget)
    if 2 in tables and torchs:
        speeds += torch_tables.inference(report, torchs, shapes, engine, budget, arguments.threads)
    if 3 in tables and speeds:
        torch_tables.worst(report, speeds)
    if 4 in tables and customs:
        cell_tables.against_loops(report, customs, shapes, engine, budget, not arguments.no_compile)
    if tables & {5, 6}:
        rates = cell_tables.Rates(torchs + customs, engine, budget, tables)
        if rates.customs:
            cell_tables.over_lstm(report, rates, shapes)
        if rates.ranked and any(map(cell_tables.large, shapes)):
            cell_tables.over_gemm(report, rates, shapes)
    if 7 in tables and torchs:
        stream_table.stream(report, torchs, engine, budget, arguments.threads)
    code = report.conclude()
    if arguments.out is not None:
        report.store(arguments.out)
    return code


if __name__ == "__main__":
    sys.exit(main())
