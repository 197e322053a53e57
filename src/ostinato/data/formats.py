"""The layouts of files that Ostinato reads: what ``ostinato formats`` shows, and the tests read back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain


@dataclass(frozen=True)
class Format:
    """A layout, with five rows of an example and the command that learns from it.

    Args:
        title: what a row is.
        file: a name for the example.
        example: its text; of several files the one that is named.
        command: what trains on it.
        note: what else is to be known.
    """

    title: str
    file: str
    example: str
    command: str
    note: str = ""


FORMATS = (
    Format(
        "One row a sequence: a text in a column",
        "reviews.csv",
        "text,mood\n"
        '"Warm, and soon over",good\n'
        "I left after an hour,bad\n"
        "Nothing new in it,bad\n"
        "The best in years,good\n"
        "Twice is not enough,good\n",
        "ostinato train reviews.csv --task classify --inputs text --target mood",
        "The target may be numbers: --task regress.",
    ),
    Format(
        "One row a sequence: a step in each column",
        "beats.csv",
        "t1,t2,t3,t4,kind\n0.1,0.9,0.2,0.1,normal\n0.1,0.3,0.8,,late\n0.0,0.9,0.3,0.1,normal\n"
        "0.2,0.2,0.9,0.2,late\n0.1,0.8,0.2,,normal\n",
        "ostinato train beats.csv --task classify --inputs t1,t2,t3,t4 --target kind",
        "Empty cells at the end make a sequence shorter.",
    ),
    Format(
        "One row a sequence: a list in a cell",
        "strokes.jsonl",
        '{"x": [0.1, 0.4, 0.9], "y": [0.0, 0.1, 0.1], "sign": "dash"}\n'
        '{"x": [0.5, 0.5], "y": [0.1, 0.9], "sign": "bar"}\n'
        '{"x": [0.2, 0.8], "y": [0.5, 0.5], "sign": "dash"}\n'
        '{"x": [0.4, 0.4, 0.4], "y": [0.9, 0.5, 0.1], "sign": "bar"}\n'
        '{"x": [0.0, 0.3, 0.7], "y": [0.2, 0.2, 0.3], "sign": "dash"}\n',
        "ostinato train strokes.jsonl --task classify --inputs x,y --target sign",
    ),
    Format(
        "One row a step: logs of many units (long format)",
        "machines.csv",
        "unit,hour,heat,load,failed\n7,0,40.1,0.8,no\n7,1,40.9,0.9,no\n7,2,41.0,0.7,no\n8,0,52.4,0.9,yes\n8,1,60.3,1.0,yes\n",
        "ostinato train machines.csv --task classify --group unit --time hour --inputs heat,load --target failed",
        "The target is the same in all rows of a unit; its rows rise in time.",
    ),
    Format(
        "One file a class: a sequence a line",
        "names/Dutch.txt",
        "Aalsburg\nBakker\nDijkstra\nHoutman\nVan der Meer\n",
        "ostinato train 'names/*.txt' --task classify",
        "The class is the file's name without .txt.",
    ),
    Format(
        "One row a sequence: .ts of the UEA and sktime archives",
        "vowels.ts",
        "@dimensions 2\n@equalLength false\n@classLabel true a e\n@data\n"
        "1.8,1.9,1.7:0.2,0.1,0.1:a\n1.3,1.4:0.6,0.5:e\n1.9,1.8:0.1,0.2:a\n1.2,1.3,1.3:0.7,0.6,0.6:e\n1.7,1.8:0.2,0.2:a\n",
        "ostinato train vowels.ts --task classify",
    ),
    Format(
        "One row a time: series side by side (wide format)",
        "load.csv",
        "time,north,south\n2016-07-01 00:00,5.8,2.0\n2016-07-01 01:00,5.7,2.1\n2016-07-01 02:00,5.2,1.7\n"
        "2016-07-01 03:00,5.1,1.7\n2016-07-01 04:00,5.4,1.9\n",
        "ostinato train load.csv --task forecast --time time --target north --inputs south --horizon 24",
    ),
    Format(
        "One row a time and series: many series (long format)",
        "shops.csv",
        "shop,day,sales,holiday\nA,2024-01-01,12,1\nA,2024-01-02,31,0\nA,2024-01-03,28,0\nB,2024-01-01,7,1\nB,2024-01-02,19,0\n",
        "ostinato train shops.csv --task forecast --group shop --time day --target sales --known holiday --horizon 7",
    ),
    Format(
        "One row a pair of texts",
        "dates.tsv",
        "spoken\twritten\nthe first of May\t1 May\nMay the ninth\t9 May\nJune the third\t3 June\n"
        "the tenth of June\t10 June\nthe second of July\t2 July\n",
        "ostinato train dates.tsv --task transduce --source spoken --target written",
        "In TSV a quote is a character like any other.",
    ),
    Format(
        "One row a word: CoNLL and CoNLL-U, an empty line after each sentence",
        "places.conll",
        "Ann B-PER\nlives O\nin O\nRome B-LOC\n. O\n\n",
        "ostinato train places.conll --task tag",
        "The last column is the tag; in .conllu it is upos. --words and --target name others.",
    ),
    Format(
        "A plain text",
        "plays.txt",
        "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n",
        "ostinato train plays.txt",
        "Of any length, in UTF-8.",
    ),
)

CLOSING = (
    "Tables may be CSV, TSV, JSON lines (.jsonl), Parquet or plain text (one column, text), with the same columns.\n"
    "A file may be a folder or a glob in quotes; several files are read one after another. Text is UTF-8.\n"
)


def described() -> str:
    """All layouts as plain text, in no line wider than 120 characters.

    >>> described().splitlines()[0]
    'One row a sequence: a text in a column'
    """
    blocks = (
        chain(
            [one.title, f"  {one.file}"],
            (f"    {line}".rstrip() for line in one.example.replace("\t", " ⇥ ").splitlines()),
            [f"  {one.note}"] if one.note else [],
            [f"  $ {one.command}", ""],
        )
        for one in FORMATS
    )
    return "\n".join(chain.from_iterable(blocks)) + "\n" + CLOSING
