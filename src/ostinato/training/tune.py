"""Settings out of a search: short trainings of the same task, in folders that are thrown away."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ostinato.data.files import expand, fingerprint
from ostinato.errors import InvalidValue
from ostinato.tasks.registry import task_named
from ostinato.tasks.settings import TrainingSettings
from ostinato.training.once import validated_run
from ostinato.training.runs_file import Run, RunsFile
from ostinato.training.search import full_settings, search, trial_settings
from ostinato.training.single import prepared


def tune(
    files: Sequence[str | Path],
    task: str,
    settings: TrainingSettings,
    trials: int,
    table: Path,
    *,
    quiet: bool = False,
    say: Callable[[str], None] = print,
) -> TrainingSettings | None:
    """The best width and learning rate of so many trials, by the validation part alone, in settings to train with.

    Args:
        files: what is learnt from.
        task: its name.
        settings: to begin from.
        trials: how many.
        table: the CSV of the trials; those that stand in it are not done again.
        quiet: whether the trainings say nothing.
        say: is told which trial begins, and what was found.

    Returns:
        The settings; None if a trial was interrupted.

    Raises:
        InvalidValue: fewer than 2 trials, which leave nothing to choose.
        DataError, TrainingError: as of a single training.
    """
    if trials < 2:
        raise InvalidValue(
            f"tune must be at least 2 trials, got {trials}: the first one is of the settings as they are"
        )
    sources, kind = expand(files), task_named(task)
    steps = settings.total_steps(prepared(kind, sources, settings).task.batches_per_epoch)
    short = trial_settings(settings, trials, steps)
    length = f"{short.steps:,} steps" if short.time_budget is None else f"{short.time_budget:.3g} s"
    say(f"{trials} trials of {length} each, judged by the validation part:")

    def run(chosen: TrainingSettings, name: str) -> Run | None:
        say(f"{name}: hidden size {chosen.hidden_size:,}, learning rate {chosen.learning_rate:.3g}")
        with tempfile.TemporaryDirectory(prefix="ostinato-") as folder:
            return validated_run(kind, sources, chosen, Path(folder) / name, name, quiet=quiet)

    content = json.dumps([fingerprint(sources), task, asdict(short)], sort_keys=True)
    best = search(short, trials, RunsFile(table), hashlib.sha256(content.encode()).hexdigest()[:16], run)
    if best is None:
        return None
    say(f"Best: {best.trial}, hidden size {best.hidden_size:,}, learning rate {best.learning_rate:.3g}; now in full.")
    return full_settings(settings, best)
