"""X-ray imaging experiments as Bluesky plans, frame streams and document callbacks."""

from importlib.metadata import version

from concertino._errors import (
    AlarmError,
    CameraError,
    CatalogError,
    ConcertinoError,
    DeviceError,
    DocumentError,
    FramesLostError,
    FrameStreamError,
    MissingExtraError,
    OverdueError,
    ParameterError,
    ParameterTypeError,
    ReconstructionError,
    SessionError,
    StorageError,
    SubscriberFailedError,
    SubscriberSilentError,
)

from .runtime._lazy_imports import postpone_iri_grammar as _postpone_iri_grammar

_postpone_iri_grammar()

__version__ = version("concertino")

__all__ = [
    "AlarmError",
    "CameraError",
    "CatalogError",
    "ConcertinoError",
    "DeviceError",
    "DocumentError",
    "FrameStreamError",
    "FramesLostError",
    "MissingExtraError",
    "OverdueError",
    "ParameterError",
    "ParameterTypeError",
    "ReconstructionError",
    "SessionError",
    "StorageError",
    "SubscriberFailedError",
    "SubscriberSilentError",
    "__version__",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
