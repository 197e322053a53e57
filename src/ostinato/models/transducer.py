"""A trained transducer: texts in, texts out, and where it looked while it wrote them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self, overload

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.data.tokens import SplitTokens, Tokens, tokens_from_json
from ostinato.data.vocabulary import Vocabulary
from ostinato.errors import InvalidType, InvalidValue, ModelFolderError
from ostinato.models.attention_picture import Attended
from ostinato.models.beam import Hypothesis, Search, beam_search
from ostinato.models.cell_names import name_of_cell
from ostinato.models.evaluation import evaluating
from ostinato.models.reader import DEEPEST, LONGEST, WIDEST, Reader
from ostinato.models.states import map_state
from ostinato.models.text_rows import FREE_TOKENS, in_batches, padded, shown, unknown_of
from ostinato.models.transduction_network import Decoding, TransductionNetwork
from ostinato.models.transduction_size import ATTENTIONS, FEEDS, TransductionSize

TOKENS = 1 << 14
"""So many tokens, those of all beams together, are read side by side at most; a longer text is alone."""

LONGEST_RATIO = 1e6
"""Bound of the target's length a source token that is believed."""

END = "■"
"""Stands for the end of a sequence where tokens are shown."""


class Written(NamedTuple):
    """One answer.

    Args:
        text: what was written.
        score: ln p of its tokens, divided by their number to the power of ``length_power``; the highest is best.
        complete: whether the model ended it; otherwise it was cut at the greatest length allowed.
    """

    text: str
    score: float
    complete: bool


