"""Which images of a series came, and which are lost: by their numbers, and by what start and end say."""

from concertino import CameraError
from concertino.frames import FrameRequest

from ._stream_messages import SeriesEnd, SeriesImage, SeriesStart


class SeriesAccount:
    """Accounts for the images of one frame stream.

    The first image is number 0 of the series when the series begins within the stream, as one does that was
    armed for it. Of a series that was under way already the first image that comes counts as 0.

    Parameters
    ----------
    sender : str
        Who sends them, for errors.
    request : FrameRequest
        How many images are wanted, and of what.
    armed : int, optional
        Number of the series that was armed for this stream; None when nobody knows which comes.
    before : int, optional
        Number of the newest series seen before.
    """

    def __init__(
        self,
        sender: str,
        request: FrameRequest,
        *,
        armed: int | None = None,
        before: int | None = None,
    ) -> None:
        self._sender = sender
        self._request = request
        self._armed = armed
        self._before = before
        self._began = False
        self._announced: int | None = None
        self._base = 0
        self._next = 0
        self._ended = False
        #: Number of the series that comes; None before, and where series have none.
        self.series: int | None = None

    @property
    def complete(self) -> bool:
        """Whether every image that was wanted came or is known to be lost."""
        wanted = self._request.count
        return wanted is not None and self._next - self._base >= wanted

    def begin(self, start: SeriesStart) -> None:
        """Note that a series begins.

        Raises
        ------
        CameraError
            If it is not the one that is due.
        """
        if self._began:
            raise CameraError(
                f"{self._sender} began series {_named(start.series)} when {self._come} images of series "
                f"{_named(self.series)} had come{self._of_wanted}. Let nobody else arm the detector, and let each "
                "series have as many images as a stream of the scan."
            )
        if self._is_old(start.series):
            return
        self._enter(start.series, start.count)

    def image(self, image: SeriesImage) -> tuple[int, tuple[int, ...]] | None:
        """Account for an image.

        Returns
        -------
        number, lost : int and tuple of int
            Its number in this stream, -1 for one that is more than was wanted; and those of images that
            are lost since the last one.
        None
            If it is of an older series, left over.

        Raises
        ------
        CameraError
            If it is of another series, or came before.
        """
        if not self._began:
            if self._is_old(image.series):
                return None
            joined = self._armed is None
            self._enter(image.series, None)
            if joined:
                self._base = self._next = image.number
        if image.series != self.series:
            raise CameraError(
                f"{self._sender} sent image {image.number} of series {_named(image.series)} while series "
                f"{_named(self.series)} was under way{self._of_wanted}. Let nobody else arm the detector, and "
                "restart its stream if it still sends what is old."
            )
        if image.number < self._next:
            raise CameraError(
                f"{self._sender} sent image {image.number} of series {_named(self.series)} after image "
                f"{self._next - 1}; numbers go up. Check that one detector only sends to this address."
            )
        lost = self._lose(image.number)
        wanted = self._request.count
        number = image.number - self._base
        if wanted is not None and number >= wanted:
            return -1, lost
        self._next = image.number + 1
        return number, lost

    def end(self, end: SeriesEnd) -> tuple[int, ...]:
        """Account for the end of a series.

        Returns
        -------
        tuple of int
            Numbers, in this stream, of images that are lost.

        Raises
        ------
        CameraError
            If the series is another one.
        """
        if not self._began:
            if self._armed is None or end.series != self._armed:
                return ()  # left over
            self._enter(end.series, None)
        if end.series != self.series:
            raise CameraError(
                f"{self._sender} ended series {_named(end.series)} while series {_named(self.series)} was under "
                "way. Let nobody else arm the detector."
            )
        self._ended = True
        total = end.count if end.count is not None else self._announced
        if total is None and self._armed is not None:
            total = self._request.count
        return self._lose(self._next if total is None else total)

    def check_more(self) -> None:
        """Check that more images may come.

        Raises
        ------
        CameraError
            If the series has ended, and more images were wanted.
        """
        if self._ended and not self.complete:
            raise CameraError(
                f"{self._sender} ended series {_named(self.series)} after {self._come} images"
                f"{self._of_wanted}. Have the detector take as many images a series as a stream of the scan, "
                "or give the source control='http://…' so that it does."
            )

    @property
    def _come(self) -> int:
        return self._next - self._base

    @property
    def _of_wanted(self) -> str:
        wanted = self._request.count
        asked = "frames without end" if wanted is None else f"{wanted} frames"
        return f", of {asked} of {self._request.kind}"

    def _enter(self, series: int | None, announced: int | None) -> None:
        self.series, self._began, self._announced = series, True, announced

    def _is_old(self, series: int | None) -> bool:
        """Whether a series that comes first was begun before this stream, and is left over."""
        if series is None:
            return False
        if self._armed is not None:
            if series > self._armed:
                raise CameraError(
                    f"{self._sender} sent series {series}; series {self._armed} was armed for "
                    f"{self._request.kind}. Let nobody else arm the detector."
                )
            return series < self._armed
        if self._before is not None and series < self._before:
            raise CameraError(
                f"{self._sender} sent series {series}, which is from before: series {self._before} has come "
                "already. Restart the detector's stream, so that it sends nothing old."
            )
        return False

    def _lose(self, until: int) -> tuple[int, ...]:
        """Return the numbers in this stream of images that did not come before one; those wanted only."""
        wanted = self._request.count
        stop = until if wanted is None else min(until, self._base + wanted)
        lost = tuple(number - self._base for number in range(self._next, stop))
        self._next = max(self._next, stop)
        return lost


def _named(series: int | None) -> str:
    return "without a number" if series is None else str(series)
