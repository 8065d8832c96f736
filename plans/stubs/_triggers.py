"""Who starts the exposures: the camera itself, the plan, or pulses at the camera's input."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.protocols import HasName
from bluesky.utils import MsgGenerator, maybe_await
from numpy.typing import NDArray

from concertino import ParameterError
from concertino._clocks import HostTimes
from concertino.frames import PulseTrain
from concertino.plans.core._cameras import camera_set
from concertino.plans.core._offers import ChecksTrain, HasExposure, HasResolution, NotesPositions
from concertino.plans.core._parameters import check_accepted, read_number
from concertino.plans.core._protocols import TriggerDevice
from concertino.plans.safety._safety import Cleanup, motor_off

from ._projection_angles import SweepAngles


@dataclass(frozen=True)
class SweepTrigger:
    """Who starts the exposures of a sweep.

    Parameters
    ----------
    request : {"internal", "edge"}
        What the camera is prepared for.
    device : TriggerDevice, optional
        What gives the pulses; without it somebody else does, or the camera needs none.
    train : PulseTrain, optional
        What it is armed with.
    exposure_s : float
        In s; a pulse comes half of it before the angle.
    """

    request: Literal["internal", "edge"] = "internal"
    device: TriggerDevice | None = None
    train: PulseTrain | None = None
    exposure_s: float = 0.0

    @property
    def by_position(self) -> bool:
        """Whether positions start the exposures."""
        return self.train is not None and bool(self.train.positions)

    def part(self, first: int, count: int) -> "SweepTrigger":
        """Return the same for some of the frames."""
        if self.train is None:
            return self
        positions = self.train.positions[first : first + count]
        return replace(self, train=replace(self.train, count=count, positions=positions))

    def way(self, velocity: float) -> tuple[float, float]:
        """Return where the first frame is due, and the time of all, in s, at a velocity."""
        assert self.train is not None
        positions = self.train.positions
        early = velocity * self.exposure_s / 2
        frames_s = abs((positions[-1] - positions[0]) / velocity) + self.exposure_s
        return positions[0] + early, frames_s

    def arm(self) -> MsgGenerator[None]:
        """Arm the device, if there is one."""
        if self.device is not None:
            yield from bps.prepare(self.device, self.train, wait=True)

    def start(self) -> MsgGenerator[None]:
        """Have the device give pulses from now on."""
        if self.device is not None:
            # Set, not kicked off: what was set the RunEngine stops even on a halt.
            yield from bps.abs_set(self.device, True, wait=True)

    def restore(self) -> list[Cleanup]:
        """Return what has the device give no more pulses."""
        return [] if self.device is None else [lambda: motor_off(self.device)]


#: The camera starts each exposure itself, at its frame rate.
CAMERA_PACE = SweepTrigger()


class PulseAngles(SweepAngles):
    """The angles of projections whose exposures pulses started at known positions.

    Parameters
    ----------
    trigger : SweepTrigger
        By position.
    camera, axis, velocity, per_degree, first
        As for `SweepAngles`.
    """

    source = "encoder"

    def __init__(self, trigger: SweepTrigger, *sweep: Any, **more: Any) -> None:
        super().__init__(*sweep, **more)
        self.encoder = None
        self._trigger = trigger
        self._where: NDArray[np.float64] | None = None
        self._noted = 0

    def of_piece(self, first: int, trigger: Any = None) -> "PulseAngles":
        """Return what collects the angles of another sweep of the axis, from a projection on."""
        return PulseAngles(
            trigger or self._trigger,
            self._camera,
            self._axis,
            self._velocity,
            self._per_degree,
            first,
        )

    async def started(self, anchor: Any = None) -> None:
        """Do nothing: the box notes where the axis is."""

    async def _learn(self) -> None:
        train = self._trigger.train
        assert train is not None
        if self._where is None:
            self._where = np.array(train.positions, np.float64)
        box = self._trigger.device
        if isinstance(box, NotesPositions):
            noted = np.asarray(await maybe_await(box.captured(self._noted)), np.float64)
            noted = noted[: len(self._where) - self._noted]
            self._where[self._noted : self._noted + len(noted)] = noted
            self._noted += len(noted)

    def _at(
        self,
        numbers: NDArray[np.int64],
        host: HostTimes,
        spread_s: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        assert self._where is not None
        box = self._trigger.device
        resolution = float(box.resolution) if isinstance(box, HasResolution) else 0.0
        half = self._velocity * self._trigger.exposure_s / 2
        spread = np.full(len(numbers), np.hypot(resolution / np.sqrt(12), 0.002 * half))
        return self._where[np.clip(numbers, 0, len(self._where) - 1)] + half, spread


#: Who starts an exposure: the plan or the camera, pulses that somebody gives, or those of a device.
StartedBy = Literal["software", "edge", "device"]
#: What plans take as their ``trigger``.
TriggerLike: TypeAlias = Literal["software", "edge"] | TriggerDevice


def check_trigger(trigger: object) -> Literal["software", "edge"] | TriggerDevice:
    """Return who shall start the exposures.

    Raises
    ------
    ParameterError
        If it is nobody who could.
    """
    if isinstance(trigger, str) and trigger in ("software", "edge"):
        return trigger  # type: ignore[return-value]
    if not isinstance(trigger, str) and isinstance(trigger, TriggerDevice):
        return trigger
    raise ParameterError(
        f"trigger: {trigger!r} was given; give 'software', 'edge' for pulses that somebody gives to the "
        "camera's input, or a device that gives them: one with axes, prepare, set, trigger and stop."
    )


def who_starts(trigger: object) -> tuple[StartedBy, TriggerDevice | None]:
    """Return who starts the exposures, as a value, and the device that does, if one does.

    Raises
    ------
    ParameterError
        If it is nobody who could.
    """
    who = check_trigger(trigger)
    return (who, None) if isinstance(who, str) else ("device", who)


def trigger_device(who: StartedBy, device: object) -> TriggerDevice | None:
    """Return the device that starts the exposures, if one does.

    Raises
    ------
    ParameterError
        If it is none that could.
    """
    if who != "device":
        return None
    found = check_trigger(device)
    if isinstance(found, str):
        raise ParameterError(
            f"trigger: {found!r} was given, and the acquisition says that a device starts its exposures. Give "
            f"that device, or the acquisition trigger={found!r}."
        )
    return found


def recorded_trigger(who: StartedBy, device: Any) -> str:
    """Return what ``plan_args`` have: who starts the exposures, or the name of the device."""
    return str(device.name) if who == "device" else who


def sweep_trigger(
    trigger: Any,
    camera: Any,
    axis: Any,
    positions: Sequence[float],
    velocity: float,
    rate_hz: float,
) -> MsgGenerator[SweepTrigger]:
    """Return who starts the exposures of a sweep.

    Parameters
    ----------
    trigger : str or TriggerDevice
        As the plans take it.
    camera, axis : device
        Takes the frames; moves.
    positions : sequence of float
        Of the axis in the middle of each exposure, in its unit.
    velocity : float
        Of the axis, with its sign.
    rate_hz : float
        Frames per second.

    Raises
    ------
    ParameterError
        If it is nobody who could, or the camera exposes for too long.
    """
    who = check_trigger(trigger)
    if who == "software":
        return SweepTrigger()
    camera = camera_set(camera).first
    exposure = camera.exposure if isinstance(camera, HasExposure) else None
    exposure_s = 0.0 if exposure is None else (yield from read_number(exposure))
    if exposure_s * rate_hz > 1 + 1e-9:
        raise ParameterError(
            f"trigger: pulses would come {rate_hz:g} times a second, and {camera.name} exposes for "
            f"{exposure_s:g} s: it would miss some. Lower its frame rate, for which the pulses are meant, "
            "or its exposure."
        )
    if isinstance(who, str):
        return SweepTrigger("edge", exposure_s=exposure_s)
    if axis.name in who.axes:
        early = tuple(position - velocity * exposure_s / 2 for position in positions)
        train = PulseTrain(len(positions), axis.name, early)
    else:
        train = PulseTrain(len(positions), period_s=1 / rate_hz)
    yield from check_train(who, train)
    return SweepTrigger("edge", who, train, exposure_s)


def check_train(device: HasName, train: PulseTrain) -> MsgGenerator[None]:
    """Ask a trigger device whether it can give some pulses, if it can say.

    Raises
    ------
    ParameterError
        If it cannot.
    """
    if isinstance(device, ChecksTrain):
        yield from check_accepted(device, lambda: device.check_train(train), "trigger")
