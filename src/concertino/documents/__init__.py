"""What a run's documents say: stream names, the ``tomo`` block, validation."""

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

TomoBlock.__module__ = __name__

__all__ = [
    "BASELINE",
    "DARKS",
    "FLATS",
    "IMAGE_KINDS",
    "LEDGER",
    "PROJECTIONS",
    "ImageKind",
    "TomoBlock",
    "frames_key",
    "image_kind",
    "validate",
    "validate_run",
]
