"""How long a run needs its sample, said in its messages to whoever brings in the next one."""

import time

from concertino.plans._asides import Aside

from ._pause_request import PauseRequest


class SampleUse(Aside[None]):
    """How long a run needs its sample. A run says it before each of its pieces.

    Parameters
    ----------
    hold : PauseRequest or None
        Asks the run for pauses.
    """

    def __init__(self, hold: PauseRequest | None) -> None:
        self._hold = hold
        self.last = False
        self.left_s: float | None = None

    @property
    def may_leave(self) -> bool:
        """Whether the sample may leave when what is taken now is exposed: nothing is to come after."""
        return self.last and not (self._hold is not None and self._hold.pending)

    def leave(self) -> None:
        """Say that the sample leaves: no frame of it can be taken from now on."""
        self.left_s = time.time()

    @property
    def left(self) -> bool:
        """Whether the sample has left."""
        return self.left_s is not None


class MoreToCome(Aside[None]):
    """Said before a piece is ended early: what is missing of it is to be taken, too.

    The request to pause that ended it may be taken back at any moment, and then nothing else tells.
    """


class SampleToTheEnd(Aside[None]):
    """Said by what needs the sample to its end.

    That is a series of runs, and an acquisition that goes by what it sees: nobody knows its last frame.
    """
