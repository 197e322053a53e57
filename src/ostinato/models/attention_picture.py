"""Where the decoder looked while it wrote: a weight for each target token and place of the source, and its picture."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ostinato.errors import InvalidValue
from ostinato.models.needs import need

LARGEST = 200
"""Tokens a side beyond which no label could be read."""

PICTURES = (".png", ".svg", ".pdf")

FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "PingFang SC", "Microsoft YaHei")
"""Tried in this order for each character; those that are not installed are passed over."""


@dataclass(frozen=True)
class Attended:
    """Where the decoder looked.

    Args:
        weights: (T, S), each row a token of the target and its sum 1.
        source: the S tokens that were read, the end among them.
        target: the T tokens that were written, the end among them.
    """

    weights: Tensor
    source: tuple[str, ...]
    target: tuple[str, ...]

    def draw(self, path: str | Path) -> Path:
        """Draws the weights into a file, a row a target token: light where the decoder did not look.

        Args:
            path: ends in ``.png``, ``.svg`` or ``.pdf``.

        Returns:
            The path.

        Raises:
            InvalidValue: another ending, or more tokens than could be labelled.
        """
        path = Path(path)
        if path.suffix.lower() not in PICTURES:
            raise InvalidValue(f"a picture's name must end in {', '.join(PICTURES)}, got {path.name!r}")
        longest = max(self.weights.shape)
        if longest > LARGEST:
            raise InvalidValue(
                f"a picture can show at most {LARGEST} tokens a side, got {longest}; take a shorter text, or draw the "
                f"weights themselves"
            )
        figure, axes = self._frame()
        image = axes.imshow(self.weights.cpu().numpy(), cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.set_xticks(range(len(self.source)), [_label(token) for token in self.source])
        axes.set_yticks(range(len(self.target)), [_label(token) for token in self.target])
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        if max(map(len, self.source)) > 2:
            axes.tick_params(axis="x", rotation=90)
        axes.set_xlabel("read")
        axes.set_ylabel("written")
        figure.colorbar(image, ax=axes, label="weight", shrink=0.6)
        with warnings.catch_warnings():
            # A character in no installed font is drawn as a box, which says it.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure.savefig(path)
        return path

    def _frame(self) -> tuple[Any, Any]:
        """A figure in which a token has 0.22 inch, and room for the labels."""
        fonts = need("matplotlib.font_manager").fontManager.get_font_names()
        height, width = (max(2.0, 0.22 * count) for count in self.weights.shape)
        widest, highest = (0.09 * max(map(len, tokens)) for tokens in (self.target, self.source))
        size = (min(width + widest + 2.0, 60), min(height + highest + 1.0, 60))
        figure = need("matplotlib.figure").Figure(figsize=size, dpi=120, layout="constrained")
        family = [font for font in FONTS if font in fonts] or ["sans-serif"]
        axes = figure.subplots()
        with need("matplotlib").rc_context({"font.family": family}):
            axes.tick_params(labelfontfamily=family, labelsize=9, length=0)
        return figure, axes


def _label(token: str) -> str:
    r"""A token that can be seen, and that matplotlib does not take for mathematics.

    >>> _label(" "), _label("\t"), _label("$a")
    ('␣', '\\t', '\\$a')
    """
    shown = "".join(c if c.isprintable() and c != "\\" else repr(c)[1:-1] for c in token)
    return shown.replace(" ", "␣").replace("$", r"\$") or "∅"
