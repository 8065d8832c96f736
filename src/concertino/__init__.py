"""X-ray imaging experiments as Bluesky plans, frame streams and document callbacks."""

from importlib.metadata import version

from concertino._errors import (
    CameraError,
    CatalogError,
    ConcertinoError,
    DeviceError,
    DocumentError,
    FramesLostError,
    FrameStreamError,
    ParameterError,
    ReconstructionError,
    SessionError,
    StorageError,
    SubscriberFailedError,
    SubscriberSilentError,
)

__version__ = version("concertino")

__all__ = [
    "CameraError",
    "CatalogError",
    "ConcertinoError",
    "DeviceError",
    "DocumentError",
    "FrameStreamError",
    "FramesLostError",
    "ParameterError",
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
