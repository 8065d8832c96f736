"""What to do: experiments as generators of messages, and the stubs that they are made of."""

from ._align_rotation_axis import AxisAlignment, align_rotation_axis
from ._angle_schemes import AngleList, AngleScheme, Equidistant, GoldenRatio, MultiTurn, Timbir
from ._cameras import CameraSet
from ._closed_loop import LoopResult, closed_loop, outcome_of
from ._continuous_spiral_tomography import continuous_spiral_tomography
from ._continuous_tomography import continuous_tomography
from ._deadlines import Deadlines, set_deadlines
from ._directors import change_samples, for_each, xy_scan
from ._find_rotation_axis import find_rotation_axis
from ._focus import FocusResult, focus
from ._formulas import angular_step, maximum_velocity, projections_needed, tomograms_in_spiral
from ._frames import take_darks, take_flats, take_frames, take_stepped_frames
from ._grating_stepping import grating_stepping
from ._hold import Hold, HoldRequest
from ._image_measure import ImageMeasure
from ._overheads import Overheads
from ._passed_on import passed_on
from ._preflight import preflight
from ._preflight_value import AxisFigures, Preflight, StreamFigures
from ._protocols import Beam, ClaimedCamera, FrameCamera, PositionEncoder, Rotation, TriggerDevice
from ._radiography import radiography
from ._resume import resume
from ._retrospective_radiography import retrospective_radiography
from ._run import imaging_run
from ._safety import beam_off, beam_on, run_safely
from ._scan_so_far import with_hold
from ._scans import ascan, dscan, scan
from ._step_spiral_tomography import step_spiral_tomography
from ._step_tomography import step_tomography

__all__ = [
    "AngleList",
    "AngleScheme",
    "AxisAlignment",
    "AxisFigures",
    "Beam",
    "CameraSet",
    "ClaimedCamera",
    "Deadlines",
    "Equidistant",
    "FocusResult",
    "FrameCamera",
    "GoldenRatio",
    "Hold",
    "HoldRequest",
    "ImageMeasure",
    "LoopResult",
    "MultiTurn",
    "Overheads",
    "PositionEncoder",
    "Preflight",
    "Rotation",
    "StreamFigures",
    "Timbir",
    "TriggerDevice",
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
    "preflight",
    "projections_needed",
    "radiography",
    "resume",
    "retrospective_radiography",
    "run_safely",
    "scan",
    "set_deadlines",
    "step_spiral_tomography",
    "step_tomography",
    "take_darks",
    "take_flats",
    "take_frames",
    "take_stepped_frames",
    "tomograms_in_spiral",
    "with_hold",
    "xy_scan",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
