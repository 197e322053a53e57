"""A task that is as small as can be: rows of numbers, of which the model is to learn the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ostinato.layers.recurrent import Recurrent
from ostinato.models.cell_names import cell_named, name_of_cell
from ostinato.models.evaluation import evaluating
from ostinato.models.reader import WIDEST
from ostinato.setting import setting
from ostinato.tasks.settings import TrainingSettings
from ostinato.tasks.task import Prepared, Score
from ostinato.tasks.trial import constructed


@dataclass(frozen=True, kw_only=True)
class ToySettings(TrainingSettings):
    main: Literal["loss", "r2"] = setting("loss", "Which figure decides.", "Toy")
    hidden_size: int = setting(6, "Width.", "Model", at_least=1)
    split_by_seed: bool = setting(False, "Whether the seed decides the split, as it never should.", "Toy")


class ToyNetwork(nn.Module):
    def __init__(self, cell, hidden_size, dropout, device=None):
        super().__init__()
        self.hidden_size, self.cell_type, self.dropout_part = hidden_size, cell, dropout
        self.stack = Recurrent(cell, 1, hidden_size, device=device)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, 1, device=device)

    def forward(self, x):
        """(T, B) → (B,)"""
        output, _ = self.stack(x.unsqueeze(2))
        return self.head(self.dropout(output[-1])).squeeze(1)


class ToyModel:
    kind = "toy"

    def __init__(self, network, training):
        self.network, self.training = network, training

    def content(self):
        network = self.network
        name = name_of_cell(network.cell_type)
        return {"cell": name, "hidden_size": network.hidden_size, "dropout": network.dropout_part}

    @classmethod
    def from_content(cls, content, training, read, cell, device):
        width, dropout = read.whole(content, "hidden_size", WIDEST), read.fraction(content, "dropout")
        return cls(ToyNetwork(cell, width, dropout, device), training)

    def scores(self, x):
        with evaluating(self.network):
            return self.network(x.t())

    def from_scores(self, scores):
        return scores.tolist()

    def predict(self, x):
        return self.from_scores(self.scores(x))

    def encode(self, x):
        with evaluating(self.network):
            return self.network.stack(x.t().unsqueeze(2))[0][-1]


class ToyTask:
    name = "toy"
    fingerprint = "of the numbers"
    batches_per_epoch = 5

    def __init__(self, network, rows, settings):
        self.network, self.settings = network, settings
        self.training, self.validation = rows[:-20], rows[-20:]

    def batch(self, step):
        generator = torch.Generator().manual_seed(self.settings.seed * 1000 + step)
        chosen = self.training[torch.randperm(len(self.training), generator=generator)[: self.settings.batch_size]]
        return chosen.t().contiguous(), chosen.mean(1)

    def loss(self, batch, state):
        x, y = batch
        return nn.functional.mse_loss(self.network(x), y), None

    def validate(self):
        y = self.validation.mean(1)
        with evaluating(self.network):
            loss = nn.functional.mse_loss(self.network(self.validation.t()), y)
        figures = {"loss": loss, "r2": 1 - loss / y.var(correction=0)}
        return Score(figures, self.settings.main, higher_is_better=self.settings.main == "r2")

    def finished(self, training):
        return ToyModel(self.network, training)


class ToyKind:
    name, model_kind, settings = "toy", "toy", ToySettings

    def recognise(self, preview):
        return None

    def prepare(self, files, settings):
        rows = torch.tensor([[float(word) for word in line.split()] for line in files[0].read_text().splitlines()])
        cell = cell_named(settings.cell)
        network = constructed(lambda: ToyNetwork(cell, settings.hidden_size, settings.dropout), settings.cell)
        task = ToyTask(network, rows, settings)
        y = task.validation.mean(1)
        return Prepared(
            task=task,
            notes=(f"{len(rows)} rows.",),
            split={"seed": settings.seed} if settings.split_by_seed else {"last": 20},
            baselines=lambda: {"zero": {"loss": float(y.square().mean())}},
            test=lambda model: {"loss": float((torch.tensor(model.predict(task.validation)) - y).square().mean())},
            part="validation",
        )


TASK = ToyKind()
