"""A whole simulated beamline: the digital twin behind devices."""

import math
import time
from dataclasses import replace
from typing import Any, Literal

from bluesky.protocols import Readable

from concertino import ParameterError
from concertino.devices._beam import SimulatedShutter, SimulatedStorageRing, SimulatedTube
from concertino.devices.camera._camera import Camera
from concertino.simulation import (
    Beam,
    BeamlineState,
    Detector,
    Faults,
    Twin,
    ellipsoid_foam,
    seen_by,
)

from ._encoder import SimulatedEncoder
from ._motor import SimulatedMotor
from ._simulated_source import SimulatedSource
from ._trigger_box import SimulatedTriggerBox

#: Unit of each stage but the rotation; its velocity and the greatest one, in unit/s; the time in which it gains its
#: velocity, in s; and how far it goes to either side.
_STAGES = {
    "sample_stage": ("mm", 100.0, 200.0, 0.02, 100.0),
    "vertical_stage": ("mm", 20.0, 50.0, 0.02, 100.0),
    "grating_stage": ("um", 200.0, 1000.0, 0.01, 1000.0),
    "axis_roll": ("deg", 10.0, 20.0, 0.01, 10.0),
    "axis_pitch": ("deg", 10.0, 20.0, 0.01, 10.0),
    "focus_stage": ("mm", 20.0, 50.0, 0.01, 50.0),
}


def _stage(name: str) -> SimulatedMotor:
    unit, velocity, greatest, ramp_s, reach = _STAGES[name]
    return SimulatedMotor(
        unit, velocity=velocity, max_velocity=greatest, acceleration_time=ramp_s,
        limits=(-reach, reach), name=name,
    )  # fmt: skip


