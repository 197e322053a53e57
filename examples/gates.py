"""Draw the gates and states of a trained language model over a sentence, and print which units follow what.

    ostinato demo                                   # trains a model: the folder ostinato-demo
    python examples/gates.py ostinato-demo --text "The statement is a list." --out gates.png

One picture a layer: time runs along x, a character a step; each row is a unit, the same in every panel: first those
that were found to follow something, then those whose output moves most. The panels are the names in the cell's own
step: i, f, g, o, c, h of an LSTM, r, z, n, h of a GRU.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import ostinato
from ostinato.errors import OstinatoError

TEXT = "The with statement wraps\nthe execution of a block (see below)."

MEANINGS = {
    "i": "input gate: how much of g is let in",
    "f": "forget gate: how much of c is kept",
    "g": "candidate: what would be added",
    "o": "output gate: how much of tanh(c) is put out",
    "r": "reset gate: how much of h the candidate sees",
    "z": "update gate: how much of h is kept",
    "n": "candidate: what would replace h",
    "c": "memory cell",
    "h": "hidden state: what the layer puts out",
}

FEATURES: dict[str, Callable[[str, int], bool]] = {
    "a space": lambda text, n: text[n] == " ",
    "a line end": lambda text, n: text[n] == "\n",
    "a capital": lambda text, n: text[n].isupper(),
    "a digit": lambda text, n: text[n].isdigit(),
    "a vowel": lambda text, n: text[n].lower() in "aeiou",
    "punctuation": lambda text, n: not text[n].isalnum() and not text[n].isspace(),
    "a word's first letter": lambda text, n: text[n].isalnum() and (n == 0 or not text[n - 1].isalnum()),
    "inside brackets": lambda text, n: text[: n + 1].count("(") > text[: n + 1].count(")"),
    "inside quotes": lambda text, n: text[: n + 1].count('"') % 2 == 1,
}
"""What a character can be; units are searched for whose values tell it."""

SHUFFLES = 200


@dataclass(frozen=True)
class Reading:
    """What one layer's cell did over a text: name → (T, H), the layer's output under ``output``."""

    place: str
    values: dict[str, Tensor]
    output: str


def read(model: Any, text: str) -> tuple[list[str], list[Reading]]:
    """The labels of the steps, and each layer's values over the text."""
    network = model.network
    tokens = torch.tensor(model.vocabulary.encode_prompt(text))
    if network.embedding is not None:
        x = network.embedding(tokens)
    else:
        x = F.one_hot(tokens, network.size.vocabulary_size).to(network.head.weight.dtype)
    tape = ostinato.record(network.stack, x)
    readings = []
    for slot in network.stack.slots:
        track = tape[slot.name]
        width = slot.template.hidden_size
        # A single letter is a name of the equations; longer ones (gates, x_r) are steps on the way to them.
        names = [n for n, v in track.items() if len(n) == 1 and n != "x" and v.shape[-1] == width] or [*track]
        states = slot.template.state_names
        order = sorted(names, key=lambda n: (n in states, n == states[0]))
        readings.append(Reading(slot.name, {n: track[n] for n in order}, order[-1]))
    return labels(model, tokens.tolist()), readings


def labels(model: Any, tokens: list[int]) -> list[str]:
    """A visible label for every step."""
    if model.vocabulary.kind == "byte":
        characters = [chr(t) if 32 <= t < 127 or t == 10 else f"{t:02x}" for t in tokens]
    else:
        characters = list(model.vocabulary.decode(tokens))
    return [{" ": "␣", "\n": "↵", "\t": "⇥"}.get(c, c) for c in characters]


@dataclass(frozen=True)
class Finding:
    """A value of a unit that tells one kind of character from all others."""

    feature: str
    name: str
    unit: int
    there: float
    elsewhere: float
    correlation: float
    chance: float

    def __str__(self) -> str:
        return (
            f"{self.feature:<22} {self.name} of unit {self.unit:<4} {self.there:>6.2f} there, {self.elsewhere:>6.2f} "
            f"elsewhere   (correlation {self.correlation:+.2f}, by chance up to {self.chance:.2f})"
        )


def to_draw(reading: Reading, found: list[Finding], count: int) -> list[int]:
    """The units that were found, then those whose output varies most (outputs are bounded, memory cells are not)."""
    variance = reading.values[reading.output].var(dim=0)
    units = [finding.unit for finding in found] + variance.argsort(descending=True).tolist()
    return list(dict.fromkeys(units))[:count]


def draw(reading: Reading, characters: list[str], units: list[int], path: Path) -> None:
    """One heat map a value, one below the other."""
    plt = pyplot()
    count, steps = len(reading.values), len(characters)
    size = (max(7.0, 0.15 * steps + 1.5), count * (0.15 * len(units) + 0.35) + 0.7)
    figure, axes = plt.subplots(count, 1, figsize=size, sharex=True, layout="constrained", squeeze=False)
    for axis, (name, value) in zip(axes[:, 0], reading.values.items(), strict=True):
        shown = value[:, units].T
        image = axis.imshow(shown.numpy(), aspect="auto", interpolation="nearest", **scale_of(value, shown))
        axis.set_ylabel(f"{name}\nunit", rotation=0, ha="right", va="center", fontsize=11)
        axis.set_yticks(range(len(units)), [str(unit) for unit in units], fontsize=8)
        axis.tick_params(length=0)
        axis.set_title(MEANINGS.get(name, ""), fontsize=11, loc="left", pad=3)
        extend = "both" if shown.abs().max() > image.get_clim()[1] else "neither"
        bar = figure.colorbar(image, ax=axis, pad=0.01, fraction=0.05, aspect=8, extend=extend)
        bar.ax.tick_params(labelsize=8)
    axes[-1, 0].set_xticks(range(steps), characters, fontsize=11, family="DejaVu Sans Mono")
    axes[-1, 0].set_xlabel("time: the character read at each step (␣ space, ↵ line end)", fontsize=11)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def scale_of(value: Tensor, shown: Tensor) -> dict[str, Any]:
    """0 to 1 for what a sigmoid gave; for signed values a map whose white is 0. Both are safe for colour-blind eyes."""
    if value.min() >= 0 and value.max() <= 1:
        return {"cmap": "viridis", "vmin": 0, "vmax": 1}
    # A memory cell may count up to any height; beyond 4, tanh(c) is 1 to three digits and nothing more is to be seen.
    limit = 4 if shown.abs().max() > 1 else 1
    return {"cmap": "PuOr_r", "vmin": -limit, "vmax": limit}


