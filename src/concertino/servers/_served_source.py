"""What a camera server can serve: the frame source of whatever a user's module makes."""

from concertino import CameraError
from concertino.devices import AsyncFrameSource, Camera, DetectorCamera, FrameSource, TangoCamera


def served_source(made: object) -> FrameSource:
    """Return the source of a camera, or a source as it is.

    Parameters
    ----------
    made : object
        What the function made that was named to the server: a `FrameSource`, or a `Camera` over one.

    Raises
    ------
    CameraError
        If there is no frame source that a thread can drive.
    """
    if isinstance(made, DetectorCamera):
        raise CameraError(
            f"The camera server was given the DetectorCamera {made.name}. What its detector writes is the run's data, and "
            "its documents are the session's: use DetectorCamera there."
        )
    if isinstance(made, TangoCamera):
        raise CameraError(
            f"The camera server was given the TangoCamera {made.name}, which another server serves. Give its address to "
            "the session."
        )
    if isinstance(made, AsyncFrameSource):
        raise CameraError(
            f"The camera server was given a {type(made).__name__}, which lives in the loop of a RunEngine. Give it a source "
            "that a thread drives, a FrameSource, or use it in the session: Camera(source)."
        )
    # A camera looks at what its source says of itself, and refuses what is none.
    camera = made if isinstance(made, Camera) else Camera(made)  # type: ignore[arg-type]
    return camera.source
