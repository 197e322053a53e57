"""The study's page: docs/which_cell.md, between its two marks, and its pictures."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from timing import Machine
from which_runs import contestants
from which_tables import Content
from which_tasks import PROBLEMS

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
LOGARITHMIC = ("adding", "digits")
NAMED = ("lstm", "gru", "rnn")
"""These have their names in a picture in any case, the others where none is both better and cheaper."""


def write(content: Content, machine: Machine, docs: Path = DOCS) -> None:
    """Put the tables between the page's marks, and draw a picture a task."""
    page = docs / "which_cell.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    pictures = {task: draw(content, task, docs / "images" / f"which_cell_{task}.png") for task in content.problems}
    page.write_text(f"{before}{BEGIN}\n\n{text(content, machine, pictures)}\n{END}{after}", encoding="utf-8")
    print(f"written: {page} and {', '.join(map(str, pictures.values()))}")


def text(content: Content, machine: Machine, pictures: dict[str, Path]) -> str:
    everyone = contestants()
    whole = sum(all(content.finished(task, who) for task in PROBLEMS) for who in everyone)
    who = f"All {whole}" if whole == len(everyone) else f"So far {whole} of {len(everyone)}"
    state = (
        f"{who} cells have all their runs of the {len(PROBLEMS)} tasks; "
        f"{len(content.runs):,} runs are done, of {', '.join(content.problems) or 'none'}."
    )
    tables = [table.markdown().replace("## ", "### ", 1) for table in (content.overview(), content.claims())]
    shown = [
        f"![{task}: the figure of every cell against the time of its training step](images/{path.name})"
        for task, path in pictures.items()
    ]
    where = "```text\n" + "\n".join(machine.lines()) + "\n```"
    return "\n\n".join([state, *tables, *shown, where]) + "\n"


def draw(content: Content, task: str, path: Path) -> Path:
    """Quality against cost, a point a cell with a bar of its seeds' extremes; dashed what remembers nothing.

    Shares of right answers are drawn as shares of wrong ones, so that low is good in every picture.
    """
    problem, scores = content.problems[task], content.scores(task)
    top = 100.0 if problem.more_is_better else 0.0
    figure = Figure(figsize=(8, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    points = {who: (content.cost(task, who), abs(top - score.mean)) for who, score in scores.items()}
    named = 0
    for who, (cost, mean) in sorted(points.items(), key=lambda item: item[1][1]):
        figures = [abs(top - figure) for figure in scores[who].figures]
        front = who in NAMED or not any(a < cost and b < mean for a, b in points.values())
        colour = "#b5472b" if front else "#7d8590"
        axes.errorbar(
            [cost], [mean], yerr=[[mean - min(figures)], [max(figures) - mean]], fmt="o", ms=5, color=colour, capsize=2
        )
        if front:  # names of neighbours stand on either side
            side, ha = ((6, "left"), (-6, "right"))[named % 2]
            axes.annotate(who, (cost, mean), xytext=(side, -3), textcoords="offset points", ha=ha, fontsize=8)
            named += 1
    value, how = problem.line
    value = abs(top - value)
    axes.axhline(value, color="#7d8590", ls="--", lw=1)
    axes.text(0.005, value, f" {how}", transform=axes.get_yaxis_transform(), ha="left", va="bottom", fontsize=8)
    if task in LOGARITHMIC:
        axes.set_yscale("log")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(ScalarFormatter())
    axes.set_xlabel("milliseconds of a training step, one thread")
    axes.set_ylabel(f"{'% wrong' if problem.more_is_better else problem.unit}, test part")
    axes.set_title(f"{task}, about {round(next(iter(scores.values())).any.parameters, -2):,} parameters", fontsize=10)
    axes.grid(alpha=0.3)
    figure.savefig(path)
    return path
