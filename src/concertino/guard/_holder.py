"""Holds the connection to one beam, and switches it off when it is told to."""

import threading
import time
from collections.abc import Callable

from ._actions import Action, action_of
from ._report import SwitchedBeam
from ._switches import SwitchOff

#: How long it is tried to switch a beam off, in seconds.
OFF_S = 60.0
_LOOK_S = 5.0
_AGAIN_S = 0.5

Tell = Callable[[str, str], None]


class Holder:
    """A thread that is connected to one beam.

    Parameters
    ----------
    name : str
        Name of the beam.
    switch : SwitchOff
        How to switch it off.
    tell : callable
        Called with the name, and what is wrong with the connection: nothing when it is there.
    """

    def __init__(self, name: str, switch: SwitchOff, tell: Tell) -> None:
        self._name = name
        self._switch = switch
        self._tell = tell
        self._action: Action | None = None
        self._connected = False
        self._told: str | None = None
        self._wake = threading.Event()
        self._off_since_s: float | None = None
        self._result: SwitchedBeam | None = None
        self._said = ""
        # A library that hangs must not keep the process from ending.
        threading.Thread(target=self._run, name=f"holds {name}", daemon=True).start()

    def switch_off(self) -> None:
        """Begin to switch the beam off."""
        self._result = None
        self._said = "its connection does not answer"
        self._off_since_s = time.monotonic()
        self._wake.set()

    def result(self) -> SwitchedBeam | None:
        """Return what became of the last `switch_off`; None while it is tried."""
        if self._result is None and self._off_since_s is not None:
            tried_s = time.monotonic() - self._off_since_s
            if tried_s > OFF_S:
                return self._switched(False, tried_s, self._said)
        return self._result

    def so_far(self) -> SwitchedBeam:
        """Return what became of it until now."""
        since_s = self._off_since_s or time.monotonic()
        return self.result() or self._switched(False, time.monotonic() - since_s, self._said)

    def _switched(self, off: bool, after_s: float, said: str) -> SwitchedBeam:
        return SwitchedBeam(self._name, str(self._switch), off, after_s, said)

    def _run(self) -> None:
        while True:
            if self._off_since_s is not None and self._result is None:
                self._try_off(self._off_since_s)
            else:
                self._look()
            waiting = self._result is not None or self._off_since_s is None
            self._wake.wait(_LOOK_S if self._connected and waiting else _AGAIN_S)
            self._wake.clear()

    def _look(self) -> None:
        try:
            if self._connected:
                self._take_action().check()
            else:
                self._take_action().connect()
        except BaseException as error:
            self._connected = False
            self._say(_reason(error))
        else:
            self._connected = True
            self._say("")

    def _try_off(self, since_s: float) -> None:
        try:
            action = self._take_action()
            if not self._connected:
                action.connect()
                self._connected = True
            said = action.off()
        except BaseException as error:
            self._connected = False
            self._said = _reason(error)
        else:
            self._result = self._switched(True, time.monotonic() - since_s, said)

    def _take_action(self) -> Action:
        if self._action is None:
            self._action = action_of(self._switch)
        return self._action

    def _say(self, wrong: str) -> None:
        if wrong != self._told:
            self._told = wrong
            self._tell(self._name, wrong)


def _reason(error: BaseException) -> str:
    # PyTango's errors are stacks; the first says what is wrong.
    first = getattr(error.args[0], "desc", None) if error.args else None
    return " ".join(str(first or error).split())[:300] or type(error).__name__
