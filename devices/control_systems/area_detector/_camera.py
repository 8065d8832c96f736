"""An EPICS areaDetector as a camera."""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

from concertino import CameraError
from concertino._extras import extra
from concertino.devices.camera._camera import Camera

from ._channel_access import ChannelAccess
from ._driver import Driver
from ._frame_monitor import FrameMonitor
from ._pv_access import PvAccess
from ._records import Records
from ._source import AreaDetectorOptions, AreaDetectorSource


@runtime_checkable
class HasPrefix(Protocol):
    """What knows where its records are."""

    prefix: str


@runtime_checkable
class OphydAreaDetector(HasPrefix, Protocol):
    """An ``ophyd.AreaDetector``: its names are taken, its connections are not used."""

    @property
    def cam(self) -> HasPrefix:
        """The driver."""

    def walk_subdevices(self, *, include_lazy: bool = ...) -> Iterator[tuple[str, object]]:
        """Yield its plugins."""


class AreaDetectorCamera(Camera):
    """An EPICS areaDetector: its driver is told what to do, and its frames come by PV Access.

    The IOC needs NDPluginPva, enabled and connected to the driver, or to NDPluginCodec. Which frames were lost is told
    by their ``uniqueId`` and, at the end, by the driver's ArrayCounter.

    Parameters
    ----------
    detector : str or ophyd.AreaDetector
        What the names of all its PVs begin with, such as ``"SIM:"``; or an object of ophyd, of which these are taken.
    driver : str
        Prefix of the driver.
    frames : str
        Where NDPluginPva has its frames.
    control : {"ca", "pva"}
        What the driver is told by: Channel Access, or PV Access.
    records : sequence of str
        Records of the driver's own that shall be settable, without its prefix, such as ``["FanSpeed"]``: they are in
        the camera's ``vendor`` by these names.
    options : AreaDetectorOptions, optional
        How it differs from other areaDetectors.
    pixel_size_um : float
        Effective size of a pixel that is not binned, in um; 0 when unknown.
    exposure : float
        Initial exposure time in seconds.
    frame_rate : float
        Initial frame rate in Hz; 0 for as fast as it can.
    ring_bytes : int
        As for `Camera`.
    subscriber_timeout_s, frame_timeout_s : float
        As for `Camera`, in seconds.
    stream_address : str
        As for `Camera`.
    name : str
        Name of the device.

    Raises
    ------
    CameraError
        If the IOC does not answer, is none of areaDetector, or its driver has not all of `records`.
    MissingExtraError
        If aioca or p4p is not installed: the extra ``areadetector``.
    """

    source: AreaDetectorSource

    def __init__(
        self,
        detector: str | OphydAreaDetector,
        *,
        driver: str = "cam1:",
        frames: str = "Pva1:Image",
        control: Literal["ca", "pva"] = "ca",
        records: Sequence[str] = (),
        options: AreaDetectorOptions | None = None,
        pixel_size_um: float = 0.0,
        exposure: float = 0.01,
        frame_rate: float = 0.0,
        ring_bytes: int = 256 * 2**20,
        subscriber_timeout_s: float = 30.0,
        frame_timeout_s: float = 15.0,
        stream_address: str = "tcp://127.0.0.1:0",
        name: str = "camera",
    ) -> None:
        chosen = options or AreaDetectorOptions()
        driver_prefix, image = _places(detector, driver, frames)
        self._place = f"{control}://{driver_prefix}"
        monitor = FrameMonitor(image)
        if control not in ("ca", "pva"):
            raise CameraError(
                f"Camera {name} was to be driven by {control!r}; give control='ca' for Channel Access, or 'pva'."
            )
        access: Records = (ChannelAccess if control == "ca" else PvAccess)(chosen.timeout_s)
        source = AreaDetectorSource(
            Driver(name, access, driver_prefix, chosen.timeout_s, records), monitor, chosen,
            pixel_size_um=pixel_size_um, name=name,
        )  # fmt: skip
        super().__init__(
            source,
            exposure=exposure,
            frame_rate=frame_rate,
            ring_bytes=ring_bytes,
            subscriber_timeout_s=subscriber_timeout_s,
            frame_timeout_s=frame_timeout_s,
            stream_address=stream_address,
            name=name,
        )

    @property
    def address(self) -> str:
        """Where its driver is, such as ``ca://SIM:cam1:``."""
        return self._place


def _places(detector: str | OphydAreaDetector, driver: str, frames: str) -> tuple[str, str]:
    """Return the prefix of the driver and the name of the frames' PV."""
    if isinstance(detector, str):
        return detector + driver, detector + frames
    if not isinstance(detector, OphydAreaDetector) or not isinstance(detector.cam, HasPrefix):
        raise CameraError(
            f"detector: {detector!r} was given, which has no prefix and no cam; give the prefix of an areaDetector, or an "
            "ophyd.AreaDetector with its cam."
        )
    with extra("ophyd", "An areaDetector of ophyd"):
        from ophyd.areadetector.plugins import PvaPlugin
        from ophyd.device import do_not_wait_for_lazy_connection
    with do_not_wait_for_lazy_connection(detector):  # names need no IOC
        for _, plugin in detector.walk_subdevices(include_lazy=True):
            if isinstance(plugin, PvaPlugin):
                return detector.cam.prefix, f"{plugin.prefix}Image"
    return detector.cam.prefix, detector.prefix + frames
