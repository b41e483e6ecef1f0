"""A small phantom, interactions with it as a journal keeps them, and how a durable session does one."""

from bifseg.training.synthetic.phantom import phantom

SCAN, _ = phantom(11, (64, 64, 32))

BOX = {"kind": "box", "box": "15:45,15:45,10:20"}
PLANE = {"kind": "box", "box": "15:45,15:45,15", "name": "slice"}
STROKE = {"points": [[25, 25, 15], [30, 30, 15]], "label": 1, "radius": 1}
SCRIBBLE = {"kind": "scribble", "scribbles": {"strokes": [STROKE]}}


def drain(session, interaction, key=None):
    """All rounds, and where the interaction led."""
    steps, rounds = [], session.apply(interaction, key)
    while True:
        try:
            steps.append(next(rounds))
        except StopIteration as end:
            return steps, end.value


def do(session, interaction, key=None):
    """Where an interaction led, when it is done."""
    return drain(session, interaction, key)[1]
