"""The driver of an areaDetector: what of ADBase's records a camera needs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from concertino import CameraError

from ._records import Records, RecordValue

#: Records that not every driver has.
_OPTIONAL = (
    "MinX", "MinX_RBV", "MinY", "MinY_RBV", "SizeX", "SizeX_RBV", "SizeY", "SizeY_RBV",
    "MaxSizeX_RBV", "MaxSizeY_RBV", "BinX", "BinX_RBV", "BinY", "BinY_RBV", "Gain", "Gain_RBV",
    "ArrayCallbacks", "StatusMessage_RBV",
)  # fmt: skip
_NEEDED = (
    "Acquire", "Acquire_RBV", "DetectorState_RBV", "ArrayCounter", "ArrayCounter_RBV",
    "AcquireTime", "AcquireTime_RBV", "AcquirePeriod", "AcquirePeriod_RBV",
    "ImageMode", "ImageMode_RBV", "NumImages", "NumImages_RBV", "TriggerMode", "TriggerMode_RBV",
    "ArraySizeX_RBV", "ArraySizeY_RBV", "DataType_RBV",
)  # fmt: skip
#: What the records are called in which some drivers tell the limits of another.
_LIMIT_NAMES = (("_MIN", "_MAX"), ("Min_RBV", "Max_RBV"))
#: Of ADBase's DetectorState_RBV: it exposes no more until somebody has looked after it.
_BAD_STATES = {6: "Error", 9: "Disconnected"}
_POLL_S = 0.002
#: How far a driver may round a time: by a hundredth, or by some lines of its sensor, in s.
_ROUNDING, _ROUNDING_S = 0.01, 5e-5


@dataclass(frozen=True)
class DriverStatus:
    """What a driver does.

    Parameters
    ----------
    acquiring : bool
        Whether it exposes, or waits for a trigger.
    counter : int
        Images that it has made since somebody set its ArrayCounter to 0.
    trouble : str
        What is wrong with it, in a few words; empty when nothing is.
    """

    acquiring: bool
    counter: int
    trouble: str


class Driver:
    """The records of an areaDetector's driver.

    Parameters
    ----------
    camera : str
        Name of the camera in messages.
    records : Records
        Reads and writes them.
    prefix : str
        What all their names begin with, such as ``"SIM:cam1:"``.
    timeout_s : float
        How long the driver may take to do what it is told, in seconds.
    own : sequence of str
        Records of its own that shall be settable, without `prefix`.

    Raises
    ------
    CameraError
        If there is no such driver, or it has not all of these.
    """

    def __init__(
        self,
        camera: str,
        records: Records,
        prefix: str,
        timeout_s: float,
        own: Sequence[str] = (),
    ) -> None:
        self._camera = camera
        self._records = records
        self.prefix = prefix
        self._timeout_s = timeout_s
        self.get("ArrayCounter_RBV")  # says at once when nothing is there
        names = (*_NEEDED, *_OPTIONAL)
        present = records.present(*(prefix + name for name in names))
        if missing := [name for name in _NEEDED if prefix + name not in present]:
            raise CameraError(
                f"Camera {camera} was given an areaDetector at {prefix}, and {', '.join(missing)} do not answer "
                "there. Check the prefix and the name of the driver, usually cam1:, and whether the IOC is one of "
                "areaDetector."
            )
        self._has = frozenset(name for name in names if prefix + name in present)
        self.own = tuple(own)
        self._own_has = self._look_for_own() if own else frozenset()

    def has(self, *names: str) -> bool:
        """Whether the driver has all of some records, each with its read-back."""
        return all(name in self._has and f"{name}_RBV" in self._has for name in names)

    def has_readback(self, name: str) -> bool:
        """Whether the driver tells something, be it settable or not."""
        return f"{name}_RBV" in self._has

    def get(self, *names: str) -> list[RecordValue]:
        """Return what records hold."""
        return self._records.get(*(self.prefix + name for name in names))

    def number(self, name: str) -> int:
        """Return a record that is a whole number."""
        return int(self.get(name)[0])

    def choices(self, name: str) -> tuple[str, ...]:
        """Return the words of an enumeration."""
        return self._records.choices(self.prefix + name)

    def limits(self, *names: str) -> list[tuple[float | None, float | None]]:
        """Return the lowest and the highest of what records can be set to, where that is known.

        What the records say themselves; and for one of the driver's own also what NAME_MIN and NAME_MAX, or
        NAMEMin_RBV and NAMEMax_RBV, hold.
        """
        found: list[tuple[float | None, float | None]] = []
        said = self._records.limits(*(self.prefix + name for name in names))
        for name, limits in zip(names, said, strict=True):
            lowest, highest = limits or (None, None)
            for low, high in _LIMIT_NAMES:
                if name + low in self._own_has:
                    bound = float(self.get(name + low)[0])
                    lowest = bound if lowest is None else max(lowest, bound)
                if name + high in self._own_has:
                    bound = float(self.get(name + high)[0])
                    highest = bound if highest is None else min(highest, bound)
            found.append((lowest, highest))
        return found

    def read_back(self, name: str) -> RecordValue:
        """Return what the driver has made of a setting: its read-back, if there is one."""
        return self.get(self._back(name))[0]

    def status(self) -> DriverStatus:
        """Return what the driver does."""
        acquiring, state, counter = self.get("Acquire_RBV", "DetectorState_RBV", "ArrayCounter_RBV")
        trouble = _BAD_STATES.get(int(state), "")
        if trouble and "StatusMessage_RBV" in self._has:
            trouble += f" ({self.get('StatusMessage_RBV')[0]})"
        return DriverStatus(bool(acquiring), int(counter), trouble)

    def check(self, status: DriverStatus, doing: str) -> None:
        """Raise `CameraError` if the driver is in trouble.

        Parameters
        ----------
        status : DriverStatus
            What it does.
        doing : str
            What it was to do, as part of a sentence.
        """
        if status.trouble:
            raise CameraError(
                f"Camera {self._camera} was to {doing}, and its driver tells the state {status.trouble}: "
                f"{self.prefix}DetectorState_RBV. Look at the driver's screen and the IOC's log, check the detector's power "
                "and cable, and reset the driver."
            )

    def begin(self) -> None:
        """Have the driver begin; returns when it was told."""
        self._records.put(f"{self.prefix}Acquire", 1, wait=False)

    def end(self) -> None:
        """Stop the driver and wait until it has.

        Raises
        ------
        CameraError
            If it does not answer, or does not stop in time.
        """
        if not self.number("Acquire_RBV"):
            return
        self._records.put(f"{self.prefix}Acquire", 0, wait=False)
        self.wait(
            lambda: not self.number("Acquire_RBV"), "Acquire was set to 0 and Acquire_RBV stays 1"
        )

    def wait(self, happened: Callable[[], bool], said: str) -> None:
        """Wait until something is so; raise `CameraError` with what was found if it is not in time."""
        deadline_s = time.monotonic() + self._timeout_s
        while not happened():
            if time.monotonic() > deadline_s:
                raise CameraError(
                    f"Camera {self._camera}: the driver {self.prefix} has not done what it was told within "
                    f"{self._timeout_s:g} s: {said}. Look at the driver's screen and the IOC's log, and restart the IOC."
                )
            time.sleep(_POLL_S)

    def put(self, name: str, value: RecordValue) -> None:
        """Set a record whose read-back must follow.

        Raises
        ------
        CameraError
            If it takes another value.
        """
        if self._reads(name, value):
            return
        self._records.put(self.prefix + name, value)
        deadline_s = time.monotonic() + self._timeout_s
        while not self._reads(name, value):
            if time.monotonic() > deadline_s:
                found = self.read_back(name)
                raise CameraError(
                    f"Camera {self._camera}: {self.prefix}{name} was set to {value!r}, and the driver made it {found!r}. "
                    "Ask for what the detector can do, or look at the driver's screen for what hinders it."
                )
            time.sleep(_POLL_S)

    def ask(self, name: str, value: RecordValue) -> None:
        """Set a record; the driver may make of it what is next to it."""
        self._records.put(self.prefix + name, value)

    def choose(self, name: str, word: str) -> None:
        """Set an enumeration by a word.

        Raises
        ------
        CameraError
            If it has no such word.
        """
        words = self.choices(name)
        if word not in words:
            raise CameraError(
                f"Camera {self._camera}: {self.prefix}{name} was to be {word!r}; it can be {', '.join(words)}. Tell which of "
                "these means what by trigger_modes, if it is the trigger mode."
            )
        self.put(name, words.index(word))

    def pixel_type(self) -> np.dtype[Any]:
        """Return the type of the driver's pixels."""
        return np.dtype(self.choices("DataType_RBV")[self.number("DataType_RBV")].lower())

    def geometry(self) -> Mapping[str, int]:
        """Return what the shape and type of a frame follow from."""
        names = [
            name for name in ("MinX", "MinY", "SizeX", "SizeY", "BinX", "BinY") if self.has(name)
        ]
        read = [f"{name}_RBV" for name in names] + ["DataType_RBV"]
        found = self.get(*read)
        return {name: int(value) for name, value in zip([*names, "DataType"], found, strict=True)}

    def tells_images(self) -> None:
        """Have the driver pass its images on to its plugins."""
        if "ArrayCallbacks" in self._has and not self.number("ArrayCallbacks"):
            self._records.put(f"{self.prefix}ArrayCallbacks", 1)

    def _reads(self, name: str, value: RecordValue) -> bool:
        found = self.read_back(name)
        if isinstance(value, float):
            return abs(float(found) - value) <= max(_ROUNDING * value, _ROUNDING_S)
        return found == value

    def _back(self, name: str) -> str:
        """Return the record that tells what the driver has made of another."""
        has_none = name in self.own and f"{name}_RBV" not in self._own_has
        return name if has_none else f"{name}_RBV"

    def _look_for_own(self) -> frozenset[str]:
        """Return which of the driver's own records there are, with those that belong to them."""
        if ours := [name for name in self.own if name in (*_NEEDED, *_OPTIONAL)]:
            raise CameraError(
                f"Camera {self._camera} was to have {', '.join(ours)} of {self.prefix} as settings of the driver's own; a "
                "camera has these anyway. Set exposure, frame_rate, region, binning, gain or trigger_mode."
            )
        ends = ("", "_RBV", *(end for pair in _LIMIT_NAMES for end in pair))
        names = [name + end for name in self.own for end in ends]
        present = self._records.present(*(self.prefix + name for name in names))
        if missing := [name for name in self.own if self.prefix + name not in present]:
            raise CameraError(
                f"Camera {self._camera} was asked for the settings {', '.join(missing)}, and there are no such records at "
                f"{self.prefix}. Look up their names in the driver's database or on its screen, without the prefix."
            )
        return frozenset(name for name in names if self.prefix + name in present)
