"""What the constructors of all cells share, and that each docstring says what its cell holds."""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any

import pytest
import torch

import ostinato
from ostinato.cells import page, registry
from ostinato.cells.registry import Known

I, H = 6, 8
FIRST = ("input_size", "hidden_size", "bias")
POSITIONAL_IN_TORCH = {"nonlinearity"}

OTHER_OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "fast-grnn": ({"input_rank": 2}, {"recurrent_rank": 3}),
    "fast-rnn": ({"input_rank": 2}, {"recurrent_rank": 3}),
    "lstm": ({"proj_size": 3},),
    "mogrifier-lstm": ({"rank": 2},),
    "scrn": ({"proj_size": 3},),
}
"""Those that are neither flags nor names and bring parameters of their own."""

every_cell = pytest.mark.parametrize("known", registry.everyone().values(), ids=lambda known: known.name)


def parameters_of(cell: type[ostinato.Cell]) -> list[inspect.Parameter]:
    return list(inspect.signature(cell.__init__).parameters.values())[1:]


def other_values(parameter: inspect.Parameter, said: str) -> list[Any]:
    """Values besides the default, for an option that is a flag or a name; ``said`` quotes the names it can have."""
    if isinstance(parameter.default, bool):
        return [not parameter.default]
    if parameter.name == "activation" or parameter.name.endswith("_activation"):
        return ["relu" if parameter.default != "relu" else "tanh"]
    return [name for name in re.findall(r'``"([^"]+)"``', said) if name != parameter.default]


def variants(known: Known) -> list[dict[str, Any]]:
    """The options of the cell as it is, and with each one turned."""
    said = page.page_of(known.cell).options
    turned = [{p.name: v} for p in parameters_of(known.cell) for v in other_values(p, said.get(p.name, ""))]
    return [{}, *turned, *OTHER_OPTIONS.get(known.name, ())]


@every_cell
def test_arguments(known: Known) -> None:
    parameters = parameters_of(known.cell)
    names = [p.name for p in parameters]
    first = FIRST if has_bias(known) else FIRST[:2]
    assert tuple(names[: len(first)]) == first
    assert {"device", "dtype"} <= set(names)
    loose = {p.name for p in parameters if p.kind is not p.KEYWORD_ONLY} - {*first, "device", "dtype"}
    assert loose <= POSITIONAL_IN_TORCH, f"{loose} must be keyword-only, after a *"
    assert all(p.default is not p.empty for p in parameters[2:])
    assert not has_bias(known) or parameters[2].default is True


@every_cell
def test_bias_device_and_dtype(known: Known) -> None:
    if has_bias(known):
        check_bare(known)
    else:
        with pytest.raises(TypeError, match=rf"{known.cell.__name__} has no option 'bias'"):
            ostinato.Recurrent(known.name, I, H, bias=False)
    double = known.cell(I, H, dtype=torch.float64)
    assert {t.dtype for t in (*double.parameters(), *double.buffers()) if t.is_floating_point()} <= {torch.float64}
    before = torch.get_rng_state()
    described = known.cell(I, H, device="meta")
    assert all(t.is_meta for t in (*described.parameters(), *described.buffers()))
    assert torch.equal(torch.get_rng_state(), before), "nothing is drawn on the meta device"
    assert described.state_dict().keys() == known.cell(I, H).state_dict().keys()


def has_bias(known: Known) -> bool:
    """A cell without any in its paper has no such argument."""
    return any("bias" in name for name, _ in known.cell(I, H).named_parameters())


def check_bare(known: Known) -> None:
    own = [p.name for p in parameters_of(known.cell) if p.name.endswith("_bias") and isinstance(p.default, bool)]
    bare = known.cell(I, H, bias=False, **dict.fromkeys(own, False))
    assert not [name for name, _ in bare.named_parameters() if "bias" in name]
    bare(torch.randn(2, I))


@every_cell
def test_its_text_rebuilds_it(known: Known) -> None:
    for options in variants(known):
        cell = known.cell(I, H, **options)
        again = eval(f"{type(cell).__name__}({cell.extra_repr()})", {type(cell).__name__: known.cell})
        assert again.extra_repr() == cell.extra_repr()
        for name, value in options.items():
            assert f"{name}={value!r}" in cell.extra_repr()
        shapes = {name: value.shape for name, value in cell.state_dict().items()}
        assert {name: value.shape for name, value in again.state_dict().items()} == shapes


