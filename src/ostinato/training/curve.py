"""The learning curve as a picture: how far training and validation have come, and where the best weights were."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ostinato.models.files import write_bytes
from ostinato.models.needs import need
from ostinato.tasks.task import Score
from ostinato.training.record import Record

GREY, BLUE = "#7a7a7a", "#1f5fa8"


def draw_curve(record: Record, title: str, path: Path) -> None:
    """Writes a PNG of the record's validations.

    Where the main figure is the loss in some unit, training and validation share the axes. Elsewhere the main figure
    stands above, and the losses below.

    Args:
        record: at least one validation.
        title: stands above the axes.
        path: of the picture.

    Raises:
        MissingExtra: matplotlib is not installed.
        OSError: the picture cannot be written.
    """
    best = record.best
    assert best is not None, "a record without a validation has no curve"
    agg = need("matplotlib.backends.backend_agg")
    figure = need("matplotlib.figure").Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    agg.FigureCanvasAgg(figure)
    factor = _of_loss(best)
    if factor is not None:
        axes = figure.subplots()
        _draw_training(axes, record, factor)
        _draw_main(axes, record, best)
        _finish(axes, "mean loss" if best.main == "loss" else f"mean loss ({label(best)})", "upper right")
    else:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _draw_main(axes, record, best)
        _finish(axes, label(best), "lower right" if best.higher_is_better else "upper right")
        _draw_training(below, record, 1.0)
        if "loss" in best.figures:
            _draw(below, record, [point.figures["loss"] for point in record.points], BLUE, "validation")
        _finish(below, "mean loss", "upper right")
    axes.set(title=title)
    figure.axes[-1].set(xlabel="step (batches)")
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes(path, image.getvalue())


def label(score: Score) -> str:
    """The main figure's name, with what it is counted per.

    >>> label(Score({"bits": 2.0}, "bits", higher_is_better=False, about={"unit": "character"}))
    'bits per character'
    """
    return score.main + (f" per {score.about['unit']}" if "unit" in score.about else "")


def _of_loss(score: Score) -> float | None:
    return 1.0 if score.main == "loss" else score.of_loss


def _draw_training(axes: Any, record: Record, factor: float) -> None:
    _draw(axes, record, [point.training_loss * factor for point in record.points], GREY, "training")


def _draw_main(axes: Any, record: Record, best: Score) -> None:
    _draw(axes, record, [point.figures[best.main] for point in record.points], BLUE, "validation")
    axes.axhline(best.value, lw=0.8, ls=":", color=BLUE)
    axes.annotate(
        f"best {best.value:.3f} at step {record.best_step:,}",
        (record.points[-1].step, best.value),
        ha="right",
        va="top",
        xytext=(0, -3),
        textcoords="offset points",
        fontsize=9,
        color=BLUE,
    )


def _draw(axes: Any, record: Record, values: list[float], color: str, name: str) -> None:
    axes.plot([point.step for point in record.points], values, "o-", ms=3, color=color, label=name)


def _finish(axes: Any, name: str, corner: str) -> None:
    axes.set(ylabel=name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc=corner)
