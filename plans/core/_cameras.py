"""The cameras that expose together in a run, and when their frames are read out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator, short_uid

from concertino import ParameterError
from concertino.documents import LEDGER, StreamSegment, camera_stream, check_device_name
from concertino.frames import FrameRequest

from ._deadlines import deadlines
from ._device_facts import CameraFacts, camera_facts
from ._device_queries import UntilExposed, query, sent
from ._foreign_cameras import taker_of
from ._frame_values import FrameValues
from ._offers import StoresFrames, name_of
from ._parameters import check_request, read_number
from ._protocols import FrameCamera

Readout = Literal["direct", "later"]
OnLost = Literal["fail", "flag"]
Trigger = Literal["internal", "software", "edge"]

#: What plans take as their ``camera``.
Cameras: TypeAlias = Readable[Any] | Sequence[Readable[Any]]


@dataclass(frozen=True)
class CameraSet:
    """Cameras that expose together, each on streams of its own.

    The first one's streams have the plain names (``projections``), another's its name behind them
    (``projections-camera2``).

    Parameters
    ----------
    cameras : tuple of FrameCamera
        One or more, of different names.
    readout : {"direct", "later"}
        Whether frames are read out as they are taken, or recorded into the cameras' own memories first.
    values : FrameValues, optional
        What is told for each frame of the first camera.

    Raises
    ------
    ParameterError
        If something is no camera, or two have the same name.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import CameraSet
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> detail = b.add_camera("detail", shape=(16, 16), pixel_size_um=1)
    >>> cameras = CameraSet((b.camera, detail))
    >>> [cameras.stream_of(camera, "flats") for camera in cameras.cameras]
    ['flats', 'flats-detail']
    """

    cameras: tuple[Any, ...]
    readout: Readout = "direct"
    values: FrameValues | None = None

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ParameterError("camera: there is none. Give a camera, or several in a list.")
        for camera in self.cameras:
            check_camera(camera)
            check_device_name(camera.name, "camera", in_files=True)
        names = [camera.name for camera in self.cameras]
        if len(set(names)) < len(names):
            raise ParameterError(
                f"camera: {', '.join(names)} were given. Give each camera once, and each a name of "
                "its own."
            )
        check_readout(self.readout)

    def check_one(self, why: str) -> None:
        """Check that there is one camera only.

        Raises
        ------
        ParameterError
            If there are several.
        """
        if self.others:
            names = ", ".join(camera.name for camera in self.cameras)
            raise ParameterError(f"camera: {names} were given; {why}. Give one camera.")

    @property
    def first(self) -> Any:
        """The camera whose streams have the plain names."""
        return self.cameras[0]

    @property
    def others(self) -> tuple[Any, ...]:
        """The cameras whose streams have their names."""
        return self.cameras[1:]

    @property
    def name(self) -> str:
        """Name of the first camera."""
        return str(self.first.name)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Shape (height, width) of the first camera's frames in pixels."""
        shape: tuple[int, int] = self.first.frame_shape
        return shape

    @property
    def frame_bytes(self) -> int:
        """Size of one frame of the first camera, in bytes."""
        return int(self.first.frame_bytes)

    @property
    def self_storing(self) -> tuple[str, ...]:
        """Names of the cameras that store their frames by themselves."""
        return tuple(
            camera.name
            for camera in self.cameras
            if isinstance(camera, StoresFrames) and camera.stores_frames is True
        )

    def stream_of(self, camera: Any, stream: str) -> str:
        """Return the name of a camera's stream."""
        return stream if camera is self.first else camera_stream(stream, camera.name)

    def streams(self, stream: str) -> dict[str, Any]:
        """Return the camera of each of the streams that are taken together."""
        return {self.stream_of(camera, stream): camera for camera in self.cameras}

    def request(
        self, camera: Any, count: int, stream: str, trigger: Trigger, on_lost: OnLost,
        *, moving: bool = False,
    ) -> FrameRequest:  # fmt: skip
        """Return what is asked of one of the cameras."""
        segment = StreamSegment.of(stream)
        return FrameRequest(
            count, segment.base, trigger, on_lost,
            first=segment.first, stream=self.stream_of(camera, stream), readout=self.readout,
            moving=moving,
        )  # fmt: skip


def check_readout(value: object) -> Readout:
    """Return when frames are read out.

    Raises
    ------
    ParameterError
        If it is no such time.
    """
    if value not in ("direct", "later"):
        raise ParameterError(
            f"readout: {value!r} was given; give 'direct' to read frames out as they are "
            "taken, or 'later' to record them into the camera's memory first."
        )
    return value


def check_on_lost(value: object) -> OnLost:
    """Return what lost frames do.

    Raises
    ------
    ParameterError
        If it is nothing that they could do.
    """
    if value not in ("fail", "flag"):
        raise ParameterError(
            f"on_lost: {value!r} was given; give 'fail' to fail the run when frames are "
            "lost, or 'flag' to only note it in the ledger."
        )
    return value


