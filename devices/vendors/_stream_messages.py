"""What a detector that streams says, whatever the words are in which it does."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError

from ._frame_compression import BadFrameError, decompress


@dataclass(frozen=True)
class SeriesStart:
    """A series of images begins.

    Parameters
    ----------
    series : int or None
        Its number; None where series have none.
    count : int or None
        Images that it will have, numbered from 0; None when nobody says.
    exposure_s : float or None
        Exposure time in seconds; None when nobody says.
    """

    series: int | None
    count: int | None = None
    exposure_s: float | None = None


@dataclass(frozen=True)
class SeriesImage:
    """One image, as it came.

    Parameters
    ----------
    series : int or None
        As of its start.
    number : int
        Of the image in its series, from 0.
    shape : tuple of int
        (height, width) in pixels.
    dtype : dtype
        Of a pixel, with its byte order.
    algorithm : str
        How `data` are compressed, as of `decompress`.
    element_bytes : int
        As of `decompress`.
    data : memoryview
        The pixels, one byte each.
    middle_s, stop_s : float or None
        Middle and end of the exposure, in s from an instant of the detector's that is the same for the
        whole series; None when nobody says.
    """

    series: int | None
    number: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    algorithm: str
    element_bytes: int
    data: memoryview
    middle_s: float | None = None
    stop_s: float | None = None

    def write(self, out: NDArray[Any], sender: str) -> None:
        """Write the pixels into a frame.

        Parameters
        ----------
        out : ndarray, shape (height, width)
            In one piece.
        sender : str
            Who sent it, for messages.

        Raises
        ------
        CameraError
            If they do not fit, or are damaged.
        """
        if self.shape != out.shape or self.dtype.newbyteorder("=") != out.dtype:
            raise CameraError(
                f"{sender} sent image {self.number} of shape {self.shape} and type {self.dtype}; the stream "
                f"was prepared for shape {out.shape} and type {out.dtype}. Set the detector's region of "
                "interest and bit depth before the scan, or give the source the shape and dtype that it has."
            )
        try:
            decompress(
                self.data, self.algorithm, self.element_bytes, out.reshape(-1).view(np.uint8)
            )
        except BadFrameError as error:
            raise CameraError(
                f"{sender} sent image {self.number}, and it cannot be read: it {error}. Check the detector's "
                "compression setting, and whether both sides speak the same version of the protocol."
            ) from error
        if not self.dtype.isnative:
            out.byteswap(inplace=True)


@dataclass(frozen=True)
class SeriesEnd:
    """A series has ended: no more images of it come.

    Parameters
    ----------
    series : int or None
        As of its start.
    count : int or None
        Images that it had; None when nobody says.
    """

    series: int | None
    count: int | None = None


StreamMessage = SeriesStart | SeriesImage | SeriesEnd


def unreadable(sender: str, what: str, received: bytes | memoryview) -> CameraError:
    """Return an error for a message that is not of the protocol.

    Parameters
    ----------
    sender : str
        Who sent it.
    what : str
        What is wrong with it, as the end of "a message that".
    received : bytes or memoryview
        The message, or its first part.
    """
    begins = bytes(received[:24])
    return CameraError(
        f"{sender} sent a message that {what}; it has {len(received)} bytes and begins with {begins!r}. Check the "
        "address, and which protocol the detector is set to stream."
    )
