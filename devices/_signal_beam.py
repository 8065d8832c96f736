"""Signals of a control system as a beam: a shutter's, a PSS's, a tube's."""

import asyncio
import inspect
import numbers
from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from ophyd_async.core import AsyncStatus, WatchableAsyncStatus

from concertino import DeviceError, OverdueError, ParameterError
from concertino.guard import (
    SwitchOff,
    address_of,
    ends_with_session,
    named_with_address,
    switch_of_signal,
    switch_off_of,
)

from ._beam import SWITCH_WORDS, as_switch

_LOOK_S, _SELDOM_S = 0.02, 0.25


class _Settable(Protocol):
    """A signal or device that is set."""

    @property
    def name(self) -> str: ...

    def set(self, value: Any) -> Any: ...


class _Readable(Protocol):
    """A signal that is read."""

    @property
    def name(self) -> str: ...

    def read(self) -> Any: ...

    def describe(self) -> Any: ...


@runtime_checkable
class _TellsSourceKind(Protocol):
    """A device that tells what makes its beam."""

    source_kind: Literal["tube", "synchrotron"] | None


@runtime_checkable
class _TellsDuration(Protocol):
    """A device that tells how long it takes to be set, in seconds; the answer may be awaitable."""

    def set_duration_s(self, value: Any) -> Any: ...


def _word(value: object) -> bool | None:
    return SWITCH_WORDS.get(value.lower()) if isinstance(value, str) else None


