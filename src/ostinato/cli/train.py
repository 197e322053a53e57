"""``ostinato train``: its flags are the fields of the task's settings, texts and defaults included."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from ostinato.cli import INTERRUPTED
from ostinato.cli.flags import changes_of, keyword, parameters_of
from ostinato.cli.report import report
from ostinato.cli.task_command import with_parameters
from ostinato.cli.waiting import say
from ostinato.cli.which_task import Choice
from ostinato.errors import InvalidValue
from ostinato.tasks.registry import TASKS, task_named
from ostinato.tasks.settings import TrainingSettings
from ostinato.training.settings import settings_from_yaml

HEADS = {
    "language-model": "Train a language model on a text file, or another model with --task.",
    "classify": "Train a model that names the class of each sequence: a text, or values over time.",
    "regress": "Train a model that gives each sequence a number.",
    "tag": "Train a model that gives each word of a sentence its tag.",
    "forecast": "Train a model that says how one or many series go on.",
    "transduce": "Train a model that writes one sequence out of another.",
}

EXAMPLES = {
    "language-model": """
    ostinato train tales.txt
    ostinato train tales.txt --out tales-gru --cell gru --hidden-size 512 --time-budget 10m
    ostinato train --resume --out tales-gru
    ostinato train tales.txt --config settings.yaml --seed 3
    ostinato train reviews.csv --task classify --inputs text --target stars
    ostinato train --task classify --help
""",
    "classify": """
    ostinato train reviews.csv --task classify --inputs text --target stars
    ostinato train vowels_TRAIN.ts --task classify --test vowels_TEST.ts --ensemble 5
    ostinato train logs.csv --task classify --group unit --time t --inputs current,torque --target fault
""",
    "regress": """
    ostinato train reviews.csv --task regress --inputs text --target price
    ostinato train logs.csv --task regress --group unit --time t --inputs current,torque --target hours_left
""",
    "tag": """
    ostinato train train.conllu --task tag --target upos --test test.conllu
    ostinato train news.conll --task tag --crf --time-budget 5m
""",
    "forecast": """
    ostinato train load.csv --task forecast --time date --target load --horizon 24
    ostinato train sales.csv --task forecast --time day --group shop --target sold --horizon 7
""",
    "transduce": """
    ostinato train pairs.tsv --task transduce
    ostinato train dates.csv --task transduce --source written --target iso --time-budget 5m
""",
}

HELP = """{head}

It leaves a model folder and a learning curve, and prints {end}. Ctrl-C stops it and keeps what was learnt; `--resume`
goes on.
{examples}
Settings come from the defaults, then from --config, then from flags. Tasks: {tasks}; without --task it is guessed from
the file, and said.
"""


def train_command(choice: Choice) -> Callable[..., None]:
    """The function of the subcommand for a task, with one parameter for each of its settings."""
    kind = task_named(choice.task)

    def train(
        files: list[Path] | None,
        out: Path | None,
        resume: bool,
        overwrite: bool,
        config: Path | None,
        ensemble: int,
        tune: int,
        quiet: bool,
        task: str | None,
        **flags: Any,
    ) -> None:
        from ostinato.training.run import train as run

        if choice.guess:
            say(choice.guess, quiet)
        changes = {} if config is None else settings_from_yaml(config)
        changes |= changes_of(kind.settings, flags)
        settings = None
        if tune and not resume:
            start = kind.settings().replaced(changes)
            settings, changes = _tuned(files, out, overwrite, choice.task, start, tune, quiet), {}
        result = run(
            files,
            out,
            task=None if resume else choice.task,
            ensemble=ensemble,
            resume=resume,
            overwrite=overwrite,
            quiet=quiet,
            settings=settings,
            **changes,
        )
        report(result)

    text = HELP.format(
        head=HEADS[choice.task],
        end="a sample" if choice.task == "language-model" else "its figures beside those of simple methods",
        examples=EXAMPLES[choice.task],
        tasks=", ".join(TASKS),
    )
    return with_parameters(train, [*_fixed_parameters(), *parameters_of(kind.settings)], text)


def _tuned(
    files: list[Path] | None,
    out: Path | None,
    overwrite: bool,
    task: str,
    settings: TrainingSettings,
    trials: int,
    quiet: bool,
) -> TrainingSettings:
    from ostinato.training.run import out_folder
    from ostinato.training.run_folder import RunFolder
    from ostinato.training.tune import tune

    if not files:
        raise InvalidValue("files are needed: ostinato train FILE --tune N")
    place = RunFolder(out_folder(files, out))
    place.check(overwrite, files)
    table = place.trials
    found = tune(files, task, settings, trials, table, quiet=quiet, say=lambda line: say(line, quiet))
    if found is None:
        print(f"\nInterrupted; finished trials are kept in {table}. The same command goes on.")
        raise typer.Exit(INTERRUPTED)
    return found


def _fixed_parameters() -> list[inspect.Parameter]:
    folder = "The folder to make; ostinato-NAME in the current directory unless said otherwise."
    yaml = "A YAML file of lines `setting: value`; the settings are the flags below."
    task = f"What to learn: {', '.join(TASKS)}. Guessed from the file unless said; its flags: --task NAME --help."
    several = "Train so many models from seeds of their own; they predict together."
    tune = "First try so many pairs of width and learning rate, by the validation part alone, and take the best."
    return [
        keyword("files", None, list[Path] | None, typer.Argument(metavar="FILE...", help=FILES, show_default=False)),
        keyword("task", None, str | None, typer.Option("--task", metavar="NAME", help=task, show_default=False)),
        keyword("out", None, Path | None, typer.Option("--out", "-o", metavar="DIR", help=folder, show_default=False)),
        keyword("resume", False, bool, typer.Option("--resume", help="Go on with the run in --out.")),
        keyword("overwrite", False, bool, typer.Option("--overwrite", help="Replace the run that is in --out.")),
        keyword(
            "config", None, Path | None, typer.Option("--config", metavar="FILE.yaml", help=yaml, show_default=False)
        ),
        keyword("ensemble", 1, int, typer.Option("--ensemble", metavar="N", help=several)),
        keyword("tune", 0, int, typer.Option("--tune", metavar="N", help=tune)),
        keyword("quiet", False, bool, typer.Option("--quiet", "-q", help="No progress, only the result.")),
    ]


FILES = "Files, folders or globs; `ostinato formats` shows what they may hold. A text is for a language model."
