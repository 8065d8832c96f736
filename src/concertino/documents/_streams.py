"""The names of a run's streams and what their images are."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from concertino._errors import DocumentError

from ._segments import StreamSegment

DARKS = "darks"
FLATS = "flats"
PROJECTIONS = "projections"
BASELINE = "baseline"
LEDGER = "ledger"
PER_FRAME = "per_frame"

ImageKind: TypeAlias = Literal["dark", "flat", "projection"]

IMAGE_KINDS: Mapping[str, ImageKind] = {
    DARKS: "dark",
    FLATS: "flat",
    PROJECTIONS: "projection",
}


def is_ledger(stream: str) -> bool:
    """Return whether a stream holds ledgers: those of the first camera, or ``ledger-NAME`` of another."""
    return stream == LEDGER or stream.startswith(f"{LEDGER}-")


def image_kind(stream: str, image_kinds: Mapping[str, ImageKind] = IMAGE_KINDS) -> ImageKind:
    """Return what the images of a stream are.

    Parameters
    ----------
    stream : str
        The name of the stream, the descriptor's ``name``; a segment (``projections_from_00057``) is
        of the kind of the stream that it is a part of.
    image_kinds : mapping of str to str
        The run's own mapping (`TomoBlock.image_kinds`); the standard names if left out.

    Returns
    -------
    {"dark", "flat", "projection"}
        The kind.

    Raises
    ------
    DocumentError
        If the stream is none of images.

    Examples
    --------
    >>> from concertino.documents import image_kind
    >>> image_kind("flats")
    'flat'
    >>> image_kind("projections_from_00057")
    'projection'
    """
    kind = find_image_kind(stream, image_kinds)
    if kind is None:
        known = ", ".join(repr(name) for name in image_kinds)
        raise DocumentError(
            f"Stream {stream!r} is none of images: the run's image kinds know {known}. "
            "Name the stream in the tomo block's 'image_kinds'."
        )
    return kind


def find_image_kind(
    stream: str, image_kinds: Mapping[str, ImageKind] = IMAGE_KINDS
) -> ImageKind | None:
    """Return what the images of a stream are, as `image_kind`; None when it is none of images."""
    if stream in image_kinds:
        return image_kinds[stream]
    return image_kinds.get(StreamSegment.of(stream).base)


def frames_key(camera: str) -> str:
    """Return the configuration key under which a descriptor carries the frame stream's address.

    Parameters
    ----------
    camera : str
        The name of the camera, which is also its data key.

    Returns
    -------
    str
        ``"<camera>-frames"``.

    Examples
    --------
    >>> from concertino.documents import frames_key
    >>> frames_key("camera")
    'camera-frames'
    """
    return f"{camera}-frames"
