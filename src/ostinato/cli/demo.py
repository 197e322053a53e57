"""``ostinato demo``: the whole way, on a text that every machine has."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ostinato.cli.report import report, show_sample
from ostinato.errors import ModelFolderError
from ostinato.models.files import write_text
from ostinato.models.needs import need

CORPUS = "corpus.txt"


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to make.")] = Path(
        "ostinato-demo"
    ),
    time_budget: Annotated[
        str, typer.Option(metavar="TIME", help="How long to train: 90s, 2m, 1.5h, or a number of seconds.")
    ] = "75s",
) -> None:
    """Train on Python's own language reference, and watch noise become Python's prose.

    ostinato demo
    ostinato demo --time-budget 5m --out longer-demo
    """
    from ostinato.tasks.settings import parse_seconds
    from ostinato.training.run import train
    from ostinato.training.run_folder import RunFolder

    seconds = parse_seconds(time_budget)
    folder = RunFolder(out)
    left = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if left and left != {CORPUS} and not folder.is_ours():
        raise ModelFolderError(f"{out} holds something else; name another folder with --out")
    corpus = out / CORPUS
    write_text(corpus, language_reference())
    print(f"The text: Python's language reference, {corpus.stat().st_size:,} bytes, kept as {corpus}.")
    result = train(corpus, out, overwrite=True, time_budget=seconds, on_begin=_show_noise)
    print("\nAfter training, it writes:")
    report(result)
    place = shlex.quote(str(out))
    print(
        f'  ostinato sample {place} --prompt "The " --temperature 0.5\n'
        f"  ostinato evaluate {place} {shlex.quote(str(corpus))} --part validation\n"
        f"  ostinato train YOUR_FILE.txt"
    )


def _show_noise(folder: Path) -> None:
    from ostinato.models.folder import load

    print("\nBefore training, the model writes:")
    show_sample(load(folder), length=160)


def language_reference() -> str:
    """Python's language reference, as ``help()`` shows it: part of every Python."""
    topics = need("pydoc_data.topics").topics
    return "\n\n".join(topics[name] for name in sorted(topics))
