"""TeX as plain text, for a terminal: the little of it that the cells' equations need."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[{}^_&]|\s+|[^\\{}^_&\s]")

LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "phi": "φ", "varphi": "φ", "psi": "ψ", "omega": "ω", "Delta": "Δ", "Gamma": "Γ", "Lambda": "Λ",
    "Phi": "Φ", "Psi": "Ψ", "Sigma": "Σ", "Omega": "Ω", "Theta": "Θ", "ell": "ℓ",
}  # fmt: skip
SIGNS = {
    "odot": "⊙", "cdot": "·", "times": "×", "circ": "∘", "otimes": "⊗", "oplus": "⊕", "pm": "±", "le": "≤", "leq": "≤",
    "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "in": "∈", "sum": "Σ", "prod": "Π", "infty": "∞", "to": "→",
    "rightarrow": "→", "mapsto": "↦", "uparrow": "↑", "downarrow": "↓", "dots": "…", "ldots": "…", "cdots": "⋯",
    "approx": "≈", "equiv": "≡", "sim": "∼", "top": "ᵀ", "mid": "|", "lvert": "|", "rvert": "|", "lVert": "‖",
    "rVert": "‖", "Vert": "‖", "lceil": "⌈", "rceil": "⌉", "lfloor": "⌊", "rfloor": "⌋", "langle": "⟨",
    "rangle": "⟩", "star": "⋆", "ast": "∗", "partial": "∂", "nabla": "∇", "colon": ":",
}  # fmt: skip
NAMES = ("tanh", "sinh", "cosh", "sin", "cos", "exp", "log", "ln", "max", "min", "det", "Re", "Im")
PLAIN = ("text", "mathrm", "operatorname", "mathbf", "boldsymbol", "mathit", "textrm", "mathsf", "mathbb")
ACCENTS = {
    "tilde": "\u0303", "widetilde": "\u0303", "hat": "\u0302", "widehat": "\u0302", "bar": "\u0304",
    "overline": "\u0304", "dot": "\u0307", "check": "\u030c",
}  # fmt: skip
SPACES = {",": " ", ";": " ", ":": " ", " ": " ", "!": "", "quad": "\u2002", "qquad": "\u2003"}
BIG = ("left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "displaystyle", "limits", "nolimits")
RAISED = dict(zip("0123456789+-()nijkTtᵀ↑↓∗", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱʲᵏᵀᵗᵀ↑↓*", strict=True))
SCRIPT = "𝒜ℬ𝒞𝒟ℰℱ𝒢ℋℐ𝒥𝒦ℒℳ𝒩𝒪𝒫𝒬ℛ𝒮𝒯𝒰𝒱𝒲𝒳𝒴𝒵"


def plain(tex: str) -> str:
    r"""One formula as text; a command that is not known here stays as it is.

    Example:
        >>> from ostinato.cells import tex
        >>> tex.plain(r"h_t = (1 - z_t) \odot \tilde h_t + z_t \odot h_{t-1}")
        'h_t = (1 - z_t) ⊙ h̃_t + z_t ⊙ h_(t-1)'
    """
    return re.sub(r"(?<=\S) +(?=[,)])|(?<=\() +", "", _Reader(tex).all()).strip()


def aligned(equations: Sequence[str]) -> list[str]:
    r"""Formulas as lines of text, those with a ``&`` one above the other at that place.

    Example:
        >>> from ostinato.cells import tex
        >>> tex.aligned([r"z &= \sigma(W x_t)", r"h_t &= z h_{t-1}"])
        ['  z = σ(W x_t)', 'h_t = z h_(t-1)']
    """
    parts = [equation.partition("&") for equation in equations]
    sides = [(plain(left), plain(right.replace("&", " ")) if mark else None) for left, mark, right in parts]
    width = max((_width(left) for left, right in sides if right is not None), default=0)
    return [left if right is None else " " * (width - _width(left)) + f"{left} {right}" for left, right in sides]


def prose(text: str) -> str:
    r"""A paragraph of a docstring without its markup: formulas, names of classes, code.

    Example:
        >>> from ostinato.cells import tex
        >>> tex.prose(r"Where :math:`\sigma = 1` it is :class:`ostinato.GRUCell` with ``bias=False``.")
        'Where σ = 1 it is GRUCell with bias=False.'
    """
    text = re.sub(r":math:`([^`]*)`", lambda match: plain(match[1]), text)
    return re.sub(r"``([^`]*)``", r"\1", re.sub(r":\w+:`(?:[\w.]*\.)?([^`]*)`", r"\1", text))


class _Reader:
    """Goes over the tokens of a formula from left to right."""

    def __init__(self, tex: str) -> None:
        self._tokens = TOKEN.findall(tex)
        self._at = 0

    def all(self) -> str:
        text = unicodedata.normalize("NFC", "".join(self._parts("")))
        return re.sub(r" +", " ", text).replace("\u2002", "  ").replace("\u2003", "   ")

    def _parts(self, end: str) -> Iterator[str]:
        while self._at < len(self._tokens):
            token = self._next()
            if token == end:
                return
            yield self._piece(token)

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _argument(self) -> str:
        """What a command or a ``_`` acts on: a group in braces, or the next token."""
        while self._at < len(self._tokens) and self._tokens[self._at].isspace():
            self._at += 1
        return self._piece(self._next()) if self._at < len(self._tokens) else ""

    def _piece(self, token: str) -> str:
        if token == "{":
            return "".join(self._parts("}"))
        if token == "_":
            return "_" + _in_brackets(self._argument(), r"\w+")
        if token == "^":
            return _raised(self._argument())
        if not token.startswith("\\"):
            return " " if token.isspace() else token
        return self._command(token[1:])

    def _command(self, name: str) -> str:
        if name == "Delta":
            return "Δ" + self._argument()
        if name in LETTERS or name in SIGNS:
            return LETTERS.get(name) or SIGNS[name]
        if name in NAMES:
            return name
        if name in SPACES:
            return SPACES[name]
        if name in ACCENTS:
            return "".join(c if c.isspace() else c + ACCENTS[name] for c in self._argument())
        if name in BIG:
            return ""
        if name in WITH_ARGUMENTS:
            return WITH_ARGUMENTS[name](self._argument)
        return name if len(name) == 1 else "\\" + name


def _in_brackets(text: str, alone: str) -> str:
    return text if re.fullmatch(alone, _bare(text)) else f"({text})"


def _raised(text: str) -> str:
    return "".join(RAISED[c] for c in text) if all(c in RAISED for c in text) else "^" + _in_brackets(text, r"\w+")


def _fraction(argument: Callable[[], str]) -> str:
    alone = r"[\w.√]*\([^()]*\)|[\w.]+"
    return f"{_in_brackets(argument(), alone)} / {_in_brackets(argument(), alone)}"


def _script(argument: Callable[[], str]) -> str:
    return "".join(SCRIPT[ord(c) - ord("A")] if "A" <= c <= "Z" else c for c in argument())


WITH_ARGUMENTS: dict[str, Callable[[Callable[[], str]], str]] = {
    "frac": _fraction,
    "tfrac": _fraction,
    "sqrt": lambda argument: "√" + _in_brackets(argument(), r"\w"),
    "mathcal": _script,
    **dict.fromkeys(PLAIN, lambda argument: argument()),
}


def _bare(text: str) -> str:
    """Without combining marks, which take no place of their own."""
    return re.sub(r"[\u0300-\u036f]", "", text)


def _width(text: str) -> int:
    return len(_bare(text))