@every_cell
@pytest.mark.parametrize("sizes", [(0, 4), (4, -2), (4.0, 4), (True, 4)], ids=str)
def test_sizes_that_are_none(known: Known, sizes) -> None:
    with pytest.raises((ValueError, TypeError), match=r"(input|hidden)_size must be .*, got"):
        known.cell(*sizes)


@every_cell
def test_an_option_that_it_does_not_have(known: Known) -> None:
    with pytest.raises(TypeError, match=rf"{known.cell.__name__} has no option 'forget_bais'; it has: "):
        ostinato.Recurrent(known.name, 4, 4, forget_bais=1)


@every_cell
def test_a_value_that_an_option_cannot_have(known: Known) -> None:
    for option in {"bias", "activation", "recurrent_init"} & {p.name for p in parameters_of(known.cell)}:
        with pytest.raises((ValueError, TypeError), match=rf"{option} must be .*, got"):
            known.cell(4, 4, **{option: "tahn"})


@every_cell
def test_every_option_can_be_turned(known: Known) -> None:
    """In the layer, where a cell's own code meets the compiler; with none turned, test_every_cell.py compiles it."""
    x = torch.randn(3, 2, I)
    # How weights begin is no part of what is compiled: it is turned along with the bias.
    begin = {name: value for options in variants(known) for name, value in options.items() if name == "recurrent_init"}
    turned = [o | begin if "bias" in o else o for o in variants(known) if o and o != begin]
    assert not begin or begin.items() <= turned[0].items()
    for options in turned:
        layer = ostinato.Recurrent(known.name, I, H, engine="native", **options)
        with torch.no_grad():
            output, _ = layer(x)
            layer.engine = "loop"
            torch.testing.assert_close(output, layer(x)[0], msg=lambda text, options=options: f"{options}: {text}")


@every_cell
def test_the_docstring_is_complete(known: Known) -> None:
    said = page.page_of(known.cell)
    assert re.match(r"[A-Z0-9].*\.$", said.summary)
    assert said.equations, "a `.. math::` block of the equations is missing"
    assert said.notes, "a paragraph on what differs from the paper and from other implementations is missing"
    assert str(known.year) in said.paper or re.search(r"\b(19|20)\d\d\b", said.paper), "the paper's year is missing"
    assert ">>>" in said.example
    assert 1980 < known.year < 2030
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", known.name)
    options = {p.name for p in parameters_of(known.cell)} - {"input_size", "hidden_size", "bias", "device", "dtype"}
    assert not options - said.options.keys(), "each option is described under Args"


@every_cell
def test_the_docstring_gives_the_shapes_of_all_parameters(known: Known) -> None:
    said, seen = page.page_of(known.cell).shapes, set()
    for options in variants(known):
        real = {name: tuple(value.shape) for name, value in known.cell(I, H, **options).named_parameters()}
        assert not real.keys() - said.keys(), f"under Parameters there is no {sorted(real.keys() - said.keys())}"
        assert agree(said, real), f"for I = {I}, H = {H}, {options} they are {real}, described as {said}"
        seen |= real.keys()
    assert said.keys() == seen, f"described, and never there: {sorted(said.keys() - seen)}"


def agree(said: dict[str, tuple[str, ...]], shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether every shape is one that is described; other letters than I and H stand for the same in all of them."""
    letters = sorted({letter for name in shapes for letter in re.findall(r"[A-Za-z]+", " ".join(said[name]))})
    letters = [letter for letter in letters if letter not in ("I", "H", "or")]
    for values in itertools.product(range(1, 4 * H + 1), repeat=len(letters)):
        known = {"I": I, "H": H, **dict(zip(letters, values, strict=True))}
        if all(any(fits(one, shape, known) for one in said[name]) for name, shape in shapes.items()):
            return True
    return False


def fits(said: str, shape: tuple[int, ...], known: dict[str, int]) -> bool:
    """``"4·H, P or H"`` and (32, 8)."""
    parts = [part.split(" or ") for part in said.split(",") if part.strip()]
    return len(parts) == len(shape) and all(
        any(eval(one.replace("·", "*").replace("²", "**2"), {}, dict(known)) == length for one in part)
        for part, length in zip(parts, shape, strict=True)
    )
