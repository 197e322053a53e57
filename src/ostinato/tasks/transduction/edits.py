"""The edit distance of two texts, a column of its table at a time: the bits of an integer are the column's places."""

from __future__ import annotations


def edit_distance(one: str, other: str) -> int:
    """The fewest characters to insert, remove or replace that make ``other`` of ``one``.

    The table's columns are kept as differences between neighbours, +1 and −1 a bit each, and a column follows from
    the one before by a handful of operations on whole integers: G. Myers, A fast bit-vector algorithm for approximate
    string matching based on dynamic programming, J. ACM 46, 1999, in H. Hyyrö's form of 2003.

    >>> edit_distance("kitten", "sitting")
    3
    """
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for place, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << place
    last, every = 1 << (len(one) - 1), (1 << len(one)) - 1
    more, less, distance = every, 0, len(one)
    for character in other:
        equal = places.get(character, 0)
        across = (((equal & more) + more) ^ more) | equal
        grows, falls = less | ~(across | more), more & across
        if grows & last:
            distance += 1
        elif falls & last:
            distance -= 1
        # A step further along `other` costs one more in the table's first row.
        grows, falls = grows << 1 | 1, falls << 1
        more, less = (falls | ~(equal | less | grows)) & every, grows & (equal | less) & every
    return distance
