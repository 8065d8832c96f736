"""Finishes the tomograms of a time series, one by one, while projections of later ones arrive."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from concertino.reconstruction import ReconstructionResult, TomogramSeries

from ._measured_angles import MeasuredAngles

_LOOK_S = 0.5


class SeriesJob:
    """A thread that reconstructs each tomogram when its projections and their angles are there.

    Parameters
    ----------
    series : TomogramSeries
        Is given the projections by others.
    angles : MeasuredAngles
        Tells the series the angles.
    store : callable
        Takes the results as they come.
    """

    def __init__(
        self,
        series: TomogramSeries,
        angles: MeasuredAngles,
        store: Callable[[Iterator[ReconstructionResult]], Any],
    ) -> None:
        self._series, self._angles, self._store = series, angles, store
        self._changed = threading.Condition()
        self._ended = False
        self._last: ReconstructionResult | None = None
        self._stored: Future[ReconstructionResult | None] = Future()
        threading.Thread(target=self._run, name="tomograms", daemon=True).start()

    def look(self) -> None:
        """Note that something came."""
        with self._changed:
            self._changed.notify_all()

    def finish(self) -> ReconstructionResult | None:
        """Reconstruct what is left, and return the last tomogram; None if there was none.

        Raises
        ------
        Exception
            What made a reconstruction, or its storage, fail.
        """
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        return self._stored.result()

    def _run(self) -> None:
        try:
            self._store(self._results())
            self._stored.set_result(self._last)
        except BaseException as error:
            self._stored.set_exception(error)

    def _results(self) -> Iterator[ReconstructionResult]:
        while True:
            with self._changed:
                ended = self._ended
            self._angles.tell(self._series)
            number = self._series.ready(ended=ended)
            if number is not None:
                self._last = None  # its slices would take the place of the next ones
                self._last = self._series.finish_tomogram(number)
                yield self._last
            elif ended:
                return
            else:
                with self._changed:
                    if not self._ended:
                        self._changed.wait(_LOOK_S)
