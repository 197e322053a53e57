"""A trained language model together with its vocabulary: text in, text out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostinato.models.evaluation import Evaluation, evaluate
from ostinato.models.language_model import LanguageModel
from ostinato.models.needs import need
from ostinato.models.sampling import Sampling, write
from ostinato.models.text_file import existing_file, token_pieces
from ostinato.models.vocabulary import Vocabulary, token_dtype


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
        return self.vocabulary.decode(write(self.network, tokens, length, sampling, never=self.vocabulary.unknown))

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
            length: tokens to write: characters, or bytes for a model of bytes.
            temperature: below 1 safer, above 1 wilder, 0 always the likeliest.
            top_k: choose among the k likeliest only.
            top_p: choose among the fewest whose probabilities sum to at least p.
            seed: the same seed gives the same text.

        Raises:
            DataError: the prompt has characters the model does not know.
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
        return self.evaluate_tokens(tokens)

    def evaluate_tokens(self, tokens: Any) -> Evaluation:
        """The same for token numbers: a numpy array (N,)."""
        return evaluate(self.network, tokens, self.vocabulary.unknown, self.vocabulary.unit)

    def _evaluate_file(self, path: Path) -> Evaluation:
        numpy = need("numpy")
        with tempfile.TemporaryFile() as file:
            for piece in token_pieces(path, self.vocabulary):
                file.write(piece)
            file.flush()
            return self.evaluate_tokens(numpy.memmap(file, dtype=token_dtype(self.vocabulary.size), mode="r"))
