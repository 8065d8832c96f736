"""Growth while scans are taken: frames, their rate, runs, devices, subscribers, tomograms of a time series."""

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "peers"))
from concertino_scan import PreparedSource

from concertino.callbacks import FrameConsumer, ImageWriter, OnlineReconstruction
from concertino.devices import Camera, SimulatedBeamline, SimulatedMotor
from concertino.plans import continuous_tomography, radiography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.storage import Catalog

from .meters import Meter, in_use

ComputedReadings = list[tuple[float, dict[str, float]]]

# Full before the shortest scan ends: its pages count as memory when they are touched.
_RING_BYTES = 16 * 2**20
_RING_OF_LINES_BYTES = 2**22


class Lit(PreparedSource):
    """Prepared projections, and darks and flats that are darker and brighter than they."""

    def __init__(self, frames: Any, pace_hz: float) -> None:
        super().__init__(frames, pace_hz)
        self._images = {
            "projections": frames,
            "darks": np.full_like(frames[:1], 100),
            "flats": np.full_like(frames[:1], 4000),
        }

    def prepare(self, request: Any, settings: Any) -> None:
        """Serve frames of the kind that is asked for."""
        super().prepare(request, settings)
        self._frames = self._images[request.kind]


def tomography(
    frames: Any, count: int, rate_hz: float, *, ring_bytes: int = _RING_BYTES, **more: Any
) -> Any:
    """Return a plan that takes a tomography of prepared frames."""
    beamline = SimulatedBeamline(shape=(16, 16))
    rotation = SimulatedMotor("deg", velocity=20.0, max_velocity=3600.0, name="rotation")
    camera = Camera(
        Lit(frames, rate_hz), exposure=0.1 / rate_hz, frame_rate=rate_hz, ring_bytes=ring_bytes
    )
    asked: dict[str, Any] = {
        "radio_position": 0, "flat_position": 20, "num_darks": 5, "num_flats": 5,
        "num_projections": count, "angular_range": "180 deg", "unwind": False,
        "on_lost": "flag",  # a busy computer is no matter here
    }  # fmt: skip
    return continuous_tomography(
        camera, rotation, beamline.beam, beamline.sample_stage, **(asked | more)
    )


def session_in(directory: Path, **more: Any) -> Session:
    """Open a session that stores nothing by itself."""
    session = open_session(directory, progress=False, **({"catalog": False} | more))
    session.require_storage = False
    return session


def _scanned(session: Session, plan: Any, count: int, held: int) -> dict[str, float]:
    """Run a plan; return the figures of it, a frame's times among them."""
    with Meter(session.RE.loop, held) as meter:
        session.RE(plan)
    return meter.figures(count) | {
        "busy_ms": float(np.percentile(meter.probe.busy_ms, 99)),
        "last_over_first": meter.probe.last_over_first(),
    }


