"""The training step, as a Lightning module: loss, clipped gradient, learning rate, and what a checkpoint must hold."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import TrainingError
from ostinato.models.needs import need
from ostinato.models.states import State, map_state
from ostinato.tasks.settings import TrainingSettings
from ostinato.tasks.task import Task
from ostinato.training.record import Record
from ostinato.training.schedule import learning_rate, progress

LightningModule: Any = need("lightning.pytorch").LightningModule


class Learner(LightningModule):
    """One run's model, carried state, clock and record.

    A checkpoint holds everything the next step depends on: weights, AdamW's moments, the carried state, the random
    generators, and the record. The learning rate and the batch follow from the step's number.

    Args:
        task: the network and its data.
        settings: of the run.
        total_steps: where the run ends by steps, or None.
    """

    def __init__(self, task: Task, settings: TrainingSettings, total_steps: int | None) -> None:
        super().__init__()
        self.network = task.network
        self.task = task
        self.settings = settings
        self.total_steps = total_steps
        self.record = Record()
        self.carried: State = None
        self._random: dict[str, Any] | None = None
        self._clock = time.monotonic()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay
        )

    def tick(self) -> float:
        """Seconds of training so far; also moves the record's clock on."""
        now = time.monotonic()
        self.record.elapsed += now - self._clock
        self._clock = now
        return self.record.elapsed

    def progress(self) -> float:
        """How far the run is, 0 to 1."""
        return progress(self.global_step, self.total_steps, self.record.elapsed, self.settings.time_budget)

    def current_rate(self) -> float:
        """The learning rate of the step to come."""
        return learning_rate(self.settings.learning_rate, self.global_step, self.settings.warm_up, self.progress())

    def on_train_start(self) -> None:
        # Whatever drew random numbers between the start of the process and here must not be felt by a resumed run.
        if self._random is not None:
            torch.set_rng_state(self._random["cpu"])
            if torch.cuda.is_available() and self._random["cuda"]:
                torch.cuda.set_rng_state_all(self._random["cuda"])
        self.carried = map_state(lambda tensor: tensor.to(self.device), self.carried)
        self._clock = time.monotonic()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.tick()
        rate = self.current_rate()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss, self.carried = self.task.loss(batch, self.carried)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._diverged("loss", value)
        self.record.add_loss(value)
        return loss

    def configure_gradient_clipping(self, optimizer: Any, **_: Any) -> None:
        norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip))
        if not math.isfinite(norm):
            raise self._diverged("gradient", norm)

    def _diverged(self, what: str, value: float) -> TrainingError:
        return TrainingError(
            f"the {what} became {value} at step {self.global_step + 1:,}; training stopped before that step changed "
            f"a weight. The model folder and its last checkpoint are from before. Go on with a lower rate: "
            f"--resume --learning-rate {self.settings.learning_rate / 3:.2g}"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["ostinato"] = {
            "carried": map_state(lambda tensor: tensor.cpu(), self.carried),
            "record": self.record.state_dict(),
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            },
            "fingerprint": self.task.fingerprint,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        ours = checkpoint["ostinato"]
        self.carried = ours["carried"]
        self.record.load_state_dict(ours["record"])
        self._random = ours["random"]
