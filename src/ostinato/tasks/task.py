"""What a task is: to the trainer a loss and a score, to the commands a way from files to figures and predictions.

A new task is a package here: a ``kind.py`` whose ``TASK`` is a :class:`TaskKind`, its name in the registry, and its
model under ``models/``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn

from ostinato.models.model import Model
from ostinato.models.states import State
from ostinato.tasks.settings import TrainingSettings

if TYPE_CHECKING:
    from ostinato.data.preview import Preview


@dataclass(frozen=True)
class Score:
    """How good the present weights are, on the validation part.

    Args:
        figures: all that was measured; each becomes a column of ``metrics.csv``.
        main: the figure that decides which weights are kept.
        higher_is_better: of the main figure.
        of_loss: the main figure divided by the training loss, where it is the same thing in another unit, so that the
            learning curve shows both on one axis: 1 / ln 2 for bits.
        about: what else is worth storing with the figures: counts, units.

    >>> str(Score({"loss": 0.41237, "accuracy": 0.875}, "accuracy", higher_is_better=True))
    'accuracy 0.8750, loss 0.4124'
    """

    figures: dict[str, float]
    main: str
    higher_is_better: bool
    of_loss: float | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Checkpoints and JSON hold plain numbers only, and figures often come from NumPy.
        object.__setattr__(self, "figures", {name: float(value) for name, value in self.figures.items()})

    @property
    def value(self) -> float:
        """The main figure."""
        return self.figures[self.main]

    def __str__(self) -> str:
        names = [self.main, *(name for name in self.figures if name != self.main)]
        return ", ".join(f"{name} {self.figures[name]:.4f}" for name in names)


class Task(Protocol):
    """A network and the data it learns from, as the trainer sees them."""

    name: ClassVar[str]

    @property
    def network(self) -> nn.Module:
        """What learns. It is untrained, on the CPU; the trainer moves it, and its batches, to the device."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the data: a resumed run must find the same."""
        ...

    @property
    def batches_per_epoch(self) -> int:
        """How many batches read all of the training part about once."""
        ...

    def batch(self, step: int) -> Any:
        """Training batch number ``step`` (0, 1, …), on the CPU.

        A pure function of the settings' seed and the step, so that a resumed run is exact. Tensors, or dataclasses,
        tuples, lists and dicts of them.
        """
        ...

    def loss(self, batch: Any, state: State) -> tuple[Tensor, State]:
        """The loss of a batch, a scalar, and what the next one is to be given as ``state``.

        Args:
            batch: on the network's device.
            state: None at first, and where nothing is carried from batch to batch.

        Returns:
            The loss; and the state, cut from the graph, or None.
        """
        ...

    def validate(self) -> Score:
        """The score of the present weights; the network is left in the mode in which it was."""
        ...

    def finished(self, training: dict[str, Any]) -> Model:
        """The model with the present weights, to be saved; ``training`` is what is noted about how it was made."""
        ...


@dataclass(frozen=True)
class Prepared:
    """Files made ready to learn from.

    Args:
        task: what the trainer trains.
        notes: lines to print before training: what was guessed, counted, dropped, kept together.
        split: how the parts were cut, for JSON; stored with the model.
        baselines: name → figures of simple methods, on the part that ``part`` names.
        test: the figures of a model, on the same part; None where the validation's figures say it all. The model may
            be an :class:`~ostinato.models.ensemble.Ensemble` of such models.
        part: ``"test"``, or ``"validation"`` where there is no test part.
    """

    task: Task
    notes: tuple[str, ...]
    split: dict[str, Any]
    baselines: Callable[[], dict[str, dict[str, float]]]
    test: Callable[[Any], dict[str, float]] | None
    part: str


class TaskKind(Protocol):
    """What the commands need to know of a task."""

    @property
    def name(self) -> str:
        """As after ``--task``."""
        ...

    @property
    def model_kind(self) -> str:
        """The kind of its models, a key of :data:`ostinato.models.kinds.KINDS`."""
        ...

    @property
    def settings(self) -> type[TrainingSettings]:
        """Its settings' class."""
        ...

    def recognise(self, preview: Preview) -> str | None:
        """Why files that look like this are for this task, in words; None if they are not."""
        ...

    def prepare(self, files: Sequence[Path], settings: Any) -> Prepared:
        """Reads and checks the files, cuts them into parts, and builds the network and the task.

        Random numbers may be drawn from torch's generator, which stands at ``settings.seed``.
        """
        ...

    def evaluate(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> dict[str, Any]:
        """The model's figures on files that have the targets, for JSON."""
        ...

    def predict(self, model: Any, files: Sequence[Path], options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The rows with what the model says of each, in the files' order, one after another as they are read.

        Where ``options["start"]`` is given, so many rows from the first on are left out: they were written before a
        run was killed.
        """
        ...
