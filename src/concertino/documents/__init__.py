"""What a run's documents say: stream names, the ``tomo`` and ``grating`` blocks, validation."""

from ._grating import OBJECT_STEPPING, REFERENCE_STEPPING, GratingBlock
from ._streams import (
    BASELINE,
    DARKS,
    FLATS,
    IMAGE_KINDS,
    LEDGER,
    PROJECTIONS,
    ImageKind,
    frames_key,
    image_kind,
)
from ._tomo import TomoBlock
from ._validate import validate, validate_run

TomoBlock.__module__ = GratingBlock.__module__ = __name__

__all__ = [
    "BASELINE",
    "DARKS",
    "FLATS",
    "IMAGE_KINDS",
    "LEDGER",
    "OBJECT_STEPPING",
    "PROJECTIONS",
    "REFERENCE_STEPPING",
    "GratingBlock",
    "ImageKind",
    "TomoBlock",
    "frames_key",
    "image_kind",
    "validate",
    "validate_run",
]
