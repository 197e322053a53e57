"""The learning curve as a picture: how far training and validation have come, and where the best weights were."""

from __future__ import annotations

import io
import math
from pathlib import Path

from ostinato.models.files import write_bytes
from ostinato.models.needs import need
from ostinato.training.record import Record


def draw_curve(record: Record, unit: str, title: str, path: Path) -> None:
    """Writes a PNG of the record's validations, in bits.

    Args:
        record: at least one validation.
        unit: what a token is: ``"character"`` or ``"byte"``.
        title: stands above the axes.
        path: of the picture.

    Raises:
        MissingExtra: matplotlib is not installed.
        OSError: the picture cannot be written.
    """
    agg = need("matplotlib.backends.backend_agg")
    figure = need("matplotlib.figure").Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    agg.FigureCanvasAgg(figure)
    axes = figure.subplots()
    steps = [point.step for point in record.points]
    axes.plot(
        steps, [p.training_nats / math.log(2) for p in record.points], "o-", ms=3, color="#7a7a7a", label="training"
    )
    axes.plot(
        steps, [p.validation_nats / math.log(2) for p in record.points], "o-", ms=3, color="#1f5fa8", label="validation"
    )
    best = record.best / math.log(2)
    axes.axhline(best, lw=0.8, ls=":", color="#1f5fa8")
    axes.annotate(
        f"best {best:.3f} at step {record.best_step:,}",
        (steps[-1], best),
        ha="right",
        va="top",
        xytext=(0, -3),
        textcoords="offset points",
        fontsize=9,
        color="#1f5fa8",
    )
    axes.set(xlabel="step (batches)", ylabel=f"mean loss (bits per {unit})", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes(path, image.getvalue())
