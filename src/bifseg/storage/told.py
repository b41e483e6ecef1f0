"""How much a stranger's JSON may tell: whoever reads it again, for one request after the other, holds up all others."""

from __future__ import annotations

DEEPEST = 16  # levels of lists and dicts in what is told of an interaction: what writes JSON for clients has 255
LETTERS, BITS = 64, 512  # bytes of a text, and bits of a number, that cost as much as a part


def depth(value: object) -> int:
    """How many levels of lists and dicts there are, `DEEPEST` and one at most."""
    level, found = [value], 0
    while found <= DEEPEST:
        inner = [one for one in level if isinstance(one, dict | list)]
        if not inner:
            break
        found += 1
        level = [one for thing in inner for one in (thing.values() if isinstance(thing, dict) else thing)]
    return found


def parts(value: object, most: int) -> int:
    """How many parts there are, each value, list and dict one, long texts and numbers more; a few above ``most`` at
    most. ValueError for a text with half a letter, of which no JSON can be made for clients.

    >>> parts({"box": "1:2,3:4,5", "at": [1, 2]}, 100)
    7
    """
    count, left = 0, [value]
    while left and count <= most:
        one = left.pop()
        count += 1
        if isinstance(one, dict):
            count += sum(1 + len(str(name).encode()) // LETTERS for name in one)
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
        elif isinstance(one, str):
            count += len(one.encode()) // LETTERS
        elif isinstance(one, int):
            count += one.bit_length() // BITS
    return count
