"""Detectors that stream: of DECTRIS, and those behind the receivers of MAX IV and PSI."""

from typing import Literal

import numpy as np

from concertino._extras import extra

from ._htype_messages import HtypeMessages
from ._simplon import Simplon
from ._simplon_control import SimplonControl
from ._stream_receiver import Pattern
from ._stream_source import StreamSource, sender_at

_QUEUE_BYTES = 256 * 2**20


class DectrisStreamSource(StreamSource):
    """Frames of a DECTRIS detector by Stream V2 (CBOR over ZeroMQ).

    With its control it is armed for each stream of a scan and triggered as the plan wants: at its own pace and by
    software triggers (``ints``), or by pulses. Without it the frames of whatever series comes are taken: a series
    that begins is taken from its image 0, one that is under way from the image that comes.

    Numbers tell which images are lost, and the end of a series whether the last ones are.

    Parameters
    ----------
    address : str
        Where it streams, such as ``"tcp://dcu.facility:31001"``.
    control : str, optional
        Where its SIMPLON API is, such as ``"http://dcu.facility"``. None: its exposure, its rate and its triggers
        are somebody else's business, software triggers are refused, and so is an exposure that is not the one that
        a series has.
    shape : tuple of int, optional
        (height, width) of an image in pixels; needed without a control, and for a region of interest.
    dtype : dtype, optional
        Of a pixel; needed without a control.
    channel : str
        Which threshold is taken of a detector that sends several, such as ``"threshold_1"``.
    edge : {"exts", "exte"}
        What a pulse does: start an exposure, or last as long as one.
    pixel_size_um : float
        Effective pixel size in um; 0: as the control tells.
    pattern : {"pull", "sub"}
        What the sender is: PUSH, as all detectors of DECTRIS, or PUB.
    queue_bytes : int
        Memory for images that wait here to be taken, in bytes. When it is full the sender waits, or loses images,
        which their numbers then show.
    version : str
        Of the SIMPLON API.
    within_s : float
        How long the detector may take to answer, in seconds.

    Raises
    ------
    CameraError
        If an address is none, or nobody says what the images are.
    MissingExtraError
        If the extra ``dectris`` is not installed.

    References
    ----------
    https://github.com/dectris/documentation/tree/main/stream_v2

    Examples
    --------
    >>> from concertino.devices import Camera, DectrisStreamSource
    >>> source = DectrisStreamSource(
    ...     "tcp://127.0.0.1:31001", control="http://127.0.0.1:8080"
    ... )
    >>> camera = Camera(source, exposure=0.005, frame_rate=100, name="eiger")
    """

    def __init__(
        self,
        address: str,
        *,
        control: str | None = None,
        shape: tuple[int, int] | None = None,
        dtype: np.typing.DTypeLike | None = None,
        channel: str = "",
        edge: Literal["exts", "exte"] = "exts",
        pixel_size_um: float = 0.0,
        pattern: Pattern = "pull",
        queue_bytes: int = _QUEUE_BYTES,
        version: str = "1.8.0",
        within_s: float = 5.0,
    ) -> None:
        with extra("dectris", f"The stream of the detector at {address}"):
            import lz4.block  # noqa: F401

            from ._dectris_messages import DectrisMessages
        super().__init__(
            address,
            DectrisMessages(sender_at(address), channel),
            shape=shape,
            dtype=dtype,
            control=_control(control, "cbor", edge, version, within_s),
            pixel_size_um=pixel_size_um,
            pattern=pattern,
            queue_bytes=queue_bytes,
            within_s=within_s,
        )


class HtypeStreamSource(StreamSource):
    """Frames whose messages begin with JSON that has an ``htype``.

    Understood are ``header``, ``image`` and ``series_end`` of MAX IV's streaming receiver, ``array-1.0`` of PSI's
    streams, and ``dheader-1.0``, ``dimage-1.0`` and ``dseries_end-1.0`` of DECTRIS' Stream V1. Where there is
    no end of a series, the last frames are missed only by their silence.

    Parameters
    ----------
    address, pattern, queue_bytes, edge, pixel_size_um, version, within_s
        As of `DectrisStreamSource`.
    shape : tuple of int, optional
        (height, width) of an image in pixels; needed without a control.
    dtype : dtype, optional
        Of a pixel; needed without a control.
    control : str, optional
        Where the SIMPLON API of a DECTRIS detector is; other detectors have none.

    Raises
    ------
    CameraError
        If an address is none, or nobody says what the images are.

    References
    ----------
    https://github.com/maxiv-science/streaming-receiver,
    https://github.com/paulscherrerinstitute/mflow

    Examples
    --------
    >>> from concertino.devices import Camera, HtypeStreamSource
    >>> source = HtypeStreamSource(
    ...     "tcp://127.0.0.1:9999", shape=(2304, 4096), dtype="uint16", pixel_size_um=1.1
    ... )
    >>> camera = Camera(source, exposure=0.01, name="orca")
    """

    def __init__(
        self,
        address: str,
        *,
        shape: tuple[int, int] | None = None,
        dtype: np.typing.DTypeLike | None = None,
        control: str | None = None,
        edge: Literal["exts", "exte"] = "exts",
        pixel_size_um: float = 0.0,
        pattern: Pattern = "pull",
        queue_bytes: int = _QUEUE_BYTES,
        version: str = "1.8.0",
        within_s: float = 5.0,
    ) -> None:
        super().__init__(
            address,
            HtypeMessages(sender_at(address)),
            shape=shape,
            dtype=dtype,
            control=_control(control, "legacy", edge, version, within_s),
            pixel_size_um=pixel_size_um,
            pattern=pattern,
            queue_bytes=queue_bytes,
            within_s=within_s,
        )


def _control(
    url: str | None,
    stream_format: Literal["cbor", "legacy"],
    edge: Literal["exts", "exte"],
    version: str,
    within_s: float,
) -> SimplonControl | None:
    if url is None:
        return None
    return SimplonControl(Simplon(url, version=version, within_s=within_s), stream_format, edge)
