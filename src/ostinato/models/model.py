"""What a model is, whatever it does: a network with all that is needed to use it on a user's own objects, and to save.

A new kind of model is a class of this form, a file under ``models/``, and its name in ``kinds.py``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self

from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.models.reader import Reader


class Model(Protocol):
    """A trained model: what :func:`ostinato.load` gives. A plain class that has a network, and is none.

    Its folder holds ``content()`` as JSON and the network's ``state_dict()`` as safetensors, and nothing else.
    """

    kind: ClassVar[str]

    @property
    def network(self) -> nn.Module:
        """The network proper."""
        ...

    @property
    def training(self) -> dict[str, Any]:
        """What is known of its making, for JSON: the figures, the split, the notes."""
        ...

    def content(self) -> dict[str, Any]:
        """All that rebuilds it besides the weights, for JSON.

        ``"cell"`` must be there, as ``name_of_cell`` gives it. ``"num_layers"``, where there is one, is compared with
        the number of tensors before anything is built.
        """
        ...

    @classmethod
    def from_content(
        cls, content: dict[str, Any], training: dict[str, Any], read: Reader, cell: type[Cell], device: str | None
    ) -> Self:
        """The model with an untrained network, from what ``content()`` gave.

        A folder may come from a stranger: every entry is taken through ``read``, with bounds, and nothing is allocated
        besides the network, on ``device``. It is called twice: with ``device="meta"``, to compare shapes with the
        weights' file, and again to build.

        Args:
            content: as it stands in ``config.json``.
            training: likewise, unchecked.
            read: takes entries by type and bounds, and names the file in its messages.
            cell: the class that ``content["cell"]`` names.
            device: for every parameter and buffer of the network.

        Raises:
            ModelFolderError: an entry is missing, of the wrong type or out of bounds.
        """
        ...

    def predict(self, x: Any) -> Any:
        """What the model says of Python objects: a text, a list of texts, tensors, arrays, lists of words."""
        ...


class Averageable(Protocol):
    """A model of which several can be joined to an :class:`~ostinato.models.ensemble.Ensemble`.

    ``predict(x)`` is ``from_scores(scores(x))`` for all but models that decide on a whole sequence at once. Whatever
    evaluates or predicts for a task calls these two, or ``predict``, and otherwise reads attributes only: then a model
    and an ensemble serve alike.
    """

    def scores(self, x: Any, **options: Any) -> Tensor | list[Tensor]:
        """What may be averaged over models: probabilities (N, classes), values (N, targets), quantiles (N, steps, Q).

        Returns:
            One tensor; or a list of N, one a sequence, where sequences have answers of different lengths.
        """
        ...

    def from_scores(self, scores: Any) -> Any:
        """What ``predict`` returns, from scores: of this model, or the mean of those of several."""
        ...

    def encode(self, x: Any) -> Tensor:
        """(N, P) each sequence as a vector: the final state."""
        ...
