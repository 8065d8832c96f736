"""What a device may offer besides what plans need; plans ask by these whether it does."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TellsDuration(Protocol):
    """A device that tells how long it takes to be set, in seconds; the answer may be awaitable."""

    name: str

    def set_duration_s(self, value: Any) -> Any: ...


@runtime_checkable
class Reads(Protocol):
    """Something that can be read, such as a signal."""

    def read(self) -> Any: ...


@runtime_checkable
class Stops(Protocol):
    """A device that can be stopped: an axis, or a camera that exposes no more then."""

    def stop(self, *, success: bool = False) -> Any: ...


@runtime_checkable
class Abandons(Protocol):
    """A guard of a beam, which has deadlines of its own."""

    def abandon(self) -> None: ...


@runtime_checkable
class SaysIfBeam(Protocol):
    """A device that says whether it is what switches a beam."""

    is_beam: bool


@runtime_checkable
class TellsState(Protocol):
    """A beam that tells what a value that it reads means; None for neither on nor off."""

    def state_of(self, value: Any) -> Any: ...


@runtime_checkable
class HasVelocity(Protocol):
    """An axis whose velocity is a device of its own."""

    velocity: Any


@runtime_checkable
class ChecksValue(Protocol):
    """An axis that raises when it does not accept a position."""

    def check_value(self, value: float) -> Any: ...


@runtime_checkable
class ChecksVelocity(Protocol):
    """An axis that raises when it does not accept a velocity."""

    def check_velocity(self, value: float) -> Any: ...


@runtime_checkable
class HasResolution(Protocol):
    """An encoder, or a box that notes positions, which tells how finely, in the axis' unit."""

    resolution: float


@runtime_checkable
class HasEncoder(Protocol):
    """An axis with something that records where it is."""

    encoder: Any


@runtime_checkable
class NotesPositions(Protocol):
    """A trigger box that tells at which positions it gave its pulses, from one on."""

    def captured(self, since: int) -> Any: ...


@runtime_checkable
class ChecksTrain(Protocol):
    """A trigger box that raises when it cannot give some pulses."""

    def check_train(self, value: Any) -> Any: ...


@runtime_checkable
class ChecksRequest(Protocol):
    """A camera that raises when it cannot deliver some frames."""

    def check_request(self, request: Any) -> Any: ...


@runtime_checkable
class HasClock(Protocol):
    """A device whose times are by a clock of its own: what it shows now, in seconds."""

    def clock(self) -> Any: ...


@runtime_checkable
class HasExposure(Protocol):
    """A camera whose exposure time can be read, in seconds."""

    exposure: Any


@runtime_checkable
class HasFrameRate(Protocol):
    """A camera, whose frame rate can be read."""

    frame_rate: Any


@runtime_checkable
class TellsExposures(Protocol):
    """A camera that tells which frames it has exposed, from one on, and when."""

    name: str

    def exposures(self, since: int = 0) -> Any: ...


@runtime_checkable
class CountsExposed(Protocol):
    """A camera that counts the frames of its present stream that are exposed."""

    num_exposed: int


@runtime_checkable
class CountsSafe(Protocol):
    """A camera or another detector that tells how many frames are safe."""

    def get_index(self) -> Any: ...


@runtime_checkable
class ReadsSettings(Protocol):
    """A camera that tells which of its settings only people change."""

    def read_settings(self) -> Any: ...


def name_of(device: object, otherwise: str | None = None) -> str:
    """Return what a device is called; what has no name is shown, or called otherwise."""
    shown = str(device) if otherwise is None else otherwise
    return str(getattr(device, "name", shown))
