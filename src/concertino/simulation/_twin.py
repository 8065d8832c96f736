"""The digital twin: from the state of the beamline to the frame that its camera delivers."""

import math
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError

from ._beam import Beam
from ._checks import check_positive
from ._detector import Detector
from ._focus import NO_BLUR_PX, Focus, blurred_transmission
from ._grating import Grating
from ._phantom import Phantom, subpixels
from ._state import BeamlineState

#: Standard normals from which the noise of every row is drawn, at a random place.
NORMALS = 2**21
#: A moving sample is averaged at points that are at most this far apart, in px ...
BLUR_STEP_PX = 0.5
#: ... but never at more points than this.
MAX_BLUR_STEPS = 64


class Twin:
    """A simulated beamline: sample, beam and detector, without devices.

    Frames are independent of one another and of the order in which they are asked for; any number
    of threads may use one twin (the compiled loops release the GIL).

    Parameters
    ----------
    phantom : Phantom
        The sample.
    beam : Beam
        The source.
    detector : Detector
        The camera.
    grating : Grating, optional
        A grating interferometer before the camera.
    focus : Focus, optional
        Where the camera is in focus; without it, it always is.
    axis_offset_px : float
        Columns by which the rotation axis is right of the detector's centre, in px.
    axis_tilt_rad : (float, float)
        Roll and pitch of the rotation axis, in rad, as in `Phantom.projection`; those of the
        beamline's state add to them. The axis turns about the middle of the beam.
    noise : bool
        False gives the expectation, rounded to whole counts.
    supersampling : int
        Points per pixel in each direction over which the transmission is averaged.
    seed : int
        Seed of the noise.

    Notes
    -----
    What is approximated:

    - shot noise is normal with the right mean and variance, not Poisson: the difference shows below
      about 20 photons a pixel;
    - the noise of each row is a piece of one table of 2²¹ standard normals, taken at a place and
      with a sign that depend on seed, kind, index and row alone, so two rows out of a thousand
      may share a part of it;
    - exp(-x) has a relative error below 2e-5 up to x = 10;
    - the wandering beam is its profile and a first-order shift of it;
    - light is monochromatic and parallel; the optics have no point-spread function, but out of
      focus, where what the sample leaves of the beam is blurred and the beam's profile is not.

    The same arguments give the same frame on the same kind of processor; another processor may
    round differently by one count.
    """

    def __init__(
        self,
        phantom: Phantom,
        beam: Beam | None = None,
        detector: Detector | None = None,
        *,
        grating: Grating | None = None,
        focus: Focus | None = None,
        axis_offset_px: float = 0.0,
        axis_tilt_rad: tuple[float, float] = (0.0, 0.0),
        noise: bool = True,
        supersampling: int = 1,
        seed: int = 0,
    ) -> None:
        if not 0 <= seed < 2**63:
            raise ParameterError(f"seed: {seed} was given; give 0 or more and below 2**63.")
        self.phantom = phantom
        self.beam = beam or Beam()
        self.detector = detector or Detector()
        self.grating = grating
        self.focus = focus
        self.axis_offset_px = axis_offset_px
        self.axis_tilt_rad = axis_tilt_rad
        self.noise = noise
        self.seed = seed
        self._grid = subpixels(supersampling)
        sensitivity = self.detector.sensitivity()
        profile = self.beam.profile(self.detector.shape)
        self._flat = (profile * sensitivity).astype(np.float32)
        self._drift = (_shift_per_row(profile) * sensitivity).astype(np.float32)
        self._curvature = self.detector.curvature().astype(np.float32)
        self._dark = self.detector.dark().astype(np.float32)
        self._normals = _normals(seed) if noise else np.zeros(0, np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the frames, in px."""
        return self.detector.shape

    @property
    def rotation_axis_px(self) -> float:
        """Column of the rotation axis at the middle row, in px, as reconstruction takes it."""
        return (self.shape[1] - 1) / 2 + self.axis_offset_px

    def warm_up(self) -> None:
        """Compile what `expose` needs (seconds, once per installation), before time matters."""
        self.expose(BeamlineState(), 0.0, np.empty(self.shape, np.uint16), 0)

    def expose(
        self,
        state: BeamlineState,
        exposure_s: float,
        out: NDArray[np.uint16],
        index: int,
        *,
        kind: str = "",
        gain: float | None = None,
    ) -> None:
        """Write the frame that the camera takes in one exposure.

        Parameters
        ----------
        state : BeamlineState
            What the devices do during the exposure.
        exposure_s : float
            Exposure time, in s.
        out : NDArray, shape (height, width), uint16
            Where the frame is written.
        index : int
            Number of the exposure; together with the seed and `kind` it decides on the noise.
        kind : str
            Name of the acquisition (``"darks"``), so that its noise differs from the others'.
        gain : float, optional
            Counts per electron, above 0; the detector's by default. Light and noise are scaled alike, the offset is not.

        Raises
        ------
        ParameterError
            `out` has another shape or dtype, the exposure is negative, or the gain is not positive.
        """
        if out.shape != self.shape or out.dtype != np.uint16:
            raise ParameterError(
                f"out: an array of shape {out.shape} and dtype {out.dtype} was given; give one of "
                f"shape {self.shape} and dtype uint16."
            )
        from ._kernels import scramble

        acquisition = scramble(np.uint64(self.seed), np.uint64(zlib.crc32(kind.encode())))
        key = np.uint64(scramble(np.uint64(acquisition), np.uint64(index)))
        if gain is not None:
            check_positive(finite=True, gain=gain)
        self._run(state, exposure_s, out, np.empty((0, 0), np.float32), key, gain)

    def expectation(self, state: BeamlineState, exposure_s: float) -> NDArray[np.float32]:
        """Return the expected counts of an exposure: no noise, not rounded, not clipped at zero.

        Returns
        -------
        NDArray, shape (height, width), float32
            In counts.
        """
        counts = np.empty(self.shape, np.float32)
        self._run(state, exposure_s, np.empty((0, 0), np.uint16), counts, None)
        return counts

    def _run(
        self,
        state: BeamlineState,
        exposure_s: float,
        out: NDArray[np.uint16],
        counts: NDArray[np.float32],
        key: np.uint64 | None,
        gain: float | None = None,
    ) -> None:
        from ._kernels import expose

        if not (math.isfinite(exposure_s) and exposure_s >= 0):
            raise ParameterError(f"exposure_s: {exposure_s} was given; give 0 s or more.")
        detector = self.detector
        shadows = self.phantom.shadows(
            self.poses(state), detector.pixel_size_mm, self.tilt_rad(state)
        )
        numbers = np.array(
            [
                self.beam.flux * exposure_s * self.beam.intensity(state, exposure_s),
                self.beam.wander(state, exposure_s),
                exposure_s,
                detector.full_well,
                detector.read_noise**2,
                detector.gain if gain is None else gain,
                detector.offset,
                detector.maximum,
            ],
            np.float32,
        )
        noisy = self.noise and key is not None
        flat, drift = self._flat, self._drift
        if self.grating is not None:
            fringes = self._fringes(self.grating, state)
            flat, drift = flat * fringes, drift * fringes
        blur_px = 0.0 if self.focus is None else self.focus.blur_px(state.focus_mm)
        if blur_px > NO_BLUR_PX and shadows.size:
            blurred = blurred_transmission(shadows, self.shape, blur_px)
            flat, drift, shadows = flat * blurred, drift * blurred, shadows[:, :0]
        expose(
            out, counts, shadows, flat, drift, self._curvature, self._dark,
            self._normals, key or np.uint64(0), noisy, numbers,
        )  # fmt: skip

    def lines(self, state: BeamlineState) -> NDArray[np.float32]:
        """Return the line integrals (height, width) of the attenuation at the start of an exposure."""
        pixel = self.detector.pixel_size_mm
        right, up = (offset / pixel for offset in state.sample_offset_mm)
        return self.phantom.projection(
            state.angle_start_rad,
            self.shape,
            pixel,
            axis_offset_px=self.axis_offset_px,
            axis_tilt_rad=self.tilt_rad(state),
            sample_offset_px=(right, up),
        )

    def tilt_rad(self, state: BeamlineState) -> tuple[float, float]:
        """Return roll and pitch of the rotation axis, in rad: its own and what the stages add."""
        (roll, pitch), (more_roll, more_pitch) = self.axis_tilt_rad, state.axis_tilt_rad
        return roll + more_roll, pitch + more_pitch

    def _fringes(self, grating: Grating, state: BeamlineState) -> NDArray[np.float32]:
        pixel = self.detector.pixel_size_mm
        factor = grating.fringes(self.lines(state), self.shape, state.grating_position_um, pixel)
        return factor.astype(np.float32)

    def poses(self, state: BeamlineState) -> NDArray[np.float64]:
        """Return the poses (n, 3) over which an exposure is averaged.

        Each is the angle in rad and the column and row, in px, of the rotation axis's origin. A
        sample that moves by less than half a pixel has one, at the middle of the exposure.
        """
        pixel = self.detector.pixel_size_mm
        turn = state.angle_stop_rad - state.angle_start_rad
        begin, end = np.asarray(state.sample_offset_mm), np.asarray(state.sample_stop_mm)
        radius = min(self.phantom.radius_mm, math.hypot(*self.detector.field_mm))
        motion_px = (abs(turn) * radius + float(np.linalg.norm(end - begin))) / pixel
        steps = min(max(1, math.ceil(motion_px / BLUR_STEP_PX)), MAX_BLUR_STEPS)
        parts = (np.arange(steps) + 0.5) / steps
        offsets = (begin + parts[:, None] * (end - begin)) / pixel
        poses = np.empty((steps, len(self._grid), 3))
        poses[:, :, 0] = (state.angle_start_rad + parts * turn)[:, None]
        poses[:, :, 1] = self.rotation_axis_px + offsets[:, 0, None] + self._grid[:, 0]
        poses[:, :, 2] = (self.shape[0] - 1) / 2 - offsets[:, 1, None] + self._grid[:, 1]
        return poses.reshape(-1, 3)


def _shift_per_row(profile: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the change of the profile when the beam moves down by one row."""
    if profile.shape[0] < 2:
        return np.zeros_like(profile)
    return -np.asarray(np.gradient(profile, axis=0))


@cache
def _normals(seed: int) -> NDArray[np.float32]:
    table = np.random.default_rng((seed, 5)).standard_normal(NORMALS, dtype=np.float32)
    table -= table.mean()
    table /= table.std()
    return table
