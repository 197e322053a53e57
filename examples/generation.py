"""Generate a sequence step by step, (N, L, I) → (N, L, out): go on with a tune that repeats a motif never heard before.

    python examples/generation.py

A tune repeats a motif of 4 to 6 notes (an ostinato). The network scores the next note at every step; in training it
is given the tune's own notes, when it writes it is given those it wrote itself. To go on with an unknown motif it has
to find out how long the motif is, and remember it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ostinato

NOTES = "CDEFGAB"
HEARD, WRITTEN = 14, 12
"""Notes of a new tune that the network hears, and those it then writes."""


def tunes(count: int, length: int, generator: torch.Generator) -> Tensor:
    """(N, L) notes: each row repeats a motif of its own."""
    motifs = torch.randint(len(NOTES), (count, 6), generator=generator)
    periods = torch.randint(4, 7, (count, 1), generator=generator)
    return motifs.gather(1, torch.arange(length) % periods)


class Player(nn.Module):
    """(N, L, I) → (N, L, out), and the state to go on from."""

    def __init__(self, notes: int, hidden_size: int) -> None:
        super().__init__()
        self.rnn = ostinato.GRU(notes, hidden_size, batch_first=True)
        self.head = nn.Linear(self.rnn.output_size, notes)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, state = self.rnn(x, state)
        return self.head(output), state


def one_hot(tokens: Tensor) -> Tensor:
    """(N, L) → (N, L, I)."""
    return F.one_hot(tokens, len(NOTES)).float()


@torch.no_grad()
def go_on(model: Player, heard: Tensor, count: int) -> Tensor:
    """heard (N, L) → the (N, count) notes that the network writes after them, always the likeliest."""
    scores, state = model(one_hot(heard))
    written = [scores[:, -1].argmax(dim=-1)]
    while len(written) < count:
        scores, state = model(one_hot(written[-1].unsqueeze(1)), state)
        written.append(scores[:, -1].argmax(dim=-1))
    return torch.stack(written, dim=1)


def spell(notes: Tensor) -> str:
    return " ".join(NOTES[n] for n in notes.tolist())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=600, help="training steps (default: 600)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    # A network this small gains nothing from a second thread, and waits for it where the machine is busy.
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)

    model = Player(len(NOTES), 96)
    adam = torch.optim.Adam(model.parameters(), lr=0.005)
    x = one_hot(tunes(64, HEARD + WRITTEN - 1, generator))
    print(f"x {tuple(x.shape)} → {tuple(model(x)[0].shape)}: a score for every note at every step")
    for step in range(1, options.steps + 1):
        tune = tunes(64, HEARD + WRITTEN, generator)
        scores, _ = model(one_hot(tune[:, :-1]))
        loss = F.cross_entropy(scores.flatten(0, 1), tune[:, 1:].flatten())
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        if step == 1 or step % max(1, options.steps // 6) == 0:
            print(f"step {step:>4}  cross-entropy {loss.item():.3f} a note")

    tune = tunes(1000, HEARD + WRITTEN, generator)
    heard, rest = tune[:, :HEARD], tune[:, HEARD:]
    written = go_on(model, heard, WRITTEN)
    right = (written == rest).float().mean().item()
    fives = heard[:, HEARD - 5 + torch.arange(WRITTEN) % 5]
    again = (fives == rest).float().mean().item()
    print(f"right notes in the {WRITTEN} it writes, 1000 new tunes: {right:.1%}")
    print(f"  taking every motif for 5 notes long: {again:.1%}; guessing: {1 / len(NOTES):.1%}")
    for n in range(3):
        print(f"  {spell(heard[n])} | {spell(written[n])}\n  {'the tune goes on:':<{2 * HEARD}}{spell(rest[n])}")


if __name__ == "__main__":
    main()
