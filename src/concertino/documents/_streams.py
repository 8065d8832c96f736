"""The names of a run's streams and what their images are."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from concertino._errors import DocumentError

DARKS = "darks"
FLATS = "flats"
PROJECTIONS = "projections"
BASELINE = "baseline"
LEDGER = "ledger"

ImageKind: TypeAlias = Literal["dark", "flat", "projection"]

IMAGE_KINDS: Mapping[str, ImageKind] = {
    DARKS: "dark",
    FLATS: "flat",
    PROJECTIONS: "projection",
}


def image_kind(stream: str, image_kinds: Mapping[str, ImageKind] = IMAGE_KINDS) -> ImageKind:
    """Return what the images of a stream are.

    Parameters
    ----------
    stream : str
        The name of the stream: the descriptor's ``name``.
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
    """
    try:
        return image_kinds[stream]
    except KeyError:
        known = ", ".join(repr(name) for name in image_kinds)
        raise DocumentError(
            f"Stream {stream!r} is none of images: the run's image kinds know {known}. "
            "Name the stream in the tomo block's 'image_kinds'."
        ) from None


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