class SignalBeam:
    """Makes signals, or any settable device, a beam for plans.

    Without `readback` the device is believed as far as it can be read: see `state_of`. With one, a switch is done when
    the read-back says so, and fails when that has not come to pass in time.

    Parameters
    ----------
    signal : Movable
        What is set: a facility's shutter, a tube's output, a PV or an attribute.
    on, off
        Its values for beam and no beam.
    off_signal : Movable, optional
        What gets `off` instead, where a shutter opens by one signal and closes by another, as at a PSS.
    readback : Readable, optional
        What tells whether there is beam.
    reads_on, reads_off
        Values of `readback` with beam and without; by default `on` and `off`. What is neither is neither, such as a
        shutter that is on its way. A text may be the name of an enumeration's state that reads as a number.
    mask : int, optional
        The bits of `readback` that count: its value and these bits are compared with `reads_on` and `reads_off`.
    timeout_s : float
        Within which the read-back must show what was switched, in seconds.
    name : str
        Of the beam; that of `signal` by default.
    source_kind : {"tube", "synchrotron"}, optional
        What makes the beam; plans cover a full turn by default where opposite views differ. By default
        what the device says of itself.

    Raises
    ------
    ParameterError
        If the read-back could not tell beam from no beam.

    Examples
    --------
    >>> from ophyd_async.core import soft_signal_rw
    >>> from concertino.devices import SignalBeam
    >>> beam = SignalBeam(soft_signal_rw(str, name="frontend"), on="Open", off="Close")
    >>> beam.name
    'frontend'

    A PSS has a command for each way, and bits that tell: 1 is open, 2 is closed, and between both none.

    >>> opens, closes, status = (soft_signal_rw(int, name=n) for n in ("opens", "closes", "status"))
    >>> beam = SignalBeam(opens, on=1, off_signal=closes, off=1, readback=status,
    ...                   reads_on=0b01, reads_off=0b10, mask=0b11, name="pss")
    >>> beam.state_of(0b101), beam.state_of(0b110), beam.state_of(0b100)
    (True, False, None)
    """

    parent = None
    is_beam = True

    def __init__(
        self,
        signal: _Settable,
        *,
        on: object,
        off: object,
        off_signal: _Settable | None = None,
        readback: _Readable | None = None,
        reads_on: object = None,
        reads_off: object = None,
        mask: int | None = None,
        timeout_s: float = 10.0,
        name: str = "",
        source_kind: Literal["tube", "synchrotron"] | None = None,
    ) -> None:
        self.name = name or str(signal.name)
        if source_kind not in (None, "tube", "synchrotron"):
            raise DeviceError(
                f"source_kind: {source_kind!r} was given for beam switch {self.name}; give 'tube' "
                "or 'synchrotron', or leave it out."
            )
        self.signal, self.off_signal, self.readback = signal, off_signal, readback
        self.timeout_s = timeout_s
        self.source_kind = source_kind or (
            signal.source_kind if isinstance(signal, _TellsSourceKind) else None
        )
        self._values = {True: on, False: off}
        self._mask = mask
        self._reads = {
            True: on if reads_on is None else reads_on,
            False: off if reads_off is None else reads_off,
        }
        self._choices: Sequence[str] = ()
        self._coming: Any = None
        self._check((reads_on, reads_off))

    def _check(self, given: tuple[Any, Any]) -> None:
        if self.readback is None and (given != (None, None) or self._mask is not None):
            raise ParameterError(
                f"reads_on, reads_off, mask: given for beam {self.name}, which has no readback. Give the signal "
                "that reads so as readback, too."
            )
        if self.readback is not None and self._reads[True] == self._reads[False]:
            raise ParameterError(
                f"reads_on, reads_off: beam {self.name} would read {self._reads[True]!r} with beam and without. Give "
                "the values of its readback for both."
            )
        if not (isinstance(self.timeout_s, int | float) and 0 < self.timeout_s < float("inf")):
            raise ParameterError(
                f"timeout_s: {self.timeout_s!r} was given for beam {self.name}; give a number of seconds, more than 0."
            )

    def set(self, value: bool | str) -> Any:
        """Switch the beam on (True) or off (False); off takes back an on that is not done.

        Raises
        ------
        DeviceError
            If the control system does not take it; from the status, if the read-back does not show it in time.
        """
        on = as_switch(self.name, value)
        coming, self._coming = self._coming, None
        if not on:
            _take_back(coming)
        told = self._told(on)
        status: Any
        if self.readback is None:
            status = told.set(self._values[on])
        else:
            status = AsyncStatus(self._switched(on, told, *_begun(told, self._values[on])))
        if on:
            self._coming = status
        return status

    def _told(self, on: bool) -> Any:
        """Return what is set to switch the beam on, or off."""
        return self.signal if on or self.off_signal is None else self.off_signal

    async def _switched(self, on: bool, told: Any, begun: Any, failure: Exception | None) -> None:
        """Wait until the read-back shows what the control system was told."""
        found: object = TimeoutError()
        look_s = _LOOK_S
        try:
            async with asyncio.timeout(self.timeout_s):
                while not (on and failure):
                    state, found = await self._look()
                    if state is on:
                        return
                    # That it was told may fail, and it come to pass all the same: the read-back tells.
                    failure = failure or _failure(begun)
                    await asyncio.sleep(look_s)
                    look_s = min(2 * look_s, _SELDOM_S)
        except TimeoutError:
            failure = failure or _failure(begun)
        except asyncio.CancelledError:
            _take_back(begun)
            raise
        raise OverdueError(self._says(on, told, found, failure)) from failure

    async def _look(self) -> tuple[bool | None, object]:
        """Return whether the read-back says that there is beam, and what it reads."""
        try:
            reading = await _answer(self._read.read)
            value = next(iter(reading.values()))["value"]
            if not self._choices and isinstance(value, numbers.Integral):
                await self._learn()
        except Exception as error:
            return None, error
        return self.state_of(value), value

    async def _learn(self) -> None:
        """Ask the read-back for the names of its states, where those are compared."""
        if any(isinstance(own, str) for own in self._reads.values()):
            described = next(iter((await _answer(self._read.describe)).values()))
            self._choices = described.get("enum_strs") or described.get("choices") or ()

    def _says(self, on: bool, told: Any, found: object, failure: Exception | None) -> str:
        what = named_with_address(self.name, told)
        way = "on" if on else "off"
        end = (
            "No frames are taken with it. Check whether the beam is permitted (interlock, PSS, search), and its IOC."
            if on
            else "THE BEAM MAY BE ON. Look, and switch it off by hand; then check its IOC, its interlock, compressed "
            "air and limit switches."
        )
        if on and failure is not None:
            return f"{what} was to be switched on and failed: {_words(failure)}. {end}"
        where = address_of(self._read) or str(self._read.name)
        reads = (
            f"has not answered ({_words(found)})"
            if isinstance(found, Exception)
            else f"reads {_plain(found)}"
        )
        refused = f" That it was told failed: {_words(failure)}." if failure is not None else ""
        bits = "" if self._mask is None else f" in the bits {self._mask:#b}"
        return (
            f"{what} was switched {way}, and {self.timeout_s:g} s later its read-back {where} {reads}, not "
            f"{_plain(self._reads[on])}{bits}.{refused} {end}"
        )  # fmt: skip

    def set_duration_s(self, value: bool | str) -> Any:
        """Return how long `set` takes, in seconds, as the device tells it; 0 when it does not."""
        on = as_switch(self.name, value)
        told = self._told(on)
        return told.set_duration_s(self._values[on]) if isinstance(told, _TellsDuration) else 0.0

    def state_of(self, value: object) -> bool | None:
        """Return whether there is beam when the device, or its read-back, reads as a value; None when that does not tell.

        The values of a read-back tell. Without one, those for beam and no beam tell if they are texts, or true and false;
        so do the words open, on, closed, close and off, if they mean here what they say. A number does not: it may be a
        command that falls back.
        """
        if self.readback is not None:
            return next((on for on, own in self._reads.items() if self._is(value, own)), None)
        for on, own in self._values.items():
            if (
                isinstance(value, str | bool | np.bool_)
                and isinstance(own, str | bool)
                and value == own
            ):
                return on
        words = {on: _word(own) for on, own in self._values.items()}
        return _word(value) if words[True] and words[False] is False else None

    def _is(self, value: object, own: object) -> bool:
        if isinstance(own, str) and isinstance(value, numbers.Integral):
            return 0 <= int(value) < len(self._choices) and self._choices[int(value)] == own
        if self._mask is not None and isinstance(value, numbers.Integral):
            return int(value) & self._mask == own
        return bool(value == own)

    @property
    def ends_with_session(self) -> bool:
        """Whether the device is a part of this process, so that no guard has to switch it off."""
        return ends_with_session(self._told(False))

    def guard_switch(self) -> SwitchOff | None:
        """Return how the guard process switches the beam off; None when the device does not tell."""
        told = self._told(False)
        return switch_of_signal(told, self._values[False]) or switch_off_of(told)

    @property
    def _read(self) -> Any:
        return self.signal if self.readback is None else self.readback

    def read(self) -> Any:
        """Return the reading of the read-back, or of the device without one."""
        return self._read.read()

    def describe(self) -> Any:
        """Return the description of the reading."""
        return self._read.describe()


@runtime_checkable
class _Puts(Protocol):
    """A signal of ophyd, whose ``set`` would wait for a command to read as it was written."""

    def put(self, value: Any) -> Any: ...


def _begun(told: Any, value: Any) -> tuple[Any, Exception | None]:
    """Have something set; return its status, if there is one, and why it failed at once, if it did."""
    try:
        return (told.put(value) if isinstance(told, _Puts) else told.set(value)), None
    except Exception as error:
        return None, error


def _failure(begun: Any) -> Exception | None:
    """Return why what was begun has failed; None as long as it has not."""
    if begun is None or not begun.done or begun.success:
        return None
    return begun.exception(0) or DeviceError("It gives no reason.")


def _take_back(begun: Any) -> None:
    """Cancel what was begun: a device of ophyd-async that is still busy with it would be on in the end."""
    if isinstance(begun, AsyncStatus | WatchableAsyncStatus) and not begun.done:
        begun.task.cancel()


async def _answer(question: Any) -> Any:
    """Return what a device of any library answers; those that block do so in a thread."""
    answer = await asyncio.to_thread(question)
    return await answer if inspect.isawaitable(answer) else answer


def _plain(value: object) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


def _words(error: object) -> str:
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
