"""What an interaction costs the user: a model of hand and eye, so that methods can be compared by user time.

One model for boxes, strokes and clicks: to look, to aim, and the way of the hand, which crosses the whole object in one
second. The constants are assumptions, not measurements on our users, and quick ones: a box in 2D takes 5.4 s, where
people who click its four extreme points take 7 s (Papadopoulos et al., ICCV 2017), and a stroke some 2 s. Every row of
a benchmark holds the number of strokes and their length too, so that anyone can apply others.
"""

from __future__ import annotations

from dataclasses import dataclass

LOOK = 2.0  # seconds to see what is there, or what is wrong, once a round
AIM = 1.0  # to place a corner, a click, or the beginning of a stroke
SPEED = 1.0  # longest extents of the object a second
SCROLL = 1.5  # to another plane
BOX_WAY = 2**0.5  # longest extents, from corner to corner
BOX = {2: LOOK + 2 * AIM + BOX_WAY / SPEED}
BOX[3] = BOX[2] + 2 * (SCROLL + AIM)  # and the first and the last plane


@dataclass(frozen=True)
class Effort:
    """One round of a user's work: strokes, the way of the hand in longest extents of the object, and planes.

    ``box``: the dimension of the box that was drawn, 0 if none was; its corners may count as strokes beside.
    """

    strokes: int = 0
    length: float = 0.0
    planes: int = 0
    box: int = 0

    @property
    def seconds(self) -> float:
        """Time of hand and eye, without waiting for the machine.

        >>> Effort(strokes=2, length=1.5, planes=1).seconds
        5.5
        """
        if self.box:
            return BOX[self.box]
        drawing = LOOK + AIM * self.strokes + self.length / SPEED if self.strokes else 0.0
        return drawing + SCROLL * max(0, self.planes - 1)
