"""What is said of an acquisition that failed: which camera, how many frames, and what to look at."""

from concertino import CameraError, ConcertinoError
from concertino.frames import FrameRequest


def hanging(
    camera: str,
    request: FrameRequest,
    exposed: int,
    wanted: int | None,
    within_s: float,
    told: str = "stop",
) -> str:
    """Say that a source does not come back."""
    return (
        f"Camera {camera}: its source still hangs in {request.kind}, where it gave "
        f"{exposed} of {wanted or 'any number of'} frames; it was told to {told} and has not "
        f"within {within_s:g} s. Check the detector and its driver, and restart them, or "
        "this program."
    )


def silent(
    camera: str,
    request: FrameRequest,
    trigger: str,
    exposed: int,
    wanted: int | None,
    silent_s: float,
    expected_s: float,
) -> str:
    """Say that a frame was due long ago and the source gave none."""
    of_wanted = "" if wanted is None else f" of {wanted}"
    asked, check = {
        "software": ("was triggered", "that it takes software triggers"),
        "internal": ("was to go on at its own pace", "that nothing but itself triggers it"),
    }.get(trigger, ("was to get pulses at its input", "that somebody gives them"))
    return (
        f"Camera {camera} {asked} and gave no frame for {silent_s:.3g} s, after {exposed}"
        f"{of_wanted} frames of {request.kind}; one was due after {expected_s:.3g} s. Check "
        f"{check}, its cable, the network for lost packets, and that the detector is alive."
    )


def started_twice(camera: str, request: FrameRequest) -> str:
    """Say that a camera was started again without having been prepared anew."""
    return (
        f"Camera {camera} was told to start, and was started for the {request.count or 'endless'} frames of "
        f"{request.kind} before. Yield kickoff once, and prepare the camera again for more frames."
    )


def failure(
    error: BaseException, camera: str, request: FrameRequest, *, recorded: int, published: int
) -> BaseException:
    """Return an error that names the camera, and says what became of the frames in its memory.

    Parameters
    ----------
    error : BaseException
        What went wrong; one of ours names all that itself.
    camera : str
        Name of the camera.
    request : FrameRequest
        What it was asked for.
    recorded, published : int
        Frames that are or were in the camera's own memory, and those read out.
    """
    found = error
    if not isinstance(error, ConcertinoError):
        found = CameraError(
            f"Camera {camera} failed after {published} frames of "
            f"{request.kind}: {type(error).__name__}: {error}"
        )
        found.__cause__ = error
    if not recorded or not isinstance(found, CameraError):
        return found
    told = CameraError(
        f"{found} Of {request.count} frames of {request.kind}, {recorded} were "
        f"recorded into its memory and {published} read out; the others are lost. Take them again."
    )
    told.__cause__ = found
    return told