def findings(reading: Reading, text: str) -> list[Finding]:
    """For each kind of character the value that tells it best, where that is better than chance.

    Among thousands of values one follows anything a little, so the bar is what shuffled marks reach: the largest
    correlation over all values, in 19 of 20 shuffles.
    """
    names = [(name, unit) for name, value in reading.values.items() for unit in range(value.shape[1])]
    values = torch.cat([*reading.values.values()], dim=1)  # (T, values)
    values = (values - values.mean(dim=0)) / (values.std(dim=0, correction=0) + 1e-9)
    generator = torch.Generator().manual_seed(0)
    found = []
    for feature, is_one in FEATURES.items():
        at = torch.tensor([is_one(text, n) for n in range(len(text))])
        if not 2 <= at.sum() <= len(text) - 2:
            continue
        marks = (at.float() - at.float().mean()) / at.float().std(correction=0)
        shuffled = torch.stack([marks[shuffle_runs(at, generator)] for _ in range(SHUFFLES)])
        chance = ((shuffled @ values).abs() / len(text)).amax(dim=1).quantile(0.95).item()
        correlation = marks @ values / len(text)
        best = int(correlation.abs().argmax())
        if abs(correlation[best]) > chance:
            name, unit = names[best]
            value = reading.values[name][:, unit]
            means = value[at].mean().item(), value[~at].mean().item()
            found.append(Finding(feature, name, unit, *means, correlation[best].item(), chance))
    return found


def gates_between_words(reading: Reading, text: str) -> list[str]:
    """Each gate's mean over all units, at the characters between words and at the others."""
    between = torch.tensor([character.isspace() for character in text])
    if not between.any() or between.all():
        return []
    gates = {name: value for name, value in reading.values.items() if value.min() >= 0 and value.max() <= 1}
    means = {name: (value[between].mean().item(), value[~between].mean().item()) for name, value in gates.items()}
    return [f"{name} {at:.2f} at spaces and line ends, {other:.2f} elsewhere" for name, (at, other) in means.items()]


def shuffle_runs(at: Tensor, generator: torch.Generator) -> Tensor:
    """An order (T) of the steps that permutes the runs of marks, and the runs between them, and leaves each whole.

    A value that drifts follows any mark that comes in one long run, such as brackets; this keeps the runs long.
    """
    borders = (at[1:] != at[:-1]).nonzero().flatten() + 1
    runs = list(torch.arange(len(at)).tensor_split(borders.tolist()))
    halves = [[half[n] for n in torch.randperm(len(half), generator=generator)] for half in (runs[::2], runs[1::2])]
    return torch.cat([halves[n % 2][n // 2] for n in range(len(runs))])


def pyplot() -> Any:
    """matplotlib's, without a screen."""
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit("the pictures need matplotlib: pip install 'ostinato[inspect]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def picture_of(out: Path, place: str, layers: int) -> Path:
    """gates.png for a model of one layer, gates-l0.png, gates-l1.png, … for a deeper one."""
    return out if layers == 1 else out.with_name(f"{out.stem}-{place}{out.suffix}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", nargs="?", help="a model folder, such as `ostinato demo` makes")
    parser.add_argument("--text", default=TEXT, help="what the model reads; \\n is a line end")
    parser.add_argument("--out", type=Path, default=Path("gates.png"), metavar="FILE", help="default: gates.png, here")
    parser.add_argument("--units", type=int, default=8, help="how many are drawn (default: 8)")
    options = parser.parse_args(argv)
    if options.model is None:
        print("This needs a trained model. Make one in about two minutes, then name its folder:")
        print("  ostinato demo\n  ostinato examples gates ostinato-demo")
        return
    text = options.text.replace("\\n", "\n")
    if len(text) < 2:
        raise SystemExit("--text needs at least 2 characters")
    try:
        characters, readings = read(ostinato.load(options.model), text)
    except OstinatoError as error:
        raise SystemExit(f"error: {error}") from error

    options.out.parent.mkdir(parents=True, exist_ok=True)
    for reading in readings:
        path = picture_of(options.out, reading.place, len(readings))
        # A step is a character only for a model of characters; a model of bytes is drawn, not searched.
        searched = len(characters) == len(text)
        found = findings(reading, text) if searched else []
        draw(reading, characters, to_draw(reading, found, options.units), path)
        size = next(iter(reading.values.values())).shape[1]
        print(
            f"{reading.place}: {', '.join(reading.values)} of {size} units over {len(characters)} steps, drawn: {path}"
        )
        for line in gates_between_words(reading, text) if searched else []:
            print(f"  mean over all units: {line}")
        print("  Which value tells best that the character just read is …" if found else "  No unit beats chance.")
        for finding in found:
            print(f"    {finding}")


if __name__ == "__main__":
    main()
