"""What to do: experiments as generators of messages, and the stubs that they are made of."""

from ._acquisition import (
    Acquisition,
    Darks,
    Flats,
    Radiographs,
    Ready,
    acquisition_kinds,
    register_acquisition,
)
from ._align_rotation_axis import AxisAlignment, align_rotation_axis
from ._angle_schemes import AngleList, AngleScheme, Equidistant, GoldenRatio, MultiTurn, Timbir
from ._cameras import CameraSet
from ._closed_loop import LoopResult, closed_loop, outcome_of
from ._continuous_spiral_tomography import continuous_spiral_tomography
from ._continuous_tomography import continuous_tomography
from ._deadlines import Deadlines, set_deadlines
from ._directors import change_samples, for_each, xy_scan
from ._find_rotation_axis import OppositeViews, find_rotation_axis
from ._focus import FocusResult, focus
from ._formulas import angular_step, maximum_velocity, projections_needed, tomograms_in_spiral
from ._frames import take_darks, take_flats, take_frames, take_stepped_frames
from ._grating_stepping import grating_stepping
from ._grating_steps import GratingSteps
from ._hold import Hold, HoldRequest
from ._image_measure import ImageMeasure
from ._imaging_scan import ImagingScan
from ._overheads import Overheads
from ._passed_on import passed_on
from ._plan_schema import plan_schema
from ._preflight import preflight
from ._preflight_value import AxisFigures, Preflight, StreamFigures
from ._projections import StepProjections, SweepProjections
from ._protocols import Beam, ClaimedCamera, FrameCamera, PositionEncoder, Rotation, TriggerDevice
from ._radiography import radiography
from ._recorded_radiographs import RetrospectiveRadiographs
from ._resume import resume
from ._retrospective_radiography import retrospective_radiography
from ._run import imaging_run
from ._safety import beam_off, beam_on, run_safely
from ._scan_setup import ScanSetup
from ._scan_so_far import with_hold
from ._scans import ascan, dscan, scan
from ._spiral_projections import SpiralProjections, StepSpiralProjections
from ._step_spiral_tomography import step_spiral_tomography
from ._step_tomography import step_tomography
from ._take_again import take_again
from ._take_scan import take_scan
from ._tilt_views import TiltViews

__all__ = [
    "Acquisition",
    "AngleList",
    "AngleScheme",
    "AxisAlignment",
    "AxisFigures",
    "Beam",
    "CameraSet",
    "ClaimedCamera",
    "Darks",
    "Deadlines",
    "Equidistant",
    "Flats",
    "FocusResult",
    "FrameCamera",
    "GoldenRatio",
    "GratingSteps",
    "Hold",
    "HoldRequest",
    "ImageMeasure",
    "ImagingScan",
    "LoopResult",
    "MultiTurn",
    "OppositeViews",
    "Overheads",
    "PositionEncoder",
    "Preflight",
    "Radiographs",
    "Ready",
    "RetrospectiveRadiographs",
    "Rotation",
    "ScanSetup",
    "SpiralProjections",
    "StepProjections",
    "StepSpiralProjections",
    "StreamFigures",
    "SweepProjections",
    "TiltViews",
    "Timbir",
    "TriggerDevice",
    "acquisition_kinds",
    "align_rotation_axis",
    "angular_step",
    "ascan",
    "beam_off",
    "beam_on",
    "change_samples",
    "closed_loop",
    "continuous_spiral_tomography",
    "continuous_tomography",
    "dscan",
    "find_rotation_axis",
    "focus",
    "for_each",
    "grating_stepping",
    "imaging_run",
    "maximum_velocity",
    "outcome_of",
    "passed_on",
    "plan_schema",
    "preflight",
    "projections_needed",
    "radiography",
    "register_acquisition",
    "resume",
    "retrospective_radiography",
    "run_safely",
    "scan",
    "set_deadlines",
    "step_spiral_tomography",
    "step_tomography",
    "take_again",
    "take_darks",
    "take_flats",
    "take_frames",
    "take_scan",
    "take_stepped_frames",
    "tomograms_in_spiral",
    "with_hold",
    "xy_scan",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
