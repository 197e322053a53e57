"""What happens between two steps: validate, keep the best weights, write checkpoints, and decide whether to stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from ostinato.errors import TrainingError
from ostinato.models.folder import save
from ostinato.models.needs import need
from ostinato.tasks.task import Score
from ostinato.training.learner import Learner
from ostinato.training.run_folder import RunFolder

Callback: Any = need("lightning.pytorch").Callback


class Keeper(Callback):
    """Runs after every step.

    The order matters for a run that is killed: the model first, the checkpoint last. A checkpoint is never ahead of
    the model beside it, and a model that is ahead is written again, the same, when the run is resumed.

    Args:
        folder: where the model and the checkpoint go.
        facts: what is stored with the model besides the run's own figures.
    """

    def __init__(self, folder: RunFolder, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts
        self.interrupted = False
        self.reason = ""

    def on_train_batch_end(self, trainer: Any, learner: Learner, outputs: Any, batch: Any, batch_idx: int) -> None:
        learner.tick()
        settings, step = learner.settings, learner.global_step
        self.reason = self._reason_to_stop(learner)
        # An interruption adds no validation of its own: the resumed run must have the past of one never interrupted.
        validates = step % settings.validate_every == 0 or bool(self.reason and not self.interrupted)
        if validates:
            self.validate(learner)
            self.reason = self.reason or patience_lost(learner)
        elif self.interrupted and not learner.record.points:
            self.save(learner, None)
        if validates or self.reason or step % settings.checkpoint_every == 0:
            self.checkpoint(trainer, learner)
        trainer.should_stop = bool(self.reason)

    def validate(self, learner: Learner) -> None:
        """Validates, and writes the model if it is the best so far."""
        rate = learner.current_rate()
        score = learner.task.validate()
        learner.tick()
        if learner.record.add_validation(learner.global_step, rate, score):
            self.save(learner, score)
        with self._disk():
            learner.record.write_csv(self.folder.metrics)

    def save(self, learner: Learner, score: Score | None) -> None:
        """Replaces the model by the present weights."""
        training = {**self.facts, **figures(learner, score)}
        with self._disk():
            save(learner.task.finished(training), self.folder.path)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"the model could not be written to {self.folder.path} ({error}); the one from before and its "
                f"checkpoint are intact. Make room, and go on with --resume"
            ) from error

    def checkpoint(self, trainer: Any, learner: Learner) -> None:
        """Replaces the checkpoint."""
        if not all(bool(torch.isfinite(parameter).all()) for parameter in learner.network.parameters()):
            raise TrainingError(
                f"a weight became infinite at step {learner.global_step:,}; the last good checkpoint is kept. "
                f"Go on with a lower rate: --resume --learning-rate {learner.settings.learning_rate / 3:.2g}"
            )
        trainer.save_checkpoint(self.folder.checkpoint)

    def _reason_to_stop(self, learner: Learner) -> str:
        return "interrupted" if self.interrupted else used_up(learner, learner.global_step)


def used_up(learner: Learner, step: int) -> str:
    """Why a run that has done ``step`` steps has no more to do, or nothing."""
    settings = learner.settings
    if learner.total_steps is not None and step >= learner.total_steps:
        return "all steps done"
    if settings.time_budget is not None and learner.record.elapsed >= settings.time_budget:
        return "time budget used"
    return ""


def patience_lost(learner: Learner) -> str:
    """Why a run stops early, or nothing."""
    patience = learner.settings.patience
    if patience and learner.record.without_better >= patience:
        return f"no better validation {patience} times in a row"
    return ""


def figures(learner: Learner, score: Score | None) -> dict[str, Any]:
    """What ``config.json`` says of the training."""
    return {
        "task": learner.task.name,
        "step": learner.global_step,
        "seconds": round(learner.record.elapsed, 3),
        "main": None if score is None else score.main,
        "validation": None if score is None else {**score.figures, **score.about},
    }
