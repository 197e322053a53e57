"""A tag for every word: what the word is and how it is spelt → recurrent stack → a score for every tag.

A word that was never learnt still has a spelling: its ending, its capitals, its digits. A recurrent network reads each
word's characters in both directions, and its two last states stand beside the word's own vector. Words repeat, so the
distinct ones of a batch are spelt once each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ostinato.cells.cell import Cell
from ostinato.errors import InvalidValue
from ostinato.layers.recurrent import Recurrent
from ostinato.layers.sequences import last_step
from ostinato.models.crf import CRF

SPREAD = 0.2
"""Standard deviation of the vectors at the beginning."""


@dataclass(frozen=True)
class TaggingSize:
    """Everything that decides the shapes of a :class:`TaggingNetwork`, besides its cell.

    Args:
        words, characters: how many tokens each vocabulary has; the last one of ``words`` stands for unknown words.
        tags: K.
        word_size: width of a word's own vector.
        character_size: width of a character's vector, and of the states that read them, in each direction.
        hidden_size: H, in each direction.
        num_layers: of the stack over the words.
        dropout: of a word's vector, between layers, and of what the head reads.
        word_dropout: in training, so many words are read as if they were unknown.
        crf: tags are chosen together, by a conditional random field, instead of one by one.
        cell_options: passed to every cell.
    """

    words: int
    characters: int
    tags: int
    word_size: int = 100
    character_size: int = 32
    hidden_size: int = 150
    num_layers: int = 1
    dropout: float = 0.0
    word_dropout: float = 0.0
    crf: bool = False
    cell_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("words", "characters", "tags", "word_size", "character_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("dropout", "word_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidValue(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")


class Sentences(NamedTuple):
    """B sentences, the longest of T words, with U different spellings, the longest of S characters.

    Args:
        words: (T, B) numbers of the words, int64.
        lengths: (B,) words of each sentence.
        spellings: (T, B) the column of ``characters`` that spells each word.
        characters: (S, U) numbers of the characters, int64.
        character_lengths: (U,) characters of each spelling; a word may have none.
    """

    words: Tensor
    lengths: Tensor
    spellings: Tensor
    characters: Tensor
    character_lengths: Tensor

    def to(self, device: torch.device) -> Sentences:
        """The same on a device."""
        return Sentences(*(tensor.to(device) for tensor in self))


class TaggingNetwork(nn.Module):
    """Scores (T, B, K) of each tag for each word.

    ::

        c = characters' states at the last and at the first character of each word
        y = stack(dropout([embedding[word]; c[spelling]]))      Recurrent(cell_type, …, bidirectional=True)
        scores = head(dropout(y))                               softmax of them is p(tag), or a CRF reads them

    Words beside spellings, both recurrent: Plank, Søgaard and Goldberg 2016; with a CRF above: Lample et al. 2016.

    >>> from ostinato.cells.library.gru import GRUCell
    >>> network = TaggingNetwork(TaggingSize(words=9, characters=7, tags=3, hidden_size=4), GRUCell)
    >>> words, spellings = torch.tensor([[8], [1]]), torch.tensor([[0], [0]])
    >>> batch = Sentences(words, torch.tensor([2]), spellings, torch.tensor([[5], [6], [5]]), torch.tensor([3]))
    >>> network(batch).shape
    torch.Size([2, 1, 3])

    Args:
        size: the widths, the number of layers, dropout, and whether there is a CRF.
        cell_type: the cell of every layer.
    """

    def __init__(self, size: TaggingSize, cell_type: type[Cell], *, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.size = size
        self.cell_type = cell_type
        self.words = nn.Embedding(size.words, size.word_size, device=device)
        self.characters = nn.Embedding(size.characters, size.character_size, device=device)
        for table in (self.words, self.characters):
            # Of torch's own spread, 1, the vectors drown what the states say for the first epochs.
            nn.init.normal_(table.weight, std=SPREAD)
        self.spelling = Recurrent(
            cell_type,
            size.character_size,
            size.character_size,
            bidirectional=True,
            device=device,
            **size.cell_options,
        )
        self.stack = Recurrent(
            cell_type,
            size.word_size + self.spelling.output_size,
            size.hidden_size,
            size.num_layers,
            bidirectional=True,
            dropout=size.dropout if size.num_layers > 1 else 0.0,
            device=device,
            **size.cell_options,
        )
        self.head = nn.Linear(self.stack.output_size, size.tags, device=device)
        self.crf = CRF(size.tags, device=device) if size.crf else None
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, batch: Sentences) -> Tensor:
        """(T, B, K) the scores; past a sentence's end they mean nothing."""
        return self.head(self.dropout(self.features(batch)))

    def features(self, batch: Sentences) -> Tensor:
        """(T, B, 2·H) the stack's output, zero past a sentence's end."""
        words = batch.words
        if self.training and self.size.word_dropout > 0:
            forgotten = torch.rand(words.shape, device=words.device) < self.size.word_dropout
            words = words.masked_fill(forgotten, self.size.words - 1)
        read, _ = self.spelling(self.characters(batch.characters), lengths=batch.character_lengths)
        spelt = last_step(read, batch.character_lengths, 2)
        x = torch.cat((self.words(words), F.embedding(batch.spellings, spelt)), dim=2)
        output, _ = self.stack(self.dropout(x), lengths=batch.lengths)
        return output

    def encode(self, batch: Sentences) -> Tensor:
        """(B, 2·H) each sentence as a vector: the stack's features at its two ends."""
        return last_step(self.features(batch), batch.lengths, 2)

    def surprise(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """(B,) for each sentence −ln p(its tags).

        Args:
            scores: (T, B, K) of :meth:`forward`.
            tags: (T, B) the right tags, int64; past a sentence's end any tag's number.
            lengths: (B,) words of each sentence.
        """
        if self.crf is not None:
            return -self.crf(scores, tags, lengths)
        inside = torch.arange(len(tags), device=tags.device).unsqueeze(1) < lengths
        return F.cross_entropy(scores.movedim(2, 1), tags, reduction="none").masked_fill(~inside, 0).sum(0)

    def decide(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """(T, B) the tags by these scores: each word's likeliest, or with a CRF the likeliest tagging of a sentence."""
        return scores.argmax(2) if self.crf is None else self.crf.decode(scores, lengths)[0]

    def probabilities(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """(T, B, K) the probability of each tag for each word; with a CRF its marginal over all taggings."""
        return scores.softmax(2) if self.crf is None else self.crf.marginals(scores, lengths)
