"""What plans need of devices; any device that has it will do."""

from typing import Any, Protocol, runtime_checkable

from bluesky.protocols import Movable, Readable

from concertino.frames import PulseTrain


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
    ledger : Collectable and Stageable
        Gives the ledgers of its streams that ended since it was staged or collected.

    Notes
    -----
    Two methods, which may be awaitable, are optional: ``exposures(since)`` gives the numbers of the present
    stream's frames, from 0, and the middles of their exposures in ns; ``clock()`` what the clock of these
    times shows now, in s, when it is not the computer's. With them each projection gets its angle.

    So are three properties of the present stream: ``num_exposed``, its frames that are exposed; ``exposed``, whether
    all are, so that the beam can go off before they are safe; and ``ended_early``, whether ``stop`` ended it
    before, without which a scan whose camera somebody else stops may pass for a whole one.

    Settings that a plan sets before its frames count in its preflight with ``settings``, their signals by name, and
    two methods that tell what would be with values of some of them: ``frames_if(values)`` returns ``frame_shape``,
    ``frame_bytes``, ``pixel_size_um`` and ``ring_bytes``, and ``check_request_if(request, values)``, which may be
    awaitable, raises if the request could not be taken.
    """

    frame_rate: Any
    start_time: Any
    ledger: Any

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
class ClaimedCamera(Protocol):
    """A camera that tells who has said to store the frames of its present stream.

    One that stores its frames by itself says so by ``stores_frames = True``.
    """

    def stored_by(self) -> Any:
        """Return the names, or what they can be awaited from."""
        ...


@runtime_checkable
class PositionEncoder(Protocol):
    """Records where an axis is while it moves: what a motor may have as its ``encoder``.

    The methods may answer at once or be awaitable. An attribute ``resolution``, in the axis' unit, adds to the
    stated uncertainty.
    """

    def clock(self) -> Any:
        """Return what the encoder's clock shows now, in s; any clock that goes on steadily."""
        ...

    def start_recording(self) -> Any:
        """Forget what was recorded and begin anew."""
        ...

    def stop_recording(self) -> Any:
        """Record no more; harmless when nothing is recorded."""
        ...

    def recorded(self, since: int = 0) -> Any:
        """Return times in s by its clock and positions in the axis' unit, from reading `since` on."""
        ...


@runtime_checkable
class TriggerDevice(Protocol):
    """A box whose pulses start exposures, such as a PandA: armed with positions, times or one by one.

    Attributes
    ----------
    name : str
        Of the device.
    axes : collection of str
        Names of the axes whose positions it can compare; others are given pulses at times.

    Notes
    -----
    A method ``captured(since)``, which may be awaitable, is optional: the positions that the box noted at its pulses,
    in the axis' unit. An attribute ``resolution`` is their uncertainty. So is a method ``check_train(value)``, which
    may be awaitable: it raises if the box cannot give some pulses, and is asked before anything moves.
    """

    axes: Any

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    def prepare(self, value: PulseTrain) -> Any:
        """Arm; the status is done when the box can give the pulses."""
        ...

    def set(self, value: bool) -> Any:
        """Give pulses from now on (True) or no more (False); the status is done when that holds."""
        ...

    def trigger(self) -> Any:
        """Give one pulse, if it was armed for pulses one by one."""
        ...

    def stop(self, success: bool = True) -> Any:
        """Give no more pulses; harmless when it gives none."""
        ...


@runtime_checkable
class Beam(Protocol):
    """Anything that can be switched: ``set(True)`` gives beam, ``set(False)`` none.

    Notes
    -----
    It reads as true or false, as one of named states, or as text. A device that does not has an attribute
    ``is_beam = True``, so that no motor passes for a beam.

    An attribute ``source_kind`` is optional: ``"tube"`` if it switches the cone of an X-ray tube, of which a
    stepped tomography covers a full turn when it is not told otherwise.

    After each switch it is read: true and false, and the words open, on, closed, close and off, must tell what it
    was switched to, or the run fails. One that means something else by these has a method ``state_of(value)``,
    which returns whether there is beam when it reads so, or None when that does not tell.
    """

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
