"""A trained language model together with its vocabulary: text in, text out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ostinato.cells.cell import Cell
from ostinato.errors import DataError
from ostinato.models.cell_names import name_of_cell
from ostinato.models.evaluation import Evaluation, evaluate, evaluating
from ostinato.models.language_model import INPUTS, LanguageModel, LanguageModelSize
from ostinato.models.needs import need
from ostinato.models.reader import DEEPEST, WIDEST, Reader
from ostinato.models.regularisation import PARTS, Regularisation
from ostinato.models.sampling import Sampling, write
from ostinato.models.text_file import existing_file, texts, token_pieces
from ostinato.models.vocabulary import Vocabulary, token_dtype, vocabulary_from_content

SHOWN = 5
"""How many of the likeliest tokens a prediction names."""


@dataclass(frozen=True)
class TextModel:
    """What :func:`ostinato.load` returns.

    Args:
        network: the model proper, an ordinary ``nn.Module``.
        vocabulary: text ↔ token numbers.
        training: figures of the run that made it, as they stand in ``config.json``.

    Example:
        >>> model = ostinato.load("ostinato-demo")                              # doctest: +SKIP
        >>> model.sample("The ", length=40, temperature=0.7, seed=1)            # doctest: +SKIP
        'statement is a set of the expression and '
        >>> model.evaluate(Path("other.txt")).bits                              # doctest: +SKIP
        2.31
    """

    network: LanguageModel
    vocabulary: Vocabulary
    training: dict[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "language-model"

    def content(self) -> dict[str, Any]:
        """All that rebuilds the model besides its weights, for ``config.json``."""
        size = self.network.size
        special: dict[str, Any] = {"tied": True} if size.tied else {}
        if size.regularisation is not None:
            special["regularisation"] = asdict(size.regularisation)
        return {
            "cell": name_of_cell(self.network.cell_type),
            "hidden_size": size.hidden_size,
            "num_layers": size.num_layers,
            "input": size.input,
            "embedding_size": size.embedding_size,
            "dropout": size.dropout,
            "cell_options": size.cell_options,
            **special,
            "tokens": self.vocabulary.content(),
        }

    @classmethod
    def from_content(
        cls, content: dict[str, Any], training: dict[str, Any], read: Reader, cell: type[Cell], device: str | None
    ) -> Self:
        """The model with untrained weights; arguments and errors as for every :class:`~ostinato.models.model.Model`."""
        vocabulary = vocabulary_from_content(read.table(content, "tokens"), read)
        size = LanguageModelSize(
            vocabulary_size=vocabulary.size,
            hidden_size=read.whole(content, "hidden_size", WIDEST),
            num_layers=read.whole(content, "num_layers", DEEPEST),
            input=read.one_of(content, "input", INPUTS),
            embedding_size=read.whole(content, "embedding_size", WIDEST),
            dropout=read.fraction(content, "dropout"),
            cell_options=read.options(content, "cell_options"),
            tied="tied" in content and read.flag(content, "tied"),
            regularisation=_regularisation(read, content),
        )
        return cls(LanguageModel(size, cell, device=device), vocabulary, training)

    def predict(self, x: str | list[str]) -> Any:
        """The likeliest next tokens after a text, likeliest first, each with its probability.

        Args:
            x: a text, or several.

        Returns:
            Five tokens → probability; for several texts a list of these.

        Raises:
            DataError: a text has characters the model does not know.
        """
        if isinstance(x, str):
            return self._next(x)
        return [self._next(text) for text in x]

    def _next(self, text: str) -> dict[str, float]:
        tokens = self.vocabulary.encode_prompt(text) or [self.vocabulary.start]
        with evaluating(self.network):
            scores, _ = self.network(self._tensor(tokens).unsqueeze(1))
        probabilities = scores[-1, 0].float().softmax(0).cpu()
        if self.vocabulary.unknown is not None:
            probabilities[self.vocabulary.unknown] = 0
        found = probabilities.topk(min(SHOWN, len(probabilities)))
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        return {"".join(self.vocabulary.decode([token])): value for token, value in pairs if value > 0}

    def encode(self, x: list[str]) -> Tensor:
        """Each text as a vector: what the top layer gives after its last token.

        Args:
            x: N texts, none of them empty. Characters that the model does not know count as unknown.

        Returns:
            (N, H), on the CPU.

        Raises:
            DataError: a text is empty.
        """
        rows = [self._tensor(self.vocabulary.encode(text)) for text in x]
        if not rows or not all(map(len, rows)):
            raise DataError(f"texts to encode must not be empty, got {x[:3]!r}")
        lengths = torch.tensor([len(row) for row in rows])
        with evaluating(self.network):
            return self.network.encode(pad_sequence(rows), lengths).cpu()

    def _tensor(self, tokens: list[int]) -> Tensor:
        return torch.tensor(tokens, device=self.network.head.weight.device)

    def stream(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """What follows ``prompt``, piece by piece as it is written; the arguments are those of :meth:`sample`."""
        sampling = Sampling(temperature, top_k, top_p, seed)
        tokens = self.vocabulary.encode_prompt(prompt) or [self.vocabulary.start]
        written = write(self.network, tokens, length, sampling, never=self.vocabulary.unknown)
        return self.vocabulary.decode(written, after=prompt)

    def sample(
        self,
        prompt: str = "",
        length: int = 500,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> str:
        """What follows ``prompt`` (which is not repeated).

        Args:
            prompt: the text to go on from; without one, the model begins after a line end.
            length: tokens to write: characters, bytes, words or subwords, whatever the model reads.
            temperature: below 1 safer, above 1 wilder, 0 always the likeliest.
            top_k: choose among the k likeliest only.
            top_p: choose among the fewest whose probabilities sum to at least p.
            seed: the same seed gives the same text.

        Raises:
            DataError: the prompt has characters, or words, that the model does not know.
            InvalidValue: an argument is outside its range.
        """
        return "".join(self.stream(prompt, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed))

    def evaluate(self, text: str | Path) -> Evaluation:
        """How well the model predicts a text: nats and bits per token, and perplexity.

        Args:
            text: the text itself, or the :class:`~pathlib.Path` of a UTF-8 file, of any size.

        Raises:
            DataError: fewer than two tokens; no such file; a file that is not UTF-8.
        """
        if isinstance(text, Path):
            return self._evaluate_file(existing_file(text))
        numpy = need("numpy")
        tokens = numpy.array(self.vocabulary.encode(text), dtype=token_dtype(self.vocabulary.size))
        return self.evaluate_tokens(tokens, len(text) if self.vocabulary.by_line else None)

    def evaluate_tokens(self, tokens: Any, characters: int | None = None) -> Evaluation:
        """The same for token numbers, a numpy array (N,), of a text of so many characters."""
        return evaluate(self.network, tokens, self.vocabulary.unknown, self.vocabulary.unit, characters)

    def _evaluate_file(self, path: Path) -> Evaluation:
        numpy = need("numpy")
        with tempfile.TemporaryFile() as file:
            for piece in token_pieces(path, self.vocabulary):
                file.write(piece)
            file.flush()
            tokens = numpy.memmap(file, dtype=token_dtype(self.vocabulary.size), mode="r")
            return self.evaluate_tokens(tokens, sum(map(len, texts(path))) if self.vocabulary.by_line else None)


def _regularisation(read: Reader, content: dict[str, Any]) -> Regularisation | None:
    if "regularisation" not in content:
        return None
    found = read.table(content, "regularisation")
    parts = {name: read.fraction(found, name) for name in PARTS}
    return Regularisation(**parts, locked=read.flag(found, "locked"))
