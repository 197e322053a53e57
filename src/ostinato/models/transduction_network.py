"""Sequence to sequence: an encoder reads the source in both directions, a decoder writes the target and looks back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ostinato.cells.cell import Cell
from ostinato.errors import InvalidShape
from ostinato.layers.recurrent import Recurrent
from ostinato.layers.states import Network
from ostinato.models.attention import AdditiveAttention, Attention, MultiplicativeAttention, context, weigh
from ostinato.models.states import State
from ostinato.models.transduction_size import TransductionSize


class Memory(NamedTuple):
    """A batch of sources, read.

    Args:
        outputs: (S, B, 2·H) what the encoder put out at each place.
        keys: (S, B, ·) the attention's view of them; empty without attention.
        inside: (B, S) whether a place lies within its row.
    """

    outputs: Tensor
    keys: Tensor
    inside: Tensor


class Decoding(NamedTuple):
    """Where the decoder stands: its recurrent state, and what it is fed, (1, N, ·) or None."""

    state: State
    fed: Tensor | None


class TransductionNetwork(nn.Module):
    """Scores for the next target token, given the source and the target so far.

    ::

        memory, s_T = encoder(embed(source))              two directions, any cell, masked by the lengths
        s_0 = bridge(s_T)                                 both directions' last states, a linear map for each state
        y_t, s_t = decoder(embed(target_t-1), s_t-1)      any cell
        c_t = Σ_i softmax_i(score(y_t, memory_i)) memory_i
        h_t = tanh(W [c_t; y_t])                          scores = head(h_t)

    In this order (Luong, Pham and Manning 2015) the recurrence does not read the attention, and a known target is one
    call of the layer. ``feed="output"`` gives it h_t-1 besides the token (their input feeding), and
    ``feed="context"`` gives it c_t, looked up with y_t-1 (Bahdanau, Cho and Bengio 2015): both take a call for every
    target token, which is many times slower. Without attention the target is written from s_0 alone (Sutskever,
    Vinyals and Le 2014) and h_t = y_t.

    >>> from ostinato.cells.library.gru import GRUCell
    >>> network = TransductionNetwork(TransductionSize(11, 7, hidden_size=8, embedding_size=4), GRUCell)
    >>> source, target = torch.randint(11, (5, 2)), torch.randint(7, (3, 2))
    >>> network(source, torch.tensor([5, 2]), target).shape
    torch.Size([3, 2, 8])

    Args:
        size: the widths and the kind of attention.
        cell_type: the cell of the encoder and of the decoder.
        device: of the parameters.
    """

    def __init__(
        self, size: TransductionSize, cell_type: type[Cell], *, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.size = size
        self.cell_type = cell_type
        dropout = size.dropout if size.num_layers > 1 else 0.0
        options: dict[str, Any] = {"dropout": dropout, "device": device, **size.cell_options}
        self.target_embedding = nn.Embedding(size.target_size + 2, size.embedding_size, device=device)
        self.source_embedding: nn.Embedding | None = None
        if not size.shared:
            self.source_embedding = nn.Embedding(size.source_size + 1, size.embedding_size, device=device)
        self.encoder = Recurrent(
            cell_type, size.embedding_size, size.hidden_size, size.num_layers, bidirectional=True, **options
        )
        # h_t has the vectors' width where they also score it.
        width = size.embedding_size if size.tied else size.hidden_size
        fed = {"nothing": 0, "output": width, "context": self.encoder.output_size}[size.feed]
        self.decoder = Recurrent(cell_type, size.embedding_size + fed, size.hidden_size, size.num_layers, **options)
        self.bridge = _bridge(self.encoder, self.decoder, device)
        self.attention = self._attention(device)
        read = 0 if self.attention is None else self.encoder.output_size
        self.combine: nn.Linear | None = None
        if self.attention is not None or size.tied:
            self.combine = nn.Linear(read + self.decoder.output_size, width, bias=False, device=device)
        inner = self.decoder.output_size if self.combine is None else width
        self.head = nn.Linear(inner, size.target_size + 1, device=device) if not size.tied else None
        self.bias = nn.Parameter(torch.zeros(size.target_size + 1, device=device)) if size.tied else None
        self.dropout = nn.Dropout(size.dropout)

    def _attention(self, device: torch.device | str | None) -> Attention | None:
        query, memory = self.decoder.output_size, self.encoder.output_size
        if self.size.attention == "additive":
            return AdditiveAttention(query, memory, self.size.hidden_size, device=device)
        if self.size.attention == "multiplicative":
            return MultiplicativeAttention(query, memory, device=device)
        return None

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Scores along a known target (teacher forcing).

        Args:
            source: (S, B) token numbers, int64, each row closed by ``size.source_end``.
            lengths: (B,) places of each source, 0 to S; what stands past them is never read.
            target: (T, B) tokens of each target, the first of them ``size.start``.

        Returns:
            (T, B, target_size + 1): scores of the token that follows each.
        """
        memory, decoding = self.read(source, lengths)
        scores, _, _ = self.write(target, memory, decoding)
        return scores

    def read(self, source: Tensor, lengths: Tensor) -> tuple[Memory, Decoding]:
        """The encoder: what the decoder looks back at, and where it begins. Arguments as for :meth:`forward`."""
        outputs, final = self._encoded(source, lengths)
        inside = torch.arange(len(source), device=source.device) < lengths.unsqueeze(1)
        keys = outputs.new_zeros(0) if self.attention is None else self.attention.keys(outputs)
        state = self._crossed(final)
        return Memory(outputs, keys, inside), Decoding(self.decoder.state_shape.public(state), self._first_feed(state))

    def encode(self, source: Tensor, lengths: Tensor) -> Tensor:
        """(B, 2·H) each source's last state, forward and backward. Arguments as for :meth:`forward`."""
        outputs, _ = self._encoded(source, lengths)
        return self.encoder.last(outputs, lengths)

    def write(self, target: Tensor, memory: Memory, decoding: Decoding) -> tuple[Tensor, Decoding, Tensor | None]:
        """The decoder over tokens that are known.

        Args:
            target: (T, N) tokens. N may be W·B, W targets for each of B sources: those of source b stand together,
                from b·W on.
            memory: of B sources.
            decoding: where to go on from.

        Returns:
            Scores (T, N, target_size + 1), where the decoder stands then, and the attention's weights (N, T, S), or
            None without attention.
        """
        x = self.dropout(self.target_embedding(target))
        if decoding.fed is None:
            y, state = self.decoder(x, decoding.state)
            h, _, weights = self._looked(y, memory)
            return self._scores(h), Decoding(state, None), weights
        hs, every = [], []
        for x_t in x.split(1):
            h, decoding, weights = self._fed_step(x_t, memory, decoding)
            hs.append(h)
            every.append(weights)
        return self._scores(torch.cat(hs)), decoding, torch.cat(every, 1)

    def _fed_step(self, x: Tensor, memory: Memory, decoding: Decoding) -> tuple[Tensor, Decoding, Tensor]:
        """One step whose recurrence reads the attention; x (1, N, E)."""
        fed = decoding.fed
        assert fed is not None
        if self.size.feed == "output":
            y, state = self.decoder(torch.cat((x, fed), 2), decoding.state)
            h, _, weights = self._looked(y, memory)
            return h, Decoding(state, h), _present(weights)
        # The query is the output before this step, so the context can be part of the step's input.
        read, weights = self._context(fed, memory)
        y, state = self.decoder(torch.cat((x, read), 2), decoding.state)
        return self._combined(y, read), Decoding(state, y), weights

    def _encoded(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Any]:
        if lengths.shape != source.shape[1:]:
            raise InvalidShape(
                f"lengths must be ({source.shape[1]},) for {source.shape[1]} sources, got {lengths.shape}"
            )
        table = self.target_embedding if self.source_embedding is None else self.source_embedding
        return self.encoder(self.dropout(table(source)), lengths=lengths)

    def _crossed(self, final: Any) -> Network:
        """The encoder's last states as the decoder's first: for each state a linear map of both directions' values."""
        shape = self.encoder.state_shape
        network = (final,) if len(shape.names) == 1 else final
        maps = iter(self.bridge)
        layers = []
        for forward, backward in shape.split(network):
            pairs = zip(forward, backward, strict=True)
            layers.append((tuple(next(maps)(torch.cat(pair, 1)) for pair in pairs),))
        return self.decoder.state_shape.join(layers)

    def _first_feed(self, state: Network) -> Tensor | None:
        """Before the first step there is no h; and the first query is the state that will be put out, where it is."""
        if self.size.feed == "nothing":
            return None
        first: Tensor = self.decoder.state_shape.split(state)[-1][0][0].unsqueeze(0)
        width = self.decoder.output_size
        if self.size.feed == "context" and not self.cell_type.separate_output:
            return first
        if self.size.feed == "output":
            assert self.combine is not None
            width = self.combine.out_features
        return first.new_zeros(1, first.shape[1], width)

    def _looked(self, y: Tensor, memory: Memory) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """y (T, N, H) → h (T, N, ·), the contexts and the weights."""
        if self.attention is None:
            return (y if self.combine is None else torch.tanh(self.combine(y))), None, None
        read, weights = self._context(y, memory)
        return self._combined(y, read), read, weights

    def _context(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """query (T, N, H) → contexts (T, N, 2·H), weights (N, T, S); N = W·B."""
        assert self.attention is not None
        steps, rows, width = query.shape
        sources = memory.outputs.shape[1]
        many = rows // sources
        # W targets of a source ask as if they were W steps of one: the memory is never repeated.
        asked = query.reshape(steps, sources, many, width).transpose(1, 2).reshape(steps * many, sources, width)
        weights = weigh(self.attention.scores(asked, memory.keys), memory.inside)
        read = context(weights, memory.outputs)
        read = read.reshape(steps, many, sources, -1).transpose(1, 2).reshape(steps, rows, -1)
        places = weights.shape[2]
        weights = weights.reshape(sources, steps, many, places).transpose(1, 2).reshape(rows, steps, places)
        return read, weights

    def _combined(self, y: Tensor, read: Tensor) -> Tensor:
        assert self.combine is not None
        return torch.tanh(self.combine(torch.cat((read, y), 2)))

    def _scores(self, h: Tensor) -> Tensor:
        h = self.dropout(h)
        if self.head is not None:
            return self.head(h)
        return nn.functional.linear(h, self.target_embedding.weight[: self.size.end + 1], self.bias)


def _present(weights: Tensor | None) -> Tensor:
    assert weights is not None
    return weights


def _bridge(encoder: Recurrent, decoder: Recurrent, device: torch.device | str | None) -> nn.ModuleList:
    """One linear map for each state of each layer."""
    pairs = zip(encoder.state_shape.sizes, decoder.state_shape.sizes, strict=True)
    return nn.ModuleList(
        nn.Linear(2 * wide, narrow, device=device)
        for one, other in pairs
        for wide, narrow in zip(one, other, strict=True)
    )
