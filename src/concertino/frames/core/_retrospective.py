"""What decides which frames of a camera that exposes without end are kept."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from concertino._clocks import HostTimes


@dataclass(frozen=True)
class TriggerEvent:
    """That a trigger was fired.

    Parameters
    ----------
    time_ns : int
        When what it tells of happened, in nanoseconds since the epoch. Frames whose exposure's
        middle is not later are before it.
    reason : str
        Why, in words.
    value : float or None
        The figure that made it fire, when there is one.
    """

    time_ns: int
    reason: str
    value: float | None = None

    @property
    def time(self) -> HostTimes:
        """When it happened, by the computer's clock."""
        return HostTimes(self.time_ns)


@dataclass(frozen=True)
class Recording:
    """What was kept of the frames around a trigger.

    Parameters
    ----------
    event : TriggerEvent
        What fired.
    before, after : int
        Frames kept from before it, and frames asked for from after it. Fewer than asked are from
        before when it fired too soon after the start, or was heard of too late.
    discarded : int
        Frames exposed before those, and let go.
    late_s : float
        How long after the event the first of them was exposed, in seconds, when the frames around it were
        gone already or never exposed; 0 when they are kept.
    """

    event: TriggerEvent
    before: int
    after: int
    discarded: int
    late_s: float = 0.0


class RecordingTrigger:
    """Says when to keep the frames around an event; fired once, from any thread.

    It must be armed, which a camera does when it starts to expose. The first to fire it wins.

    Examples
    --------
    >>> from concertino.frames import RecordingTrigger
    >>> trigger = RecordingTrigger()
    >>> trigger.fire("too early: no camera exposes")
    False
    >>> trigger.arm()
    >>> trigger.fire("the crack opened")
    True
    >>> trigger.event.reason
    'the crack opened'
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._armed = False
        self._event: TriggerEvent | None = None
        self._recordings: dict[str, Recording] = {}

    @property
    def armed(self) -> bool:
        """Whether it waits to be fired."""
        return self._armed and self._event is None

    @property
    def event(self) -> TriggerEvent | None:
        """What fired it since it was armed."""
        return self._event

    @property
    def recordings(self) -> dict[str, Recording]:
        """What each camera kept since it was armed, by the camera's name."""
        with self._changed:
            return dict(self._recordings)

    def arm(self) -> None:
        """Forget what was, and wait to be fired."""
        with self._changed:
            if not self.armed:
                self._armed, self._event = True, None
                self._recordings.clear()

    def disarm(self) -> None:
        """Take no more notice of being fired."""
        with self._changed:
            self._armed = False
            self._changed.notify_all()

    def fire(
        self,
        reason: str = "fired by the user",
        *,
        time_ns: int | None = None,
        value: float | None = None,
    ) -> bool:
        """Have the frames around a time kept.

        Parameters
        ----------
        reason : str
            Why; it goes into the documents of the run.
        time_ns : int, optional
            When it happened, in nanoseconds since the epoch; now by default. It may have been a
            while ago, as long as the frames before it are still in the camera's ring.
        value : float, optional
            The figure that made it fire.

        Returns
        -------
        bool
            Whether this is what the camera keeps frames of. It is not when the trigger is not
            armed, or was fired before.
        """
        with self._changed:
            if not self.armed:
                return False
            self._event = TriggerEvent(time_ns or time.time_ns(), reason, value)
            self._changed.notify_all()
            return True

    def wait(self, timeout_s: float | None = None) -> TriggerEvent | None:
        """Wait until it is fired or disarmed; return what fired it, or None.

        Parameters
        ----------
        timeout_s : float, optional
            How long, in seconds; as long as it takes by default.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self.armed, timeout_s)
            return self._event

    def note(self, camera: str, recording: Recording) -> None:
        """Take note of what a camera kept."""
        with self._changed:
            self._recordings[camera] = recording
            self._changed.notify_all()


@dataclass(frozen=True)
class Retrospective:
    """That a camera shall expose without end, and keep the frames around a trigger.

    Parameters
    ----------
    before, after : int
        Frames to keep from before and from after the trigger.
    trigger : RecordingTrigger
        Says when.
    preview_hz : float
        How often a frame is shown to displays and measures while the camera waits, at most.
    """

    before: int
    after: int
    trigger: RecordingTrigger
    preview_hz: float = 10.0
