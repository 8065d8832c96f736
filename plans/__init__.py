"""What to do: experiments as generators of messages, and the stubs that they are made of."""

from ._continuous_spiral_tomography import continuous_spiral_tomography
from ._continuous_tomography import continuous_tomography
from ._grating_stepping import grating_stepping
from ._radiography import radiography
from ._resume import resume
from ._retrospective_radiography import retrospective_radiography
from ._step_spiral_tomography import step_spiral_tomography
from ._step_tomography import step_tomography
from .alignment._align_rotation_axis import AxisAlignment, align_rotation_axis
from .alignment._closed_loop import LoopResult, closed_loop, outcome_of
from .alignment._find_rotation_axis import OppositeViews, find_rotation_axis
from .alignment._focus import FocusResult, focus
from .alignment._image_measure import ImageMeasure
from .alignment._scans import ascan, dscan, scan
from .alignment._tilt_views import TiltViews
from .core._cameras import CameraSet
from .core._deadlines import Deadlines, set_deadlines
from .core._passed_on import passed_on
from .core._protocols import (
    Beam,
    ClaimedCamera,
    FrameCamera,
    PositionEncoder,
    Rotation,
    TriggerDevice,
)
from .geometry._angle_schemes import (
    AngleList,
    AngleScheme,
    Equidistant,
    GoldenRatio,
    MultiTurn,
    Timbir,
)
from .geometry._formulas import (
    angular_step,
    maximum_velocity,
    projections_needed,
    tomograms_in_spiral,
)
from .imaging._acquisition import (
    Acquisition,
    Darks,
    Flats,
    Radiographs,
    Ready,
    acquisition_kinds,
    register_acquisition,
)
from .imaging._grating_steps import GratingSteps
from .imaging._imaging_scan import ImagingScan
from .imaging._plan_schema import plan_schema
from .imaging._projections import StepProjections, SweepProjections
from .imaging._queue_annotation import check_parameter, motor_places, queue_annotation
from .imaging._recorded_radiographs import RetrospectiveRadiographs
from .imaging._spiral_projections import SpiralProjections, StepSpiralProjections
from .imaging._take_again import take_again
from .imaging._take_scan import take_scan
from .rehearsal._overheads import Overheads
from .rehearsal._preflight import preflight
from .rehearsal._preflight_value import AxisFigures, Preflight, StreamFigures
from .rehearsal._resources import Resources, with_resources
from .run._optics import TellsOptics, check_optics, with_optics
from .run._pause_request import HoldRequest, PauseRequest
from .run._resume_context import with_pause_request
from .run._run import imaging_run
from .safety._interlock import Interlock
from .safety._safety import beam_off, beam_on, run_safely
from .safety._stop_all import stop_all
from .series._for_each import change_samples, for_each, xy_scan
from .stubs._frames import take_darks, take_flats, take_frames, take_stepped_frames
from .stubs._scan_setup import ScanSetup

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
    "HoldRequest",
    "ImageMeasure",
    "ImagingScan",
    "Interlock",
    "LoopResult",
    "MultiTurn",
    "OppositeViews",
    "Overheads",
    "PauseRequest",
    "PositionEncoder",
    "Preflight",
    "Radiographs",
    "Ready",
    "Resources",
    "RetrospectiveRadiographs",
    "Rotation",
    "ScanSetup",
    "SpiralProjections",
    "StepProjections",
    "StepSpiralProjections",
    "StreamFigures",
    "SweepProjections",
    "TellsOptics",
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
    "check_optics",
    "check_parameter",
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
    "motor_places",
    "outcome_of",
    "passed_on",
    "plan_schema",
    "preflight",
    "projections_needed",
    "queue_annotation",
    "radiography",
    "register_acquisition",
    "resume",
    "retrospective_radiography",
    "run_safely",
    "scan",
    "set_deadlines",
    "step_spiral_tomography",
    "step_tomography",
    "stop_all",
    "take_again",
    "take_darks",
    "take_flats",
    "take_frames",
    "take_scan",
    "take_stepped_frames",
    "tomograms_in_spiral",
    "with_optics",
    "with_pause_request",
    "with_resources",
    "xy_scan",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
