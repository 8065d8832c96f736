"""Several cameras in one run: whose images a stream has."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat

from ._segments import StreamSegment


class CameraBlock(BaseModel):
    """What a ``tomo`` block says of a camera besides the first.

    Parameters
    ----------
    streams : tuple of str
        The streams of its images.
    pixel_size_um : float, optional
        Size of one of its pixels in the plane of the sample, in um.
    rotation_axis_px : float, optional
        Column of the rotation axis in its images, when known.

    Examples
    --------
    >>> from concertino.documents import CameraBlock
    >>> CameraBlock(streams=["flats-detail", "projections-detail"], pixel_size_um=1.1).pixel_size_um
    1.1
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    streams: tuple[str, ...]
    pixel_size_um: PositiveFloat | None = Field(default=None, allow_inf_nan=False)
    rotation_axis_px: FiniteFloat | None = None


def camera_stream(stream: str, camera: str) -> str:
    """Return the name of a stream when it is that of a camera besides the first.

    Parameters
    ----------
    stream : str
        As it is called with the first camera: ``projections``, or a segment of it.
    camera : str
        Name of the camera.

    Examples
    --------
    >>> from concertino.documents import camera_stream
    >>> camera_stream("projections", "detail")
    'projections-detail'
    >>> camera_stream("projections_from_00057", "detail")
    'projections-detail_from_00057'
    """
    segment = StreamSegment.of(stream)
    return replace(segment, base=f"{segment.base}-{camera}").name


def announced_bytes(
    start: Mapping[str, Any], wanted: Callable[[str], bool] = lambda stream: True
) -> int:
    """Return how much a start document announces that is to be stored, in bytes; 0 when it does not say.

    Frames of a camera that writes its own files, of which ``own_files`` has the name, are none of it.

    Parameters
    ----------
    start : mapping
        The start document.
    wanted : callable
        Tells whether a stream counts; all do by default.

    Examples
    --------
    >>> from concertino.documents import announced_bytes
    >>> announced_bytes({"frames": {"darks": 3, "flats": 2}, "frame_bytes": 100})
    500
    """
    others = (start.get("tomo") or {}).get("more_cameras") or {}
    owner = {stream: camera for camera, block in others.items() for stream in block["streams"]}
    sizes = start.get("more_frame_bytes", {})
    own = set(start.get("own_files", ()))
    first = next((name for name in start.get("detectors", ()) if name not in others), None)
    return sum(
        int(count) * int(sizes.get(owner.get(stream), start.get("frame_bytes", 0)))
        for stream, count in start.get("frames", {}).items()
        if wanted(stream) and owner.get(stream, first) not in own
    )
