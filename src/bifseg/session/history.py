"""How a session goes from state to state, forth by interactions, back by undo."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from bifseg.errors import InvalidInput
from bifseg.method.finetune import Round
from bifseg.session.interactions import INTERACTIONS, Interaction
from bifseg.session.interactions.base import Rounds
from bifseg.session.state import State
from bifseg.session.workbench import Workbench


class SessionHistory:
    """States, each reached from the one before by an interaction; one of them is shown.

    Parameters
    ----------
    state
        What the history begins with.
    bench
        What interactions compute with.
    """

    def __init__(self, state: State, bench: Workbench) -> None:
        self._bench = bench
        self.go_on_from(state)

    @property
    def state(self) -> State:
        """All objects as they stand."""
        return self._history[self._position]

    def go_on_from(self, state: State) -> None:
        """Make a state the whole history: it can be worked on, and nothing before it undone.

        Parameters
        ----------
        state
            Objects on this image.
        """
        self._history, self._position = [state], 0

    def undo(self) -> bool:
        """Take back the last interaction.

        Returns
        -------
        bool
            False where there is none.
        """
        return self._move(-1)

    def redo(self) -> bool:
        """Bring back what was undone last.

        Returns
        -------
        bool
            False where there is nothing.
        """
        return self._move(+1)

    def rounds(self, interaction: Interaction | str, *arguments: object, **options: object) -> Iterator[Round]:
        """An interaction round by round; the session changes when all were taken, so to stop is to cancel.

        Parameters
        ----------
        interaction
            An `Interaction`, or the name of one that computes.
        *arguments, **options
            Of the interaction that is named.

        Returns
        -------
        iterator of Round
            Each as soon as it is computed.

        Examples
        --------
        >>> for step in session.rounds("scribble", labels):  # doctest: +SKIP
        ...     print(step.index, step.energy)
        """
        if isinstance(interaction, str):
            known = {kind: one for kind, one in INTERACTIONS.items() if one.computes}
            if interaction not in known:
                raise InvalidInput(f"Unknown interaction {interaction!r}; with rounds there are {', '.join(known)}.")
            interaction = known[interaction](*arguments, **options)
        return self._taken(interaction.apply(self.state, self._bench))

    def _take(self, interaction: Interaction) -> None:
        deque(self.rounds(interaction), maxlen=0)

    def _taken(self, steps: Rounds) -> Iterator[Round]:
        state = yield from steps
        self._history[self._position + 1 :] = [state]
        self._position += 1

    def _move(self, step: int) -> bool:
        if not 0 <= self._position + step < len(self._history):
            return False
        self._position += step
        return True