class SimulatedBeamline:
    """Camera, rotation, sample stage, shutter, tube and storage ring of a digital twin.

    What the camera sees follows from what the other devices did during its exposure.

    Parameters
    ----------
    twin : Twin, optional
        Sample, beam and detector; by default an ellipsoid foam of known attenuation.
    shape : tuple of int
        Frame shape (height, width) in pixels, when `twin` is not given.
    source : {"synchrotron", "tube"}
        What makes the beam: a ring behind a shutter, or an X-ray tube.
    exposure : float
        Initial exposure time in seconds.
    frame_rate : float
        Initial frame rate in Hz.
    faults : Faults, optional
        What goes wrong with the camera.
    noise : bool
        False for a camera without noise, when `twin` is not given.
    ring_bytes : int
        Memory for frames on their way to the subscribers, in bytes.
    subscriber_timeout_s : float
        How long a subscriber may be silent, in seconds.
    stream_address : str
        Where subscribers find the frames: by default on this computer only, in whatever process they live;
        ``"tcp://host:0"``, with the name or number of this one, for those on other computers, too.
    encoder : SimulatedEncoder or None
        Of the rotation; one with the computer's clock by default, None for a stage without.
    memory_bytes : int
        Size in bytes of a memory of the camera's own, for plans with ``readout="later"``; 0 for none.
    readout_rate_hz : float
        Frames that it reads out of that memory in a second; 0 for as fast as it can.

    Attributes
    ----------
    camera : Camera
    rotation : SimulatedMotor
        In deg.
    sample_stage : SimulatedMotor
        Horizontal, across the beam, in mm; the sample is in the beam at 0 mm.
    vertical_stage : SimulatedMotor
        Lifts the sample along the rotation axis, in mm.
    grating_stage : SimulatedMotor
        Steps the grating of a twin that has one, in um.
    axis_roll, axis_pitch : SimulatedMotor
        Tilt the rotation stage in the detector's plane and along the beam, in deg.
    focus_stage : SimulatedMotor
        Moves the camera along the beam, in mm; it matters to a twin that has a focus.
    trigger_box : SimulatedTriggerBox
        Gives pulses to the camera by the rotation's positions, by time or one by one.
    shutter : SimulatedShutter
    tube : SimulatedTube
    ring : SimulatedStorageRing
    beam : SimulatedShutter or SimulatedTube
        The one that switches the beam.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> beamline = SimulatedBeamline(shape=(32, 64))
    >>> beamline.camera.frame_shape
    (32, 64)
    """

    def __init__(
        self,
        twin: Twin | None = None,
        *,
        shape: tuple[int, int] = (512, 512),
        source: str = "synchrotron",
        exposure: float = 0.005,
        frame_rate: float = 100.0,
        faults: Faults | None = None,
        noise: bool = True,
        ring_bytes: int = 256 * 2**20,
        subscriber_timeout_s: float = 30.0,
        stream_address: str = "tcp://127.0.0.1:0",
        encoder: SimulatedEncoder | Literal["default"] | None = "default",
        memory_bytes: int = 0,
        readout_rate_hz: float = 0.0,
    ) -> None:
        self.twin = twin or foam_twin(shape, noise=noise)
        self.rotation = SimulatedMotor(
            "deg",
            velocity=360.0,
            max_velocity=1440.0,
            acceleration_time=0.05,
            encoder=SimulatedEncoder() if encoder == "default" else encoder,
            name="rotation",
        )
        self.sample_stage = _stage("sample_stage")
        self.vertical_stage = _stage("vertical_stage")
        self.grating_stage = _stage("grating_stage")
        self.axis_roll, self.axis_pitch = _stage("axis_roll"), _stage("axis_pitch")
        self.focus_stage = _stage("focus_stage")
        self.shutter = SimulatedShutter(name="shutter")
        self.tube = SimulatedTube(name="tube")
        self.ring = SimulatedStorageRing(name="ring")
        if source not in ("synchrotron", "tube"):
            raise ParameterError(f"source: {source!r} was given; give 'synchrotron' or 'tube'.")
        self.source = source
        self.beam = self.shutter if source == "synchrotron" else self.tube
        self._born_s = time.time()
        self._exposure, self._frame_rate = exposure, frame_rate
        self._streams: dict[str, Any] = {
            "ring_bytes": ring_bytes,
            "subscriber_timeout_s": subscriber_timeout_s,
            "stream_address": stream_address,
        }
        camera = SimulatedSource(
            self.twin, self.state, faults,
            memory_bytes=memory_bytes, readout_rate_hz=readout_rate_hz,
        )  # fmt: skip
        camera.trigger_input = True
        self.trigger_box = SimulatedTriggerBox(camera.edge, [self.rotation])
        self.camera = Camera(camera, exposure=exposure, frame_rate=frame_rate, **self._streams)

    def add_camera(
        self,
        name: str,
        *,
        shape: tuple[int, int],
        pixel_size_um: float | None = None,
        frame_rate: float | None = None,
        faults: Faults | None = None,
    ) -> Camera:
        """Return another camera that sees the same sample in the same beam.

        Parameters
        ----------
        name : str
            Of the camera.
        shape : tuple of int
            Frame shape (height, width) in pixels; its centre is on the same ray as the first camera's.
        pixel_size_um : float, optional
            Size of a pixel in the plane of the sample, in um: smaller for other optics, larger for
            binning; that of the first camera by default.
        frame_rate : float, optional
            Initial frame rate in Hz; that of the first camera by default, as the exposure time is.
        faults
            As for the first camera.

        Returns
        -------
        Camera
            Its twin is ``camera.source.twin``.
        """
        detector = self.twin.detector
        size_mm = detector.pixel_size_mm if pixel_size_um is None else pixel_size_um / 1000
        # A larger pixel holds more electrons, as one that is binned does.
        area = max(1.0, (size_mm / detector.pixel_size_mm) ** 2)
        twin = seen_by(
            self.twin,
            replace(
                detector,
                shape=shape,
                pixel_size_mm=size_mm,
                full_well=detector.full_well * area,
                gain=detector.gain / area,
                seed=detector.seed + 1,
            ),
        )
        return Camera(
            SimulatedSource(twin, self.state, faults, name),
            exposure=self._exposure,
            frame_rate=self._frame_rate if frame_rate is None else frame_rate,
            name=name,
            **self._streams,
        )

    def state(self, begin_s: float, end_s: float) -> BeamlineState:
        """Return what the devices did between two times in seconds since the epoch."""
        middle_s = (begin_s + end_s) / 2
        ring = self.source == "synchrotron"
        return BeamlineState(
            time_s=begin_s - self._born_s,
            beam_on=self.beam.history.fraction(begin_s, end_s),
            angle_start_rad=math.radians(self.rotation.position_at(begin_s)),
            angle_end_rad=math.radians(self.rotation.position_at(end_s)),
            sample_offset_mm=self._offset_mm(begin_s),
            sample_offset_end_mm=self._offset_mm(end_s),
            grating_position_um=self.grating_stage.position_at(middle_s),
            axis_tilt_rad=(
                math.radians(self.axis_roll.position_at(middle_s)),
                math.radians(self.axis_pitch.position_at(middle_s)),
            ),
            focus_mm=self.focus_stage.position_at(middle_s),
            ring_current_ma=self.ring.current_at(middle_s) if ring else None,
            tube_current_ma=None if ring else self.tube.current_at(middle_s) / 1000,
            tube_voltage_kv=None if ring else self.tube.voltage_at(middle_s),
        )

    def _offset_mm(self, time_s: float) -> tuple[float, float]:
        return (self.sample_stage.position_at(time_s), self.vertical_stage.position_at(time_s))

    @property
    def baseline(self) -> tuple[Readable[Any], ...]:
        """The devices whose state belongs to every run."""
        switches = (self.shutter, self.ring) if self.source == "synchrotron" else (self.tube,)
        grating = () if self.twin.grating is None else (self.grating_stage,)
        tilt = (self.axis_roll, self.axis_pitch) if any(self.twin.axis_tilt_rad) else ()
        focus = () if self.twin.focus is None else (self.focus_stage,)
        stages = (self.rotation, self.sample_stage, self.vertical_stage)
        return (*stages, *tilt, *focus, *grating, *switches)


def foam_twin(shape: tuple[int, int], *, noise: bool = True, seed: int = 0) -> Twin:
    """Return a twin whose sample, an ellipsoid foam, fills most of the field.

    Parameters
    ----------
    shape : tuple of int
        Frame shape (height, width) in pixels.
    noise : bool
        False for a camera without noise and without uneven pixels.
    seed : int
        Of the sample and the noise.
    """
    detector = Detector(shape=shape, seed=seed)
    if not noise:
        detector = replace(detector, unevenness=0.0, ring_pixels=0.0, dark_current=0.0)
    radius_mm = 0.42 * shape[1] * detector.pixel_size_mm
    foam = ellipsoid_foam(
        seed,
        number=min(60, shape[1] // 8),
        radius_mm=radius_mm,
        height_mm=1.5 * max(shape) * detector.pixel_size_mm,
        attenuation_per_mm=0.5 / radius_mm,
    )
    beam = Beam(flux=6e6, drift=0.01 if noise else 0.0, wander_px=0.3 if noise else 0.0, seed=seed)
    return Twin(foam, beam, detector, axis_offset_px=0.02 * shape[1], noise=noise, seed=seed)
