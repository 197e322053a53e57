"""CoNLL and CoNLL-U: one token a line, its columns apart, an empty line after each sentence.

CoNLL-U has ten columns between tabs, comments that start with ``#``, ranges for words written together (``1-2``) and
empty nodes (``8.1``), which are no tokens. Any other file is read as plain CoNLL: columns between tabs or spaces, and
lines that start with ``-DOCSTART-`` apart. What is no token is kept, and written back where it stood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ostinato.cells.checks import nearest
from ostinato.data.files import text_lines
from ostinato.errors import DataError, InvalidValue

CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
NO_TOKEN = re.compile(r"\d+-\d+|\d+\.\d+")


@dataclass(frozen=True)
class TokenRow:
    """A token's columns as they stand in the file, and its line, counted from 1."""

    columns: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Sentence:
    """The tokens of a sentence, and all its lines as they stand in the file."""

    tokens: tuple[TokenRow, ...]
    lines: tuple[str, ...]
    """Comments, ranges and tokens, without line ends and without the empty line after them."""
    first_line: int
    """The number of ``lines[0]`` in the file."""
    path: Path
    universal: bool
    """CoNLL-U: columns have names."""

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[TokenRow]:
        return iter(self.tokens)

    def column(self, column: int | str) -> list[str]:
        """One column of every token, by its number from 0 (−1 for the last) or its name in CoNLL-U.

        Raises:
            DataError: there is no such column.
        """
        index = column_index(column, len(self.tokens[0].columns), self.universal, str(self.path))
        return [token.columns[index] for token in self.tokens]

    def where(self, token: int = 0) -> str:
        """``"train.conllu, line 12"``."""
        return f"{self.path.name}, line {self.tokens[token].line:,}"


def column_index(column: int | str, width: int, universal: bool, what: str) -> int:
    """The place of a column among ``width``.

    Raises:
        DataError: no column has that number, or that name.
    """
    if isinstance(column, str) and column.lstrip("-").isdecimal():
        column = int(column)
    if isinstance(column, str):
        if universal and column.lower() in CONLLU_COLUMNS:
            return CONLLU_COLUMNS.index(column.lower())
        if universal:
            raise DataError(
                f"{what} has the columns {', '.join(CONLLU_COLUMNS)}, got {column!r}{nearest(column, CONLLU_COLUMNS)}"
            )
        raise DataError(
            f"{what} has {width} columns without names; give a number from 0, or −1 for the last, got {column!r}"
        )
    if not -width <= column < width:
        raise DataError(f"{what} has {width} columns, numbered from 0; there is no column {column}")
    return column % width


def read_conll(path: str | Path, *, universal: bool | None = None) -> list[Sentence]:
    """The sentences of a CoNLL or CoNLL-U file.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".conll") as file:
    ...     _ = file.write("Ann B-PER\\nsleeps O\\n\\nRome B-LOC\\n"); file.flush()
    ...     sentences = read_conll(file.name)
    >>> [sentence.column(0) for sentence in sentences], sentences[1].column(-1)
    ([['Ann', 'sleeps'], ['Rome']], ['B-LOC'])

    Args:
        path: the file.
        universal: whether it is CoNLL-U; None takes files named ``.conllu`` for it.

    Raises:
        DataError: a token has other columns than the first, or the file holds no token; the message names the line.
    """
    path = Path(path)
    universal = path.suffix.lower() == ".conllu" if universal is None else universal
    sentences: list[Sentence] = []
    block: list[str] = []
    first, width = 1, 10 if universal else None
    number = 0
    for number, line in enumerate(text_lines(path), start=1):
        text = line.rstrip("\r\n")
        if text.strip():
            block.append(text)
            continue
        sentence, width = _sentence(block, first, path, universal, width)
        if block and not sentence[0].tokens:
            # A -DOCSTART- or a comment alone: it is written back with the sentence after it.
            block.append("")
            continue
        sentences += sentence
        block, first = [], number + 1
    sentence, width = _sentence(block, first, path, universal, width)
    sentences += sentence
    if not any(sentence.tokens for sentence in sentences):
        raise DataError(f"{path} holds no tokens; each must stand in a line of its own, an empty line after a sentence")
    return [sentence for sentence in sentences if sentence.tokens]