@dataclass(frozen=True)
class Transducer:
    """A network with the tokens of both sides: what :func:`ostinato.load` returns for a transducer's folder.

    Args:
        network: the model proper, an ordinary ``nn.Module``.
        source_tokens, target_tokens: texts ↔ numbers.
        ratio: target tokens for each source token that are allowed, besides ten: the most that training needed.
        longest: tokens of the longest source that was learnt from.
        columns: what stands where in the files it learnt from: ``source`` and ``target``, each a column's name.
        training: figures of the run that made it.

    Example:
        >>> from ostinato.cells.library.lstm import LSTMCell
        >>> from ostinato.data.tokens import build_tokens
        >>> tokens = build_tokens(["abc"], "characters")
        >>> network = TransductionNetwork(TransductionSize(tokens.size, tokens.size), LSTMCell)
        >>> transducer = Transducer(network, tokens, tokens)
        >>> type(transducer.predict("cab")), len(transducer.predict(["a", "bc"]))
        (<class 'str'>, 2)
    """

    network: TransductionNetwork
    source_tokens: Tokens
    target_tokens: Tokens
    ratio: float = 1.0
    longest: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    kind: ClassVar[str] = "transducer"

    def content(self) -> dict[str, Any]:
        """All that rebuilds it besides the weights."""
        size = self.network.size
        return {
            "cell": name_of_cell(self.network.cell_type),
            "hidden_size": size.hidden_size,
            "num_layers": size.num_layers,
            "embedding_size": size.embedding_size,
            "attention": size.attention,
            "feed": size.feed,
            "shared": size.shared,
            "tied": size.tied,
            "dropout": size.dropout,
            "cell_options": size.cell_options,
            "ratio": self.ratio,
            "longest": self.longest,
            "columns": self.columns,
            "source_tokens": self.source_tokens.to_json(),
            "target_tokens": self.target_tokens.to_json(),
        }

    @classmethod
    def from_content(
        cls, content: dict[str, Any], training: dict[str, Any], read: Reader, cell: type[Cell], device: str | None
    ) -> Self:
        """An untrained network of that content.

        Raises:
            ModelFolderError: an entry is missing, of the wrong type, or out of bounds.
        """
        source, target = (_tokens(content, name, read) for name in ("source_tokens", "target_tokens"))
        columns = read.table(content, "columns")
        try:
            size = TransductionSize(
                source_size=source.size,
                target_size=target.size,
                hidden_size=read.whole(content, "hidden_size", WIDEST),
                num_layers=read.whole(content, "num_layers", DEEPEST),
                embedding_size=read.whole(content, "embedding_size", WIDEST),
                attention=read.one_of(content, "attention", ATTENTIONS),
                feed=read.one_of(content, "feed", FEEDS),
                shared=read.flag(content, "shared"),
                tied=read.flag(content, "tied"),
                dropout=read.fraction(content, "dropout"),
                cell_options=read.options(content, "cell_options"),
            )
        except InvalidValue as error:
            raise ModelFolderError(f"{read.path}: {error}") from error
        ratio = read.number(content, "ratio", 0, LONGEST_RATIO)
        longest = read.whole(content, "longest", LONGEST, least=0)
        network = TransductionNetwork(size, cell, device=device)
        return cls(
            network, source, target, ratio, longest, {name: read.text(columns, name) for name in columns}, training
        )

    @overload
    def predict(self, sources: str, *, width: int = ..., length_power: float = ...) -> str: ...
    @overload
    def predict(self, sources: list[str], *, width: int = ..., length_power: float = ...) -> list[str]: ...
    def predict(self, sources: Any, *, width: int = 5, length_power: float = 1.0) -> Any:
        """What the model writes for a text, or for each of a list: the best of a beam search.

        Args:
            sources: a text, or a list of texts. Characters or words that training did not have are read as one
                common unknown token.
            width: beginnings that are kept while it writes; 1 is greedy, and the fastest.
            length_power: 1 compares ln p a token, 0 compares ln p, which prefers short texts.

        Raises:
            InvalidType: something else than texts.
            InvalidValue: ``width`` or ``length_power`` outside its rule.
        """
        best = [found[0].text for found in self.written(_texts(sources), Search(width, length_power))]
        return best[0] if isinstance(sources, str) else best

    def best(self, sources: Any, count: int = 5, *, width: int | None = None, length_power: float = 1.0) -> Any:
        """The ``count`` best answers with their scores: a list of :class:`Written`, the best first; for a list of
        texts a list of such lists. Fewer than ``count`` if the search found no more.

        Args:
            sources: as for :meth:`predict`.
            count: at least 1.
            width: as for :meth:`predict`; ``count`` if not given, and never less.
            length_power: as for :meth:`predict`.

        Raises:
            InvalidType, InvalidValue: as for :meth:`predict`.
        """
        if type(count) is not int or count < 1:
            raise InvalidValue(f"count must be a whole number of at least 1, got {count!r}")
        search = Search(max(count, count if width is None else width), length_power, count)
        found = self.written(_texts(sources), search)
        return found[0] if isinstance(sources, str) else found

    def written(self, sources: Sequence[str], search: Search) -> list[list[Written]]:
        """For each text the answers that a search finds, the best first, at least one."""
        rows = [self.source_tokens.encode(text) for text in sources]
        answers: list[list[Written]] = [[]] * len(rows)
        for chosen in in_batches(rows, TOKENS // search.width):
            with evaluating(self.network):
                found = self._search([rows[row] for row in chosen], search)
            for row, hypotheses in zip(chosen, found, strict=True):
                answers[row] = [
                    Written(self.target_tokens.decode(one.tokens), one.score, one.complete) for one in hypotheses
                ]
        return answers

    def attend(self, source: str, target: str | None = None) -> Attended:
        """Where the decoder looks while it writes.

        Args:
            source: is read.
            target: is written; what :meth:`predict` gives if not said.

        Raises:
            InvalidValue: the model has no attention.
        """
        if self.network.attention is None:
            raise InvalidValue("this model was trained with attention none, so it looks nowhere; train it with another")
        (source,) = _texts(source)
        target = self.predict(source) if target is None else target
        ours, theirs = self.source_tokens.encode(source), self.target_tokens.encode(target)
        with evaluating(self.network):
            memory, decoding = self.network.read(*self._sources([ours]))
            start = torch.tensor([[self.network.size.start], *([token] for token in theirs)], device=self._device)
            _, _, weights = self.network.write(start, memory, decoding)
        assert weights is not None
        return Attended(
            weights[0].cpu(),
            (*shown(self.source_tokens, source), END),
            (*shown(self.target_tokens, target), END),
        )

    def encode(self, sources: Any) -> Tensor:
        """(N, 2·H) each text as a vector, the encoder's last state in both directions; (2·H,) for a single text.

        Raises:
            InvalidType: something else than texts.
        """
        rows = [self.source_tokens.encode(text) for text in _texts(sources)]
        vectors = torch.zeros(len(rows), self.network.encoder.output_size)
        for chosen in in_batches(rows, TOKENS):
            with evaluating(self.network):
                vectors[chosen] = self.network.encode(*self._sources([rows[row] for row in chosen])).cpu()
        return vectors[0] if isinstance(sources, str) else vectors

    @property
    def _device(self) -> torch.device:
        return self.network.target_embedding.weight.device

    def _sources(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """(S, B) the sources, each closed by the end, and their lengths (B,)."""
        end = self.network.size.source_end
        closed = [[*row, end] for row in rows]
        return padded(closed, end).to(self._device), torch.tensor([len(row) for row in closed], device=self._device)

    def _search(self, rows: Sequence[Sequence[int]], search: Search) -> list[list[Hypothesis]]:
        size = self.network.size
        memory, decoding = self.network.read(*self._sources(rows))

        def step(tokens: Tensor, state: Decoding) -> tuple[Tensor, Decoding]:
            scores, state, _ = self.network.write(tokens.unsqueeze(0), memory, state)
            return scores[0], state

        limits = [FREE_TOKENS + math.ceil(self.ratio * len(row)) for row in rows]
        return beam_search(
            step,
            _select,
            decoding,
            torch.tensor(limits, device=self._device),
            size.start,
            size.end,
            search,
            unknown_of(self.target_tokens),
        )


def _tokens(content: dict[str, Any], name: str, read: Reader) -> Tokens:
    tokens = tokens_from_json(read.table(content, name), f"{read.path}: {name}")
    if isinstance(tokens, SplitTokens) and not isinstance(tokens.vocabulary, Vocabulary):
        raise ModelFolderError(f"{read.path}: {name} must be known tokens, got a hash, from which no text can be made")
    return tokens


def _select(decoding: Decoding, rows: Tensor) -> Decoding:
    fed = None if decoding.fed is None else decoding.fed.index_select(1, rows)
    return Decoding(map_state(lambda state: state.index_select(1, rows), decoding.state), fed)


def _texts(given: Any) -> list[str]:
    several = [given] if isinstance(given, str) else given
    if not isinstance(several, Sequence) or isinstance(several, bytes):
        raise InvalidType(f"sources must be a text or a list of texts, got {type(given).__name__}")
    for number, text in enumerate(several):
        if not isinstance(text, str):
            raise InvalidType(f"every source must be a str, got {type(text).__name__} as source {number + 1}")
    return list(several)
