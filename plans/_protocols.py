"""What plans need of devices; any device that has it will do."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Movable, Readable


@runtime_checkable
class FrameCamera(Protocol):
    """A camera that publishes a frame stream for each request.

    Attributes
    ----------
    name : str
        Also the data key of its frames.
    frame_shape : tuple of int
        Shape (height, width) of a frame in pixels.
    frame_bytes : int
        Size of a frame in bytes.
    frame_rate : Readable
        In Hz.
    start_time : Readable
        When the first exposure of the stream began, in seconds since the epoch.
    account : Collectable and Stageable
        Gives the ledgers of its streams that ended since it was staged or collected.
    """

    frame_rate: Any
    start_time: Any
    account: Any

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Shape (height, width) of a frame in pixels."""
        ...

    @property
    def frame_bytes(self) -> int:
        """Size of a frame in bytes."""
        ...


@runtime_checkable
class Beam(Protocol):
    """Anything that can be switched: ``set(True)`` gives beam, ``set(False)`` none."""

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    def set(self, value: bool) -> Any:
        """Switch the beam on (True) or off (False)."""
        ...


class Stage(Movable[float], Readable[Any], Protocol):
    """A motor, in mm or deg."""


@runtime_checkable
class Rotation(Protocol):
    """A rotation stage in deg.

    Attributes
    ----------
    velocity : Movable
        In deg/s.
    """

    velocity: Any

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    def set(self, value: float) -> Any:
        """Move to an angle in deg."""
        ...
