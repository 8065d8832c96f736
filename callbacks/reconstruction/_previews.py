"""Pictures of a reconstruction that goes on: in a thread of their own, for viewers."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError, ReconstructionError
from concertino.documents import DocumentCallback
from concertino.frames import FrameStream, address_beside
from concertino.processing._processing_run import ProcessingRun
from concertino.reconstruction import Reconstructor

from ._preview_pace import PreviewPace

LOG = logging.getLogger(__name__)

_MOST_SLICES = 4


class Previews:
    """Computes slices and planes while projections arrive, and shows them.

    They are shown on frame streams of a processing run of their own, whose documents tell their
    addresses. Nothing is computed for streams that nobody has subscribed to. Taking frames and the
    result never wait for viewers.

    Parameters
    ----------
    newest : callable
        Returns the reconstructor that is being fed; of a time series, that of the newest tomogram.
    raw : mapping
        Start document of the run that is reconstructed.
    callbacks : sequence of callable
        Take the documents.
    rows : sequence of float, optional
        Slices to show; some at equal distances by default.
    planes : tuple of float, float and int, or None
        x and y in px and detector row of three orthogonal planes; None: none.
    period_s : float
        Time between two looks, in seconds; more where the computer cannot, which is told.
    stream_address : str
        Where subscribers find the frames.
    intact : callable
        Tells whether the frames were what was published; otherwise nothing of them is shown.
    """

    def __init__(
        self,
        newest: Callable[[], Reconstructor],
        raw: Mapping[str, Any],
        callbacks: Sequence[DocumentCallback],
        *,
        rows: Sequence[float] | None,
        planes: tuple[float, float, int | None] | None,
        period_s: float,
        stream_address: str,
        intact: Callable[[], bool] = lambda: True,
    ) -> None:
        self._intact = intact
        self._newest, self._raw, self._callbacks = newest, raw, callbacks
        self._chosen, self._planes = rows, planes
        self._pace, self._address = PreviewPace(period_s), stream_address
        self._run: ProcessingRun | None = None
        self._frames: dict[str, FrameStream] = {}
        self._open = ExitStack()
        self._rows: tuple[float, ...] = ()
        self._wake = threading.Event()
        self._closing = self._begun = self._told_late = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look_again, name="previews", daemon=True)
        self._thread.start()

    def came(self) -> None:
        """Say that there is more to look at."""
        self._wake.set()

    def changed(self) -> None:
        """Say that settings have changed: of slices, their number or size, too."""
        with self._lock:
            if not self._closing and self._begun:
                self._end_run()
                self._begun = self._has_begun()
        self._wake.set()

    def stop(self) -> None:
        """Compute no more."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def end(self, volume: NDArray[np.float32] | None, error: BaseException | None = None) -> None:
        """Show the result, if there is one, and end the run."""
        with self._lock:
            if volume is not None and self._begun:
                every = self._newest().slice_rows
                places = [every.index(row) for row in self._rows]
                self._publish_slices(volume[places])
                self._publish_planes(self._newest())
            self._end_run(error)

    def _begin(self) -> None:
        reconstructor = self._newest()
        self._rows = self._shown_rows(reconstructor)
        self._run = ProcessingRun(
            self._raw,
            "reconstruction_preview",
            reconstructor.settings.model_dump(mode="json"),
            directory=None,
            callbacks=self._callbacks,
            more={"transient": True},
            stream_address=self._address,
        )
        slices = {self._key(row): reconstructor.slice_shape for row in self._rows}
        if slices:
            rows = {self._key(row): {"rows": [float(row)]} for row in self._rows}
            self._announce("slices", slices, rows)
        if self._planes is not None:
            try:
                shapes = reconstructor.plane_shapes()
            except ParameterError as error:
                LOG.info("planes are not shown: %s", error)
                self._planes = None
                return
            x, y, row = self._planes
            where: dict[str, Any] = {"x": float(x), "y": float(y)}
            if row is not None:
                where["row"] = int(row)
            planes = {f"plane_{name}": shape for name, shape in shapes.items()}
            self._announce("planes", planes, dict.fromkeys(planes, where))

    def _announce(
        self,
        stream: str,
        shapes: Mapping[str, tuple[int, int]],
        configuration: Mapping[str, Mapping[str, Any]],
    ) -> None:
        assert self._run is not None
        opened = {
            key: self._open.enter_context(
                # The newest is all that is kept.
                FrameStream(
                    address_beside(self._address, number),
                    shape=shape, dtype="f4", name=key, ring_bytes=0,
                )
            )
            for number, (key, shape) in enumerate(shapes.items(), len(self._frames))
        }  # fmt: skip
        self._frames |= opened
        self._run.announce(opened, stream, configuration)

    def _end_run(self, error: BaseException | None = None) -> None:
        for stream in self._frames.values():
            stream.end()
        self._frames.clear()
        self._open.close()
        if self._run is not None:
            self._run.stop(error)
            self._run = None

    def _shown_rows(self, reconstructor: Reconstructor) -> tuple[float, ...]:
        every = reconstructor.slice_rows
        if self._chosen is not None:
            return tuple(row for row in dict.fromkeys(map(float, self._chosen)) if row in every)
        if len(every) <= _MOST_SLICES:
            return tuple(dict.fromkeys(every))
        places = np.linspace(0, len(every) - 1, _MOST_SLICES + 1)[1:-1].round().astype(int)
        return tuple(every[place] for place in places)

    @staticmethod
    def _key(row: float) -> str:
        # names of data keys hold no dots
        return f"slice_{row:g}".replace(".", "_")

    def _look_again(self) -> None:
        # Streams and callbacks take their time, too.
        with self._lock:
            if not self._closing and not self._has_begun():
                return
        self._rest(time.monotonic() + self._pace.asked_s)
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closing:
                return
            began_s = time.monotonic()
            try:
                with self._lock:
                    self._look()
            except ReconstructionError as error:
                LOG.debug("nothing to show yet: %s", error)
                self._rest(began_s + self._pace.asked_s)
                continue
            except Exception as error:
                LOG.warning("Previews of run %s end: %s", self._raw["uid"], error)
                return
            took_s = time.monotonic() - began_s
            self._rest(began_s + self._pace.after(took_s))
            self._tell_if_late(took_s)

    def _has_begun(self) -> bool:
        """Begin; who looks misses the pictures when that fails, and nobody else anything."""
        try:
            self._begin()
        except Exception as error:
            LOG.warning("Run %s has no previews: %s", self._raw["uid"], error)
            self._end_run(error)
            return False
        self._begun = True
        return True

    def _tell_if_late(self, took_s: float) -> None:
        if self._pace.late and not self._told_late:
            self._told_late = True
            LOG.warning(
                "Previews of run %s come every %.2g s, not every %.2g s as asked: one takes %.2g s, and the "
                "scan needs the computer, too. Show fewer slices (preview_slices), or ask for a longer preview_s.",
                self._raw["uid"], self._pace.period_s, self._pace.asked_s, took_s,
            )  # fmt: skip

    def _rest(self, until_s: float) -> None:
        while not self._closing and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.05))

    def _watched(self, prefix: str) -> bool:
        return any(stream.watched for key, stream in self._frames.items() if key.startswith(prefix))

    def _look(self) -> None:
        reconstructor = self._newest()
        looked_at = self._watched("slice_")
        if not looked_at and not self._watched("plane_"):
            # Whoever comes later need not wait for the next projection, which a pause may hold back.
            self._wake.set()
            return
        self._tell_axis(reconstructor)
        if looked_at and self._rows:
            slices = reconstructor.slices(self._rows)
            if not self._intact():
                return
            self._publish_slices(slices)
        if not self._closing:
            self._publish_planes(reconstructor)

    def _tell_axis(self, reconstructor: Reconstructor) -> None:
        assert self._run is not None  # Its streams are watched.
        axis = reconstructor.estimate_axis_quickly()
        self._run.record(
            "axis",
            {
                "center": float(axis.center_px),
                "center_confidence": float(axis.confidence),
                "center_method": axis.method,
                "projections": reconstructor.received,
                "projections_planned": reconstructor.num_projections,
                "preview_s": self._pace.period_s,
                "preview_asked_s": self._pace.asked_s,
            },
        )

    def _publish_slices(self, slices: NDArray[np.float32]) -> None:
        for row, image in zip(self._rows, slices, strict=True):
            stream = self._frames.get(self._key(row))
            if stream is not None:
                stream.publish(np.ascontiguousarray(image))

    def _publish_planes(self, reconstructor: Reconstructor) -> None:
        if self._planes is None or not self._watched("plane_"):
            return
        planes = reconstructor.planes(*self._planes)
        if not self._intact():
            return
        for name, image in (("xy", planes.xy), ("xz", planes.xz), ("yz", planes.yz)):
            self._frames[f"plane_{name}"].publish(np.ascontiguousarray(image))
