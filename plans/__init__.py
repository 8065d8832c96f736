"""What to do: experiments as generators of messages, and the stubs that they are made of."""

from ._angle_schemes import AngleList, AngleScheme, Equidistant, GoldenRatio, Timbir
from ._continuous_spiral_tomography import continuous_spiral_tomography
from ._continuous_tomography import continuous_tomography
from ._directors import change_samples, for_each, xy_scan
from ._formulas import angular_step, maximum_velocity, projections_needed, tomograms_in_spiral
from ._frames import take_darks, take_flats, take_frames, take_stepped_frames
from ._grating_stepping import grating_stepping
from ._pause import SeriesPause
from ._protocols import Beam, FrameCamera, Rotation
from ._radiography import radiography
from ._run import imaging_run
from ._safety import beam_off, beam_on, run_safely
from ._step_spiral_tomography import step_spiral_tomography
from ._step_tomography import step_tomography

__all__ = [
    "AngleList",
    "AngleScheme",
    "Beam",
    "Equidistant",
    "FrameCamera",
    "GoldenRatio",
    "Rotation",
    "SeriesPause",
    "Timbir",
    "angular_step",
    "beam_off",
    "beam_on",
    "change_samples",
    "continuous_spiral_tomography",
    "continuous_tomography",
    "for_each",
    "grating_stepping",
    "imaging_run",
    "maximum_velocity",
    "projections_needed",
    "radiography",
    "run_safely",
    "step_spiral_tomography",
    "step_tomography",
    "take_darks",
    "take_flats",
    "take_frames",
    "take_stepped_frames",
    "tomograms_in_spiral",
    "xy_scan",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
