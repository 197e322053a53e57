"""A linear-chain conditional random field: a sequence of tags is scored as a whole, each tag beside the one before.

The tags of a sentence are chosen together: besides each word's own scores there is a score for every pair of tags that
follow each other. There are Kᵀ ways to tag T words; sums and maxima over all of them take T·K² steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CRF(nn.Module):
    """The score of a tagging, its probability, and the likeliest tagging (Lafferty, McCallum and Pereira 2001).

    ::

        score(y | s) = start[y_1] + Σ_t s[t, y_t] + Σ_t transitions[y_t, y_t+1] + end[y_T]
        log p(y | s) = score(y | s) − log Σ_y' exp score(y' | s)

    Rows may differ in length, and a row of length 0 has one tagging, the empty one, of score 0. What stands past a
    row's end is never read: it may be NaN.

    Args:
        tags: K, how many tags there are.
        device, dtype: of the parameters, which begin at zero: at first each word is tagged for itself.

    >>> crf = CRF(3)
    >>> scores, tags, lengths = torch.zeros(5, 2, 3), torch.zeros(5, 2, dtype=torch.long), torch.tensor([5, 1])
    >>> crf(scores, tags, lengths).exp() * torch.tensor([3**5, 3])
    tensor([1.0000, 1.0000], grad_fn=<MulBackward0>)
    """

    def __init__(
        self, tags: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(tags, device=device, dtype=dtype))
        self.transitions = nn.Parameter(torch.zeros(tags, tags, device=device, dtype=dtype))
        self.end = nn.Parameter(torch.zeros(tags, device=device, dtype=dtype))

    def forward(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """log p(tags | scores) of each row.

        Args:
            scores: (T, B, K) of each tag for each word.
            tags: (T, B) the tagging, int64; past a row's end any tag's number.
            lengths: (B,) words of each row, 0 to T.

        Returns:
            (B,)
        """
        return self.score(scores, tags, lengths) - self.log_partition(scores, lengths)

    def score(self, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """(B,) the score of one tagging a row; arguments as for :meth:`forward`."""
        inside = _inside(scores, lengths)
        chosen = scores.gather(2, tags.unsqueeze(2)).squeeze(2)
        total = chosen.masked_fill(~inside, 0).sum(0)
        total = total + (self.transitions[tags[:-1], tags[1:]] * inside[1:]).sum(0)
        last = tags.gather(0, (lengths - 1).clamp(min=0).unsqueeze(0)).squeeze(0)
        return total + (self.start[tags[0]] + self.end[last]) * (lengths > 0)

    def log_partition(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """(B,) log Σ exp score over all taggings, by the forward algorithm; arguments as for :meth:`forward`."""
        inside = _inside(scores, lengths)
        # Zeroed before they are read, since 0 · NaN in the backward would be NaN.
        scores = scores.masked_fill(~inside.unsqueeze(2), 0)
        sums = self.start + scores[0]
        for t in range(1, len(scores)):
            more = torch.logsumexp(sums.unsqueeze(2) + self.transitions, 1) + scores[t]
            sums = torch.where(inside[t].unsqueeze(1), more, sums)
        return torch.logsumexp(sums + self.end, 1).masked_fill(lengths == 0, 0)

    def decode(self, scores: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest tagging of each row, by Viterbi's algorithm; arguments as for :meth:`forward`.

        Returns:
            The tags (T, B), 0 past a row's end, and their scores (B,).
        """
        with torch.no_grad():
            inside = _inside(scores, lengths)
            best = self.start + scores[0]
            stay = torch.arange(best.shape[1], device=best.device).expand_as(best)
            came_from = []
            for t in range(1, len(scores)):
                more, before = (best.unsqueeze(2) + self.transitions).max(1)
                here = inside[t].unsqueeze(1)
                best = torch.where(here, more + scores[t], best)
                came_from.append(torch.where(here, before, stay))
            top, tag = (best + self.end).max(1)
            tags = [tag]
            for before in reversed(came_from):
                tag = before.gather(1, tag.unsqueeze(1)).squeeze(1)
                tags.append(tag)
            return torch.stack(tags[::-1]).masked_fill(~inside, 0), top.masked_fill(lengths == 0, 0)

    def marginals(self, scores: Tensor, lengths: Tensor) -> Tensor:
        """(T, B, K) the probability of each tag for each word, over all taggings, 0 past a row's end.

        It is the gradient of :meth:`log_partition` with respect to ``scores``.
        """
        with torch.enable_grad():
            scores = scores.detach().requires_grad_()
            (marginals,) = torch.autograd.grad(self.log_partition(scores, lengths).sum(), scores)
        return marginals


def _inside(scores: Tensor, lengths: Tensor) -> Tensor:
    """(T, B) whether step t lies within the row."""
    return torch.arange(len(scores), device=scores.device).unsqueeze(1) < lengths
