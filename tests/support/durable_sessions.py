"""Interactions with the phantom as a journal keeps them, and how a durable session does one."""

BOX = {"kind": "box", "box": "30:90,30:90,20:40"}
PLANE = {"kind": "box", "box": "30:90,30:90,30", "name": "slice"}
STROKE = {"points": [[50, 50, 30], [60, 60, 30]], "label": 1, "radius": 2}
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