def rate(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow frames per second."""
    return _scans([(hz, int(hz * (15 if large else 3)), hz) for hz in sizes], directory)


def frames(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow frames of a scan."""
    return _scans([(count, int(count), 4000.0) for count in sizes], directory)


def _scans(asked: Sequence[tuple[float, int, float]], directory: Path) -> ComputedReadings:
    """Take scans of some size, number and rate of frames of one row each."""
    images, found, held = np.full((16, 1, 256), 3000, np.uint16), ComputedReadings(), 0
    for size, count, hz in [
        (0, 1000, 500.0),
        *asked,
    ]:  # The first run of a process loads what it needs.
        with session_in(directory) as session:
            plan = tomography(images, count, hz, ring_bytes=_RING_OF_LINES_BYTES)
            figures = _scanned(session, plan, count, held)
        if held:
            found.append((size, figures))
        held = held or in_use()
    return found


def subscribers(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow what takes each frame, at 500 frames/s."""
    count, images = (5000 if large else 1500), np.full((16, 256, 256), 3000, np.uint16)
    found, held = ComputedReadings(), 0
    for number in [1, *sizes]:
        taken = [0] * int(number)

        def consumer(place: int, taken: list[int] = taken) -> FrameConsumer:
            def take(frame: Any, stream: str, index: int) -> None:
                taken[place] += 1

            return FrameConsumer(take, name=f"consumer {place}")

        with session_in(directory) as session:
            for place in range(int(number)):
                session.subscribe(consumer(place))
            figures = _scanned(session, tomography(images, count, 500.0), count, held)
            session.wait(60)
        if held:
            found.append((number, figures | {"lost": float(max(count + 10 - n for n in taken))}))
        held = held or in_use()
    return found


def runs(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow the short runs of a session, each stored and catalogued."""
    found, held = ComputedReadings(), 0
    for number in [20, *sizes]:  # the first is to load all that is needed
        place = directory / f"{len(found)}_{held}"
        cpu_s: list[float] = []
        session = session_in(place, catalog=True)
        session.subscribe(ImageWriter())
        beamline = SimulatedBeamline(shape=(16, 16))
        source = PreparedSource(np.full((4, 32, 32), 3000, np.uint16), 1000.0)
        camera = Camera(source, exposure=1e-4, frame_rate=1000.0, ring_bytes=_RING_BYTES)
        with Meter(session.RE.loop, held) as meter:
            for _ in range(int(number)):
                began_s = time.process_time()
                session.RE(
                    radiography(
                        camera, beamline.beam, beamline.sample_stage, radio_position=0,
                        flat_position=1, num_darks=2, num_flats=2, num_projections=10,
                    )
                )  # fmt: skip
                cpu_s.append(time.process_time() - began_s)
                if len(cpu_s) == number // 2:
                    half = in_use()
            kept = in_use() - half
            assert session.catalog is not None
            waiting = len(session.catalog.missing())
            began_s = time.monotonic()
            session.close()
            closed_s = time.monotonic() - began_s
        fifth = max(1, len(cpu_s) // 5)
        figures = meter.figures(number) | {
            "last_over_first": statistics.median(cpu_s[-fifth:]) / statistics.median(cpu_s[:fifth]),
            "kept_kb": kept / 1e3 / (number - number // 2),
            "close_s": closed_s,
            "waiting": float(waiting),
            "catalogue_ms": _catalogued_ms(place),
        }
        if held:
            found.append((number, figures))
        held = held or in_use()
    return found


def _catalogued_ms(place: Path) -> float:
    """Make the catalogue of all runs anew; return the processor time of one."""
    with Catalog.open(place) as catalog:
        began_s = time.process_time()
        number = catalog.rebuild()
        return 1e3 * (time.process_time() - began_s) / number


def devices(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Grow the baseline."""
    import event_model

    kind, found, held = event_model.DocumentNames.descriptor, ComputedReadings(), 0
    for count in [5, *sizes]:
        beamline = SimulatedBeamline(shape=(16, 16))
        motors = [
            SimulatedMotor("mm", velocity=1.0, max_velocity=5.0, name=f"m{number}")
            for number in range(int(count))
        ]
        described: list[Any] = []
        with session_in(directory, baseline=motors) as session:
            session.subscribe(lambda _, document: described.append(document), "descriptor")  # noqa: B023
            for _ in range(2):  # The first run with these devices loads what it needs.
                meter = Meter(session.RE.loop, held)
                gc.disable()  # it looks at all objects of the process whenever it likes
                with meter:
                    session.RE(
                        radiography(
                            beamline.camera, beamline.beam, beamline.sample_stage, radio_position=0,
                            flat_position=10, num_darks=1, num_flats=1, num_projections=3,
                        )
                    )  # fmt: skip
                gc.enable()
        baseline = max(described, key=lambda document: len(document["data_keys"]))
        began_s = time.thread_time()
        event_model.schema_validators[kind].validate(baseline)
        checked_ms = 1e3 * (time.thread_time() - began_s)
        if held:
            busy_ms = max(meter.probe.busy_ms)
            found.append((count, meter.figures() | {"busy_ms": busy_ms, "check_ms": checked_ms}))
        held = held or in_use()
    return found


def series(sizes: Sequence[float], large: bool, directory: Path) -> ComputedReadings:
    """Let the tomograms of one time series come, which is reconstructed meanwhile; each point is of those since the one before.

    The stream of slices takes 256 MiB, as it has by default, and has filled it before the first point; the rows that are kept of a
    tomogram are 6.6 MB.
    """
    images = np.random.default_rng(1).integers(2000, 3000, (50, 64, 512), np.uint16)
    settings = ReconstructionSettings(center=255.5, slices=tuple(range(0, 64, 4)))
    rows = len(settings.slices or ())
    found, meters, held = ComputedReadings(), list[Meter](), 0
    for number in (2, int(max(sizes))):
        with tempfile.TemporaryDirectory(dir=directory) as place, session_in(directory) as session:

            def show(
                _: Any, stream: str, index: int, loop: Any = session.RE.loop, held: int = held
            ) -> None:
                tomograms, more = divmod(index + 1, rows)
                if held and not more and tomograms in sizes:
                    done = meters.pop()
                    done.stop()
                    before = found[-1][0] if found else 0
                    found.append((tomograms, done.figures(tomograms - before)))
                    meters.append(Meter(loop, held, clean=False))

            live = OnlineReconstruction(
                settings,
                callbacks=[FrameConsumer(show, streams=("slices",))],
                preview_s=1e9,
                keep_rows="all",
                output="hdf5",
                directory=place,
            )
            session.subscribe(live)
            meters.append(Meter(session.RE.loop, held))
            session.RE(tomography(images, 100, 250.0, num_tomograms=number))
            live.wait(300)
        held = held or in_use()
    return found
