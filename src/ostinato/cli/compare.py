"""``ostinato compare``: cells side by side, on a file of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import typer

from ostinato.cli import INTERRUPTED
from ostinato.cli.flags import changes_of, keyword, parameters_of, split
from ostinato.cli.tables import print_table, shown
from ostinato.cli.task_command import with_parameters
from ostinato.cli.waiting import say
from ostinato.cli.which_task import Choice
from ostinato.errors import InvalidValue
from ostinato.tasks.registry import TASKS, task_named

if TYPE_CHECKING:
    from ostinato.training.comparison import Comparison
    from ostinato.training.runs_file import Run

MOST_FIGURES = 3
"""Figures shown beside the deciding one; the CSV holds all."""

HELP = """Compare cells: the same rows, the same seeds, and as many parameters each.

Every run is trained by `ostinato train` with the settings below, and scored on the part that none of them saw. It
prints mean ± standard deviation over the seeds, with the median of time and speed, and leaves `runs.csv` with every
run, a picture of quality against cost, and a model folder a run. A run in the CSV is not done again, so the same
command goes on where Ctrl-C or a kill stopped it.

    ostinato compare names/ --task classify --cells lstm,gru,rnn --match-parameters
    ostinato compare load.csv --task forecast --cells lstm,my_cells:Mine --seeds 5 --steps 500
    ostinato compare tales.txt --cells lstm,gru --time-budget 2m

Tasks: {tasks}; without --task it is guessed from the file, and said.
"""


def compare_command(choice: Choice) -> Callable[..., None]:
    """The function of the subcommand for a task, with one parameter for each of its settings."""
    kind = task_named(choice.task)

    def compare(
        files: list[Path] | None,
        task: str | None,
        cells: str,
        seeds: int,
        match_parameters: bool,
        out: Path | None,
        overwrite: bool,
        quiet: bool,
        **flags: Any,
    ) -> None:
        from ostinato.training.comparison import compare as run

        if not files:
            raise InvalidValue("files are needed: ostinato compare FILE --cells lstm,gru")
        if choice.guess:
            say(choice.guess, quiet)
        found = run(
            files,
            split(cells),
            out if out is not None else Path(f"ostinato-compare-{files[0].stem}"),
            task=choice.task,
            seeds=seeds,
            match_parameters=match_parameters,
            overwrite=overwrite,
            settings=kind.settings().replaced(changes_of(kind.settings, flags)),
            quiet=quiet,
            say=lambda line: say(line, quiet),
        )
        _report(found)

    parameters = [*_fixed_parameters(), *parameters_of(kind.settings, without=("cell",))]
    return with_parameters(compare, parameters, HELP.format(tasks=", ".join(TASKS)))


def _fixed_parameters() -> list[inspect.Parameter]:
    names = "Names out of `ostinato cells`, and package.module:Class for cells of your own, which are imported and run."
    match = "Choose each cell's width so that it has as many parameters as the first cell at --hidden-size."
    folder = "The folder to make; ostinato-compare-NAME in the current directory unless said otherwise."
    task = f"What to learn: {', '.join(TASKS)}. Guessed from the file unless said; its flags: --task NAME --help."
    return [
        keyword("files", None, list[Path] | None, typer.Argument(metavar="FILE...", help="Files, folders or globs.")),
        keyword("task", None, str | None, typer.Option("--task", metavar="NAME", help=task, show_default=False)),
        keyword("cells", "lstm,gru,rnn", str, typer.Option("--cells", metavar="A,B,…", help=names)),
        keyword("seeds", 3, int, typer.Option("--seeds", metavar="N", help="Trainings of each cell, from --seed on.")),
        keyword("match_parameters", False, bool, typer.Option("--match-parameters", help=match)),
        keyword("out", None, Path | None, typer.Option("--out", "-o", metavar="DIR", help=folder, show_default=False)),
        keyword("overwrite", False, bool, typer.Option("--overwrite", help="Forget the runs that are in --out.")),
        keyword("quiet", False, bool, typer.Option("--quiet", "-q", help="No progress, only the result.")),
    ]


def _report(found: Comparison) -> None:
    runs = found.runs
    if runs:
        _print_cells(runs, found.part)
        print(f"Runs:    {found.table}")
        print(f"Picture: {found.picture}")
    if found.interrupted:
        print(f"\nInterrupted; {len(runs)} runs are kept. The same command goes on.")
        raise typer.Exit(INTERRUPTED)


def _print_cells(runs: Sequence[Run], part: str) -> None:
    figures = list(dict.fromkeys(name for run in runs for name in run.figures))[: 1 + MOST_FIGURES]
    header = ["cell", "runs", "hidden size", "parameters", *(f"{name} ({part})" for name in figures)]
    rows = []
    for cell in dict.fromkeys(run.cell for run in runs):
        own = [run for run in runs if run.cell == cell]
        figure_texts = [_spread([run.figures[name] for run in own if name in run.figures]) for name in figures]
        # The median: the first run of a cell in a process also compiles its step.
        cost = [f"{median(run.seconds for run in own):.1f}", f"{median(run.steps_per_second for run in own):.1f}"]
        size = [shown(own[0].hidden_size), shown(own[0].parameters)]
        rows.append([cell, str(len(own)), *size, *figure_texts, *cost])
    print_table([*(name.replace("_", " ") for name in header), "seconds", "steps/s"], rows)


def _spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation."""
    from ostinato.training.tradeoff import deviation

    if not values:
        return "–"
    return shown(mean(values)) + (f" ± {deviation(values):.2g}" if len(values) > 1 else "")
