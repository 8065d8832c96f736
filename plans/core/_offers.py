"""What a device may offer besides what plans need; plans ask by these whether it does."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from bluesky.protocols import HasName

from concertino.frames import FrameRequest, PulseTrain


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

    def state_of(self, value: object) -> Any: ...


@runtime_checkable
class TellsTimeout(Protocol):
    """A beam that fails by itself when it is not switched within so many seconds."""

    timeout_s: float


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

    def check_train(self, value: PulseTrain) -> Any: ...


@runtime_checkable
class ChecksRequest(Protocol):
    """A camera that raises when it cannot deliver some frames."""

    def check_request(self, request: FrameRequest) -> Any: ...


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


@runtime_checkable
class ReadsConfiguration(Protocol):
    """A device that reads what only people change."""

    def read_configuration(self) -> Any: ...


@runtime_checkable
class TellsFrameSize(Protocol):
    """A camera that tells the shape of its frames in pixels, and their size in bytes."""

    frame_shape: tuple[int, int]
    frame_bytes: int


@runtime_checkable
class SetOtherwise(Protocol):
    """A camera that tells what it would do, were some of its settings others; it is not told of them."""

    settings: Mapping[str, Any]

    def frames_if(self, values: Mapping[str, Any]) -> "FramesToBe": ...

    def check_request_if(self, request: FrameRequest, values: Mapping[str, Any]) -> Any: ...


class FramesToBe(Protocol):
    """What frames would be like: in pixels, bytes, um, and bytes."""

    @property
    def frame_shape(self) -> tuple[int, int]: ...

    @property
    def frame_bytes(self) -> int: ...

    @property
    def pixel_size_um(self) -> float: ...

    @property
    def ring_bytes(self) -> int: ...


@runtime_checkable
class TellsAsSet(Protocol):
    """A setting that tells what it would be, were it set to something; it raises if it cannot be that."""

    def as_set(self, value: object) -> Any: ...


@runtime_checkable
class StoresFrames(Protocol):
    """A camera that says whether it stores its frames by itself."""

    name: str
    stores_frames: bool


@runtime_checkable
class TellsUnstored(Protocol):
    """What collects ledgers, and tells of which streams the frames were stored nowhere."""

    unstored: Iterable[str]


@runtime_checkable
class TellsTrigger(Protocol):
    """What a camera is prepared for: frames, and who starts their exposures."""

    trigger: object


@runtime_checkable
class CountsExposures(Protocol):
    """What a detector of ophyd-async is prepared for."""

    number_of_exposures: Any


@runtime_checkable
class TellsSourceKind(Protocol):
    """A beam that tells what makes it."""

    source_kind: Literal["tube", "synchrotron"] | None


@runtime_checkable
class SaysIfLit(Protocol):
    """A guard of a beam that says why the beam may still be on; empty when it is off."""

    lit: str


@runtime_checkable
class MovesAxis(Protocol):
    """What moves an axis in a way of its own."""

    axis: Any


@runtime_checkable
class HasLimits(Protocol):
    """A motor that tells between which positions it goes."""

    limits: Any


@runtime_checkable
class GetsValue(Protocol):
    """A signal whose value is got by ``get_value``, as of ophyd-async."""

    def get_value(self) -> Any: ...


@runtime_checkable
class Gets(Protocol):
    """A signal whose value is got by ``get``, as of ophyd."""

    def get(self) -> Any: ...


@runtime_checkable
class Describes(Protocol):
    """A device that describes its readings."""

    name: str

    def describe(self) -> Any: ...


@runtime_checkable
class TakesCallback(Protocol):
    """A status: it calls whoever wants to know when it is done."""

    def add_callback(self, callback: Callable[[Any], None]) -> Any: ...


@runtime_checkable
class TellsDone(Protocol):
    """A status that tells whether what it stands for is done."""

    done: bool


@runtime_checkable
class TellsSuccess(Protocol):
    """A status that tells whether what it stands for was done well."""

    success: bool


@runtime_checkable
class OfDevice(Protocol):
    """A status that tells its device, as ophyd's do."""

    device: object


@runtime_checkable
class OfObject(Protocol):
    """A status that tells its device by another name."""

    obj: object


def name_of(device: object, otherwise: str | None = None) -> str:
    """Return what a device is called; what has no name is shown, or called otherwise."""
    shown = str(device) if otherwise is None else otherwise
    return str(device.name) if isinstance(device, HasName) else shown
