"""A fair bench for cells: each trained from the same seeds on the same rows, at the same number of parameters."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ostinato.data.files import expand, fingerprint
from ostinato.errors import InvalidValue, ModelFolderError
from ostinato.models.cell_names import cell_named, name_of_cell
from ostinato.tasks.registry import task_named
from ostinato.tasks.settings import TrainingSettings
from ostinato.tasks.task import TaskKind
from ostinato.training.match import nearest_width, parameters_at
from ostinato.training.once import tested_run
from ostinato.training.runs_file import Run, RunsFile
from ostinato.training.single import prepared
from ostinato.training.tradeoff import draw_tradeoff

TABLE = "runs.csv"


@dataclass(frozen=True)
class Comparison:
    """What a comparison leaves.

    Args:
        runs: those that are done, by seed and cell.
        figure: the name of the deciding one among their figures.
        part: of the data that the figures are of.
        interrupted: whether some are left to do.
        table: the CSV of the runs.
        picture: of quality against cost; None before the first run is done.
    """

    runs: tuple[Run, ...]
    figure: str
    part: str
    interrupted: bool
    table: Path
    picture: Path | None


def compare(
    files: Sequence[str | Path],
    cells: Sequence[str],
    out: str | Path,
    *,
    task: str,
    seeds: int = 3,
    match_parameters: bool = False,
    overwrite: bool = False,
    settings: TrainingSettings | None = None,
    quiet: bool = False,
    say: Callable[[str], None] = print,
) -> Comparison:
    """Trains every cell from every seed, and tables what came of it.

    A run that stands in the table is not done again, and one that was interrupted is gone on with.

    Args:
        files: what is learnt from; the split is that of ``settings.split_seed`` in every run.
        cells: names, as ``--cell`` takes them; the first one's parameters are the measure.
        out: the folder: ``runs.csv``, ``comparison.png`` and a model folder a run.
        task: its name.
        seeds: how many; ``settings.seed`` and those after it.
        match_parameters: whether each cell's width is chosen so that its network has as many parameters as that of the
            first cell at ``settings.hidden_size``, or as near as a width can come.
        overwrite: forget the runs in ``out``.
        settings: of the task, instead of its defaults.
        quiet: whether the trainings say nothing.
        say: is told which run begins, and what widths were chosen.

    Raises:
        InvalidValue: no cell or no seed, a cell named twice, or one that no width brings near the first one's size.
        ModelFolderError: ``out`` holds something else.
        DataError, TrainingError: as of a single training.
    """
    bench = _bench(expand(files), cells, Path(out), task_named(task), settings, seeds, match_parameters, say)
    _must_be_ours(bench.out)
    table = RunsFile(bench.out / TABLE)
    every = [] if overwrite else table.read()
    table.write(every)
    runs: list[Run] = []
    todo = [(seed, cell) for seed in bench.seeds for cell in bench.settings]
    for number, (seed, cell) in enumerate(todo, start=1):
        chosen, name = bench.settings[cell].replaced({"seed": seed}), f"{bench.names[cell]}-{seed}"
        made_of = _made_of(bench.data, task, chosen)
        if (done := next((run for run in every if run.made_of == made_of), None)) is not None:
            runs.append(done)
            continue
        say(f"Run {number} of {len(todo)}: {cell}, hidden size {chosen.hidden_size:,}, seed {seed}.")
        came = tested_run(bench.kind, bench.files, chosen, bench.out / name, name, overwrite=overwrite, quiet=quiet)
        if came is None:
            return _result(bench, table, runs, True)
        runs.append(dataclasses.replace(came, made_of=made_of))
        every.append(runs[-1])
        table.write(every)
    return _result(bench, table, runs, False)


@dataclass(frozen=True)
class _Bench:
    """What is to be done, checked."""

    kind: TaskKind
    files: tuple[Path, ...]
    data: str
    settings: dict[str, TrainingSettings]
    names: dict[str, str]
    seeds: range
    out: Path


def _bench(
    files: tuple[Path, ...],
    cells: Sequence[str],
    out: Path,
    kind: TaskKind,
    settings: TrainingSettings | None,
    seeds: int,
    match_parameters: bool,
    say: Callable[[str], None],
) -> _Bench:
    named = [name_of_cell(cell_named(cell)) for cell in cells]
    if not named:
        raise InvalidValue("a comparison needs cells: --cells lstm,gru,package.module:Class")
    if seeds < 1:
        raise InvalidValue(f"seeds must be at least 1, got {seeds}")
    if twice := sorted({cell for cell in named if named.count(cell) > 1}):
        raise InvalidValue(f"a cell is compared with others, and {twice[0]} is named twice; name it once")
    start = settings or kind.settings()
    widths = dict.fromkeys(named, start.hidden_size)
    if match_parameters:
        widths = _matched(kind, files, start, named, say)
    for cell in named:
        start.replaced({"cell": cell}).options_of_cell()
    chosen = {cell: start.replaced({"cell": cell, "hidden_size": widths[cell]}) for cell in named}
    short = [cell.rpartition(":")[2] for cell in named]
    names = {
        cell: label if short.count(label) == 1 else f"{label}-{number}"
        for number, (cell, label) in enumerate(zip(named, short, strict=True), start=1)
    }
    return _Bench(kind, files, fingerprint(files), chosen, names, range(start.seed, start.seed + seeds), out)


def _matched(
    kind: TaskKind, files: Sequence[Path], settings: TrainingSettings, cells: Sequence[str], say: Callable[[str], None]
) -> dict[str, int]:
    """The width of each cell at which the networks have equally many parameters."""
    first, *others = cells
    model = prepared(kind, files, settings.replaced({"cell": first})).task.finished({})
    wanted = sum(parameter.numel() for parameter in model.network.parameters())
    widths = {first: settings.hidden_size}
    say(f"{first}: hidden size {settings.hidden_size:,}, {wanted:,} parameters. The others come as near as they can:")
    for cell in others:
        count = parameters_at(model, cell_named(cell))
        widths[cell] = nearest_width(count, wanted)
        found = count(widths[cell])
        assert found is not None
        say(f"{cell}: hidden size {widths[cell]:,}, {found:,} parameters ({100 * (found / wanted - 1):+.1f} %).")
    return widths


def _must_be_ours(out: Path) -> None:
    if out.exists() and not (out / TABLE).exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ModelFolderError(f"{out} is there and no folder of a comparison; name another one with --out")


def _made_of(data: str, task: str, settings: TrainingSettings) -> str:
    """Of everything that a run depends on."""
    content = json.dumps([data, task, dataclasses.asdict(settings)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _result(bench: _Bench, table: RunsFile, runs: Sequence[Run], interrupted: bool) -> Comparison:
    if not runs:
        return Comparison((), "", "", interrupted, table.path, None)
    figure, part, picture = next(iter(runs[0].figures)), runs[0].part, bench.out / "comparison.png"
    several = f" and {len(bench.files) - 1:,} more" if len(bench.files) > 1 else ""
    draw_tradeoff(runs, figure, part, f"{bench.kind.name}: {bench.files[0].name}{several}", picture)
    return Comparison(tuple(runs), figure, part, interrupted, table.path, picture)
