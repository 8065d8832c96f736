"""What a run's documents say: stream names, the ``tomo`` and ``grating`` blocks, validation."""

from ._angles import (
    PROJECTION_ANGLES,
    UNKNOWN_NUMBER,
    AngleRecord,
    ProjectionAngles,
    first_number,
    frame_places,
)
from ._block import StartBlock
from ._callback import DocumentCallback
from ._cameras import CameraBlock, announced_bytes, camera_stream
from ._device_configuration import device_configuration
from ._grating import OBJECT_STEPPING, REFERENCE_STEPPING, GratingBlock, SteppedGrating
from ._names import check_device_name
from ._open_runs import OpenRuns, link_of
from ._quick_checks import check_documents_quickly
from ._segments import StreamSegment, free_segment, index_ranges
from ._streams import (
    BASELINE,
    DARKS,
    FLATS,
    IMAGE_KINDS,
    LEDGER,
    PER_FRAME,
    PROJECTIONS,
    ImageKind,
    find_image_kind,
    frames_key,
    image_kind,
    is_ledger,
)
from ._tomo import TomoBlock
from ._user_metadata import (
    CONTROL_FIELDS,
    check_control_fields,
    check_metadata,
    check_user_metadata,
)
from ._validate import validate, validate_run

for _class in (
    AngleRecord, CameraBlock, GratingBlock, OpenRuns, ProjectionAngles, StartBlock, StreamSegment, TomoBlock,
):  # fmt: skip
    _class.__module__ = __name__
del _class

__all__ = [
    "BASELINE",
    "CONTROL_FIELDS",
    "DARKS",
    "FLATS",
    "IMAGE_KINDS",
    "LEDGER",
    "OBJECT_STEPPING",
    "PER_FRAME",
    "PROJECTIONS",
    "PROJECTION_ANGLES",
    "REFERENCE_STEPPING",
    "UNKNOWN_NUMBER",
    "AngleRecord",
    "CameraBlock",
    "DocumentCallback",
    "GratingBlock",
    "ImageKind",
    "OpenRuns",
    "ProjectionAngles",
    "StartBlock",
    "SteppedGrating",
    "StreamSegment",
    "TomoBlock",
    "announced_bytes",
    "camera_stream",
    "check_control_fields",
    "check_device_name",
    "check_documents_quickly",
    "check_metadata",
    "check_user_metadata",
    "device_configuration",
    "find_image_kind",
    "first_number",
    "frame_places",
    "frames_key",
    "free_segment",
    "image_kind",
    "index_ranges",
    "is_ledger",
    "link_of",
    "validate",
    "validate_run",
]
