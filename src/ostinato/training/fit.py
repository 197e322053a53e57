"""Training any task to the end, from wherever it stands: the generic part of every run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ostinato.errors import DataError, InvalidValue
from ostinato.models.cell_names import cell_named
from ostinato.models.folder import save
from ostinato.models.needs import need
from ostinato.tasks.settings import TrainingSettings
from ostinato.tasks.task import Task
from ostinato.tasks.trial import try_cells
from ostinato.training.batch_stream import batch_stream
from ostinato.training.checkpoint import SafeCheckpointIO, read_checkpoint
from ostinato.training.curve import draw_curve
from ostinato.training.interrupt import on_interrupt
from ostinato.training.keeper import Keeper, figures, patience_lost, used_up
from ostinato.training.learner import Learner
from ostinato.training.progress import Progress
from ostinato.training.quiet import quiet_lightning
from ostinato.training.result import TrainingResult
from ostinato.training.run_folder import RunFolder
from ostinato.training.talk import console, duration


def fit(
    task: Task,
    settings: TrainingSettings,
    folder: Path,
    *,
    files: Sequence[Path] = (),
    facts: dict[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    on_begin: Callable[[Path], None] | None = None,
) -> TrainingResult:
    """Trains ``task`` and leaves a model folder with the best weights, a checkpoint, and the record of the run.

    Args:
        task: what learns, untrained; also on resuming, when its weights are replaced by the checkpoint's.
        settings: of the run; on resuming those it began with, but for the ones that may change.
        folder: of the model.
        files: noted, so that ``resume`` finds them again.
        facts: stored with the model besides the figures of the run.
        resume: go on with the run in ``folder``.
        overwrite: replace the run in ``folder``.
        quiet: say nothing.
        on_begin: called with the folder before the first step.

    Raises:
        DataError: on resuming, the data are not those the run began with.
        InvalidValue: the device is not there, or the cell does not work.
        ModelFolderError: ``folder`` holds something already, or no run to resume.
        TrainingError: training could not go on; the last good checkpoint is kept.
    """
    place = RunFolder(folder)
    # Whatever can be wrong with the settings shows here, before a run that is to be replaced is touched.
    ready(task, settings)
    note = {"task": task.name, "files": [str(file.resolve()) for file in files], "fingerprint": task.fingerprint}
    learner = Learner(task, settings, settings.total_steps(task.batches_per_epoch))
    keeper = Keeper(place, facts or {})
    if resume:
        check_same_data(place, task, files)
        place.clean()
    else:
        place.prepare(overwrite, files)
        # A folder that is killed before its first validation is a model all the same: one that has learnt nothing.
        save(task.finished({**keeper.facts, **figures(learner, None)}), place.path)
    place.write_run({**note, "settings": dataclasses.asdict(settings)})
    if on_begin is not None:
        on_begin(place.path)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return _Run(learner, keeper, quiet).go()


def ready(task: Task, settings: TrainingSettings) -> None:
    """Whether ``task`` can be trained here at all.

    Raises:
        InvalidValue: the device is not there, or the cell does not work.
    """
    _accelerator(settings.device)
    try_cells(task.network, settings.cell)


def check_same_data(folder: RunFolder, task: Task, files: Sequence[Path]) -> None:
    """Whether the run in ``folder`` began with the data of ``task``.

    Raises:
        DataError: it did not.
    """
    if task.fingerprint != folder.read_run()["fingerprint"]:
        named = ", ".join(map(str, files)) or "what was given"
        raise DataError(f"{named} is not what this run began with; name that, or begin anew with --overwrite")


class _Run:
    """A run that is ready to go."""

    def __init__(self, learner: Learner, keeper: Keeper, quiet: bool) -> None:
        self.learner, self.keeper, self.folder = learner, keeper, keeper.folder
        self.out = console()
        self.out.quiet = quiet

    def go(self) -> TrainingResult:
        """Trains to the end, from the checkpoint if there is one."""
        learner, keeper = self.learner, self.keeper
        step = 0
        checkpoint = self.folder.checkpoint if self.folder.checkpoint.is_file() else None
        if checkpoint is not None:
            content = read_checkpoint(checkpoint)
            step = int(content["global_step"])
            learner.on_load_checkpoint(content)
        finished = used_up(learner, step) or patience_lost(learner)
        if finished:
            keeper.reason = finished
        else:
            if step:
                self.out.print(f"Going on from step {step:,}.")
            step = self._fit(step, checkpoint)
        return self._result(step)

    def _fit(self, step: int, checkpoint: Path | None) -> int:
        learner = self.learner
        with quiet_lightning():
            trainer = need("lightning.pytorch").Trainer(
                accelerator=_accelerator(learner.settings.device),
                devices=1,
                max_epochs=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                num_sanity_val_steps=0,
                limit_val_batches=0,
                plugins=[SafeCheckpointIO()],
                callbacks=[self.keeper, Progress(self.out)],
                default_root_dir=self.folder.path,
            )

            def wish() -> None:
                self.keeper.interrupted = True
                self.out.print("Stopping after this step; Ctrl-C again to stop at once.")

            batches = batch_stream(learner.task, step, learner.settings.workers)
            with on_interrupt(wish):
                trainer.fit(learner, train_dataloaders=batches, ckpt_path=checkpoint, weights_only=True)
        return int(trainer.global_step)

    def _result(self, step: int) -> TrainingResult:
        record, settings, task = self.learner.record, self.learner.settings, self.learner.task
        curve = None
        if record.points:
            curve = self.folder.curve
            learnt = ", ".join(self.keeper.facts.get("files", ())) or self.folder.path.name
            draw_curve(record, f"{learnt[:60]}, {settings.cell} {settings.hidden_size}", curve)
        self.out.print(f"Stopped at step {step:,} after {duration(record.elapsed)} of training: {self.keeper.reason}.")
        return TrainingResult(
            task=task.name,
            folder=self.folder.path,
            validation=record.best,
            step=step,
            best_step=record.best_step,
            seconds=record.elapsed,
            stopped_because=self.keeper.reason,
            interrupted=self.keeper.interrupted,
            curve=curve,
            cell=cell_named(settings.cell),
        )


def _accelerator(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidValue("device is cuda, and torch finds no CUDA GPU here; use --device cpu")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
