"""The picture of a comparison: how good each cell is, against what it costs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median, stdev

from ostinato.models.files import write_bytes
from ostinato.models.needs import need
from ostinato.training.runs_file import Run

COSTS = (("seconds", "seconds of training"), ("parameters", "parameters"))


def draw_tradeoff(runs: Sequence[Run], figure_name: str, part: str, title: str, path: Path) -> None:
    """Writes a PNG: each run a point, each cell a mark with a bar of one standard deviation.

    The mark stands at the mean quality and the median cost: a cell's first run in a process also compiles its step.

    Args:
        runs: at least one.
        figure_name: which of their figures is the quality.
        part: of the data that it was found on, ``"test"`` or ``"validation"``.
        title: stands above the axes.
        path: of the picture.

    Raises:
        MissingExtra: matplotlib is not installed.
        OSError: the picture cannot be written.
    """
    agg = need("matplotlib.backends.backend_agg")
    figure = need("matplotlib.figure").Figure(figsize=(9, 4.2), dpi=120, layout="constrained")
    agg.FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    colours = need("matplotlib").colormaps["tab10"].colors
    for panel, (cost, words) in zip(panels, COSTS, strict=True):
        for number, cell in enumerate(dict.fromkeys(run.cell for run in runs)):
            own = [run for run in runs if run.cell == cell and figure_name in run.figures]
            if not own:
                continue
            quality, costs = [run.figures[figure_name] for run in own], [getattr(run, cost) for run in own]
            colour = colours[number % len(colours)]
            panel.plot(costs, quality, ".", ms=4, color=colour, alpha=0.5)
            panel.errorbar(
                [median(costs)], [mean(quality)], yerr=[deviation(quality)], fmt="o", ms=7, color=colour,
                capsize=3, label=cell.rpartition(":")[2],
            )  # fmt: skip
        panel.set_xlim(0, 1.1 * max(getattr(run, cost) for run in runs) or 1.0)
        panel.set_xlabel(words)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(f"{figure_name} ({part} part)")
    panels[0].legend(frameon=False)
    figure.suptitle(title)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes(path, image.getvalue())


def deviation(values: Sequence[float]) -> float:
    """The standard deviation over runs, by n − 1; 0 for a single run.

    >>> deviation([1.0, 2.0, 3.0]), deviation([5.0])
    (1.0, 0.0)
    """
    return stdev(values) if len(values) > 1 else 0.0
