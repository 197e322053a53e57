"""``ostinato sample``: a model writes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ostinato.cli.options import CellOption, ModelArgument, own_cell
from ostinato.errors import InvalidValue


def sample(
    model: ModelArgument,
    prompt: Annotated[str, typer.Option(help="The text to go on from.")] = "",
    length: Annotated[int, typer.Option(help="How many tokens: characters, bytes, words, subwords.")] = 500,
    temperature: Annotated[
        float, typer.Option(help="Below 1 safer, above 1 wilder, 0 always the likeliest character.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Choose among the k likeliest only.", show_default=False)] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Choose among the fewest that together have this probability.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed writes the same text.", show_default=False)] = None,
    cell: CellOption = None,
) -> None:
    """Let a language model write. The text appears as it is made.

    It goes on from the prompt; without one it begins a line. The model is what `ostinato train` made of a text; those
    of other tasks answer to `ostinato predict`.

        ostinato sample ostinato-tales --prompt "Once upon a time" --length 300
        ostinato sample ostinato-tales --temperature 0.5 --top-p 0.9 --seed 7
        ostinato sample my-model --cell my_cells:PeepholeLSTMCell
    """
    from ostinato.models.folder import load
    from ostinato.models.text_model import TextModel

    loaded = load(model, own_cell(cell))
    if not isinstance(loaded, TextModel):
        raise InvalidValue(f"{model} is a {loaded.kind} and writes no text; `ostinato predict {model} FILE` asks it")
    text = loaded.stream(prompt, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    sys.stdout.write(prompt)
    for piece in text:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
