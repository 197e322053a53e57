"""A docstring taken apart, and its TeX as plain text."""

from __future__ import annotations

import pytest

import ostinato
from ostinato.cells import tex
from ostinato.cells.options import check_option, options_of
from ostinato.cells.page import page_of
from ostinato.errors import InvalidType


class DocumentedCell(ostinato.Cell):
    r"""A cell that is only
    described.

    .. math::
        z &= \sigma(W x_t
            + b) \\
        h_t &= z \odot h_{t-1}

    One paragraph.

    Another, on :class:`ostinato.GRUCell`.

    Args:
        input_size, hidden_size: I and H.
        rounds: how many, and
            why.

    Parameters:
        weight_ih (2·H, I), or (H, I) where there is one; gain, bias (H), weight_ho = V (O, H).

    Paper:
        A. Author, A title,
        2020.

    Example:
        >>> 1 + 1
        2

    A last paragraph.
    """

    def __init__(self, input_size, hidden_size, *, rounds=3, device=None):
        super().__init__(input_size, hidden_size)

    def step(self, x, h):
        return h


class DerivedCell(DocumentedCell):
    """One with more.

    .. math::
        y = h

    Args:
        input_size, rounds: as for :class:`DocumentedCell`.
        extra: of its own.

    Parameters:
        those of :class:`DocumentedCell`, extra (H).
    """


class SilentCell(ostinato.Cell):
    def step(self, x, h):
        return h


def test_the_parts():
    page = page_of(DocumentedCell)
    assert page.summary == "A cell that is only described."
    assert page.equations == (r"z &= \sigma(W x_t + b)", r"h_t &= z \odot h_{t-1}")
    assert page.notes == ("One paragraph.", "Another, on :class:`ostinato.GRUCell`.", "A last paragraph.")
    assert page.options == {"input_size": "I and H.", "hidden_size": "I and H.", "rounds": "how many, and why."}
    assert page.shapes == {
        "weight_ih": ("2·H, I", "H, I"),
        "gain": ("H",),
        "bias": ("H",),
        "weight_ho": ("O, H",),
    }
    assert page.paper == "A. Author, A title, 2020."
    assert page.example == ">>> 1 + 1\n2"


def test_what_is_derived_has_what_it_refers_to():
    page = page_of(DerivedCell)
    assert page.options == {
        "input_size": "I and H.",
        "hidden_size": "I and H.",
        "rounds": "how many, and why.",
        "extra": "of its own.",
    }
    assert set(page.shapes) == {"weight_ih", "gain", "bias", "weight_ho", "extra"}


def test_no_docstring():
    page = page_of(SilentCell)
    assert (page.equations, page.notes, page.options, page.shapes, page.paper) == ((), (), {}, {}, "")


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (r"\frac{a}{b + c}", "a / (b + c)"),
        (r"\frac{z - \mu}{\sqrt{\sigma^2 + \epsilon}}", "(z - μ) / √(σ² + ε)"),
        (r"\tilde{h}_t = \hat c^{-1}", "h̃_t = ĉ⁻¹"),
        (r"W_h^\top x_{t-k+1}", "W_hᵀ x_(t-k+1)"),
        (r"\Delta t\, z", "Δt z"),
        (r"y, \qquad \text{where } y \ge 0", "y,     where y ≥ 0"),
        (r"\left( a \right)", "(a)"),
        (r"\mathcal{W} \odot \mathrm{relu}(x)", "𝒲 ⊙ relu(x)"),
        (r"a_{ih}^{fg}", "a_ih^fg"),
        (r"\lVert c \rVert_1", "‖ c ‖_1"),
        (r"\unknown x", r"\unknown x"),
        ("", ""),
    ],
)
def test_plain_text(formula, text):
    assert tex.plain(formula) == text


def test_options():
    assert options_of(DocumentedCell) == {"rounds": 3}
    check_option(DocumentedCell, "rounds")
    with pytest.raises(InvalidType, match=r"has no option 'ronds'; it has: rounds; did you mean 'rounds'\?"):
        check_option(DocumentedCell, "ronds")
    with pytest.raises(InvalidType, match=r"has no option 'device'"):
        check_option(DocumentedCell, "device")