def check_camera(camera: object) -> None:
    """Check that a camera is one.

    Raises
    ------
    ParameterError
        If it is not.
    """
    if not isinstance(camera, FrameCamera):
        if taker := taker_of(camera):
            raise ParameterError(
                f"camera: {_shown(camera)} is no camera with a frame stream. Give {taker} of concertino.devices "
                "instead."
            )
        raise ParameterError(
            f"camera: {camera!r} is no camera with a frame stream. Give a device such as "
            "SimulatedBeamline().camera or a FileCamera."
        )


def _shown(camera: object) -> str:
    """Return how something foreign is told to people; what shows itself may ask its control system for that."""
    return (
        repr(camera)
        if isinstance(camera, str)
        else f"{type(camera).__name__} {name_of(camera, '')}".strip()
    )


def camera_set(camera: Any, readout: Readout = "direct") -> CameraSet:
    """Return the cameras that a plan was given: one, several in a sequence, or a `CameraSet`.

    Raises
    ------
    ParameterError
        As `CameraSet`.
    """
    if isinstance(camera, CameraSet):
        return camera
    several = isinstance(camera, Sequence) and not isinstance(camera, str)
    return CameraSet(tuple(camera) if several else (camera,), readout)


def common_frame_rate(cameras: CameraSet) -> MsgGenerator[float]:
    """Return the frame rate, in Hz, of cameras that run freely while something moves.

    Raises
    ------
    ParameterError
        If they differ: frame ``i`` would be at another angle for each camera.
    """
    rates = []
    for camera in cameras.cameras:
        rates.append((yield from read_number(camera.frame_rate)))
    if len(set(rates)) > 1:
        found = ", ".join(
            f"{camera.name} runs at {rate:g} Hz"
            for camera, rate in zip(cameras.cameras, rates, strict=True)
        )
        raise ParameterError(
            f"camera: {found}. In a continuous scan each frame must be at the same angle for all "
            "cameras, so set the same frame_rate."
        )
    return float(rates[0])


def check_requests_of(
    cameras: CameraSet, count: int, stream: str, trigger: Trigger, on_lost: OnLost
) -> MsgGenerator[None]:
    """Ask each camera whether it can deliver the frames of a stream.

    Raises
    ------
    CameraError
        If one cannot.
    """
    for camera in cameras.cameras:
        yield from check_request(camera, cameras.request(camera, count, stream, trigger, on_lost))


def prepare_cameras(
    cameras: CameraSet, count: int, stream: str, trigger: Trigger, on_lost: OnLost,
    *, moving: bool = False,
) -> MsgGenerator[None]:  # fmt: skip
    """Have all cameras make their frame streams."""
    group = short_uid("prepared")
    for camera in cameras.cameras:
        request = cameras.request(camera, count, stream, trigger, on_lost, moving=moving)
        yield from bps.prepare(camera, request, group=group)
    yield from bps.wait(group)


def wait_exposed(cameras: CameraSet, count: int, within_s: float | None) -> MsgGenerator[None]:
    """Wait until all frames are in the cameras' memories.

    Parameters
    ----------
    cameras : CameraSet
        The cameras.
    count : int
        Frames of each.
    within_s : float or None
        How long to wait, in s; by default as long as follows from the cameras' pace.

    Raises
    ------
    CameraError
        If one fails before, or has not exposed them in time.
    """
    if within_s is None:
        periods = []
        for camera in cameras.cameras:
            facts: CameraFacts = yield from query(
                partial(camera_facts, camera),
                f"{camera.name} was asked for its exposure time and frame rate",
            )
            periods.append(facts.period_s)
        within_s = 2 * count * max(periods) + deadlines().frame_s
    yield from sent(UntilExposed(cameras.cameras, count, within_s))


def wait_briefly(group: str, timeout_s: float) -> MsgGenerator[bool]:
    """Wait for a group; say whether it is done, or only the time is over.

    A message of our own: bluesky's stub looks at the files of all callers, and each look waits for its turn
    among the threads that carry frames. That held up the RunEngine's loop for 100 ms.
    """
    done: bool | None = yield Msg(
        "wait", None, group=group, error_on_timeout=False, timeout=timeout_s, watch=()
    )
    # Nothing comes back when somebody only looks at the messages: then nothing is waited for.
    return True if done is None else done


def collect_streams(streams: Mapping[str, Any]) -> MsgGenerator[None]:
    """Describe what is safe of the frames of some streams' cameras."""
    for name, camera in streams.items():
        yield Msg("collect", camera, name=name, return_payload=False)


def declare_ledgers(cameras: CameraSet) -> MsgGenerator[None]:
    """Declare the stream of each camera's ledgers."""
    for camera in cameras.cameras:
        name = cameras.stream_of(camera, LEDGER)
        yield from bps.declare_stream(camera.ledger, name=name, collect=True)


def collect_ledgers(cameras: CameraSet) -> MsgGenerator[None]:
    """Put the ledgers of the streams that ended into the run."""
    for camera in cameras.cameras:
        yield from bps.collect(camera.ledger, name=cameras.stream_of(camera, LEDGER))