def _sentence(
    block: list[str], first: int, path: Path, universal: bool, width: int | None
) -> tuple[list[Sentence], int | None]:
    """The sentence of a block of lines (none for an empty block), and the number of columns."""
    tokens = []
    for number, line in enumerate(block, start=first):
        columns = _columns(line, universal)
        # A plain file's token may be "#": the number of columns tells it from a comment.
        if columns is None or (line.startswith("# ") and len(columns) != width):
            continue
        if width is None:
            width = len(columns)
        if len(columns) != width:
            reason = "CoNLL-U has 10, between tabs" if universal else f"the lines before it have {width}"
            raise DataError(
                f"{path}, line {number:,} has {len(columns)} columns, and {reason}; "
                f"an empty line stands between sentences"
            )
        tokens.append(TokenRow(columns, number))
    return ([Sentence(tuple(tokens), tuple(block), first, path, universal)] if block else []), width


def _columns(line: str, universal: bool) -> tuple[str, ...] | None:
    """The columns of a token; None for a line that is none."""
    if universal:
        if not line or line.startswith("#"):
            return None
        columns = tuple(line.split("\t"))
        return None if NO_TOKEN.fullmatch(columns[0]) else columns
    if not line or line.startswith("-DOCSTART-"):
        return None
    return tuple(line.split("\t")) if "\t" in line else tuple(line.split())


def with_column(sentence: Sentence, values: Sequence[str], column: int | str | None = None) -> Iterator[str]:
    """The sentence's lines with a column replaced, or with one more at the end where ``column`` is None.

    In CoNLL-U, which always has ten columns, None writes ``predicted=VALUE`` into the last one, ``misc``.

    >>> from pathlib import Path
    >>> rows = (TokenRow(("Ann", "O"), 1), TokenRow(("sleeps", "O"), 2))
    >>> sentence = Sentence(rows, ("Ann O", "sleeps O"), 1, Path("a.conll"), False)
    >>> list(with_column(sentence, ["B-PER", "O"])), list(with_column(sentence, ["B-PER", "O"], 1))
    (['Ann O B-PER', 'sleeps O O', ''], ['Ann B-PER', 'sleeps O', ''])

    Yields:
        Lines without line ends; the last one is the empty line between sentences.
    """
    if len(values) != len(sentence):
        raise InvalidValue(f"{sentence.where()}: {len(sentence)} tokens need as many values, got {len(values)}")
    new = {row.line: (row.columns, value) for row, value in zip(sentence.tokens, values, strict=True)}
    for number, line in enumerate(sentence.lines, start=sentence.first_line):
        yield _replaced(line, *new[number], column, sentence) if number in new else line
    yield ""


def _replaced(line: str, columns: tuple[str, ...], value: str, column: int | str | None, sentence: Sentence) -> str:
    cells = list(columns)
    if column is not None:
        cells[column_index(column, len(cells), sentence.universal, str(sentence.path))] = value
    elif sentence.universal:
        cells[-1] = f"predicted={value}" if cells[-1] == "_" else f"{cells[-1]}|predicted={value}"
    else:
        cells.append(value)
    return ("\t" if "\t" in line else " ").join(cells)


def written(
    sentences: Iterable[Sentence], values: Iterable[Sequence[str]], column: int | str | None = None
) -> Iterator[str]:
    """All lines of a file, with line ends: ``with_column`` of every sentence."""
    for sentence, row in zip(sentences, values, strict=True):
        for line in with_column(sentence, row, column):
            yield line + "\n"
