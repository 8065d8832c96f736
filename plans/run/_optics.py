"""Energy, pixel size and distances of a scan: told by devices, by the plan and by its metadata, and all must agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

from bluesky import Msg
from bluesky.protocols import HasName
from bluesky.utils import MsgGenerator, maybe_await

from concertino import DeviceError, ParameterError
from concertino.plans._asides import Aside, heard, said
from concertino.plans.core._awaited import names_of
from concertino.plans.core._device_queries import query
from concertino.plans.core._passed_on import passed_on
from concertino.units import convert

#: What is told: how it is called, its unit, and how far two may be from one another, as a part of it.
_VALUES: Mapping[str, tuple[str, str, float]] = {
    "energy_kev": ("energy", "keV", 1e-3),
    "magnification": ("magnification", "", 1e-3),
    "pixel_size_um": ("pixel_size", "um", 1e-2),
    "propagation_distance_mm": ("propagation_distance", "mm", 1e-2),
    "source_distance_mm": ("source_distance", "mm", 1e-2),
}
#: Energies of X-ray imaging, in keV: others are in another unit than they say.
_ENERGIES_KEV = (0.1, 1000.0)
#: Planck's constant times the speed of light, in keV and angstrom (CODATA 2018).
_HC_KEV_ANGSTROM = 12.398419843320026


@runtime_checkable
class TellsOptics(Protocol):
    """A device that knows something of what a reconstruction needs, such as a monochromator."""

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    def optics(self, camera: str) -> Any:
        """Return it, or what it can be awaited from, for the images of a camera.

        A mapping with any of ``energy_kev``, ``magnification`` (of lenses), ``pixel_size_um`` (in the plane of the
        sample), ``propagation_distance_mm`` and ``source_distance_mm``.
        """
        ...


@dataclass(frozen=True)
class Optics:
    """Who tells the energy, the pixel size and the distances of scans.

    Parameters
    ----------
    devices : tuple of TellsOptics
        The devices.
    metadata : callable, optional
        Returns the metadata that all runs have.
    """

    devices: tuple[Any, ...] = ()
    metadata: Callable[[], Mapping[str, Any]] = field(default=dict)


class WhichOptics(Aside[Optics]):
    """Asked before a scan runs."""


class Told(NamedTuple):
    """A value, and who tells it."""

    value: float
    who: str


def with_optics(
    plan: MsgGenerator[Any],
    *devices: TellsOptics,
    metadata: Callable[[], Mapping[str, Any]] = dict,
) -> MsgGenerator[Any]:
    """Have the scans in a plan know their energy, pixel size and distances from devices.

    They are read before anything moves, and stand in the ``tomo`` block of each run. ``session.optics.add`` does so
    for all plans of a session.

    Parameters
    ----------
    plan : generator of messages
        An imaging plan, or one that has some in it.
    *devices : TellsOptics
        Such as ``Monochromator(energy=…)``, ``LensChanger(magnification=…)``, ``DetectorStage(distance=…)`` of
        `concertino.devices`, of signals or of quantities that do not change.
    metadata : callable
        Returns the metadata that a RunEngine gives to all runs, which must tell the same.

    Raises
    ------
    ParameterError
        If one tells nothing of this kind.

    Examples
    --------
    >>> from concertino.devices import DetectorStage, Monochromator, SimulatedBeamline
    >>> from concertino.plans import radiography, with_optics
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = with_optics(
    ...     radiography(b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=10),
    ...     Monochromator(energy="20 keV"), DetectorStage(distance="12 cm"))
    """
    for device in devices:
        check_optics(device)
    optics = Optics(devices, metadata)

    def told(message: Msg) -> MsgGenerator[Optics]:
        known: Optics | None = yield message
        if known is None:
            return optics
        both = dict.fromkeys((*known.devices, *optics.devices))  # each once
        return Optics(tuple(both), lambda: {**known.metadata(), **optics.metadata()})

    def do(message: Msg) -> MsgGenerator[Optics] | None:
        return told(message) if heard(message, WhichOptics) else None

    return passed_on(plan, do)


def check_optics(device: object) -> None:
    """Refuse what tells nothing that a reconstruction needs.

    Raises
    ------
    ParameterError
        If it does not.
    """
    if not isinstance(device, TellsOptics) or isinstance(device, type):
        raise ParameterError(
            f"optics: {device!r} tells neither energy nor magnification nor distance. Give devices such as "
            "Monochromator(energy=signal) of concertino.devices."
        )


def optics_fields(
    cameras: Sequence[HasName],
    detector_pixels_um: Sequence[float],
    planned: Mapping[str, Any],
    md: Mapping[str, Any],
) -> MsgGenerator[list[dict[str, float]]]:
    """Return what the ``tomo`` block says of each camera's optics.

    The pixel in the plane of the sample is that which the camera tells, unless lenses or the distance of the source
    are told: then the camera tells that of its detector, as it is binned, which is divided by the magnification of
    the lenses and by that of the beam, ``(source distance + propagation distance) / source distance``.

    Parameters
    ----------
    cameras : sequence of device
        The cameras.
    detector_pixels_um : sequence of float
        What each tells as its pixel, in um; 0 when it does not.
    planned : mapping
        What the plan tells, by fields of the `TomoBlock`.
    md : mapping
        The metadata of the run.

    Returns
    -------
    list of dict
        Of each camera, fields of the `TomoBlock` that are known.

    Raises
    ------
    ParameterError
        If a value is told differently, with all that tell it; or a device does not answer.
    DeviceError
        If a device says that it cannot be right.
    """
    optics = (yield from said(WhichOptics())) or Optics()
    everywhere: dict[str, list[Told]] = {name: [] for name in _VALUES}
    for name, value in planned.items():
        if name in _VALUES and value is not None:
            everywhere[name].append(Told(float(value), "the plan"))
    for name, told in _of_metadata({**optics.metadata(), **md}):
        everywhere[name].append(told)
    found = []
    for camera, pixel_um in zip(cameras, detector_pixels_um, strict=True):
        ask = partial(_asked, optics.devices, camera.name)
        told_by_devices = yield from query(
            ask, f"{names_of(optics.devices)} were asked for energy, magnification and distances"
        )
        claims = {name: [*told_by_devices.get(name, ()), *everywhere[name]] for name in _VALUES}
        found.append(_agreed(claims, pixel_um, camera.name))
    return found


def same_optics(name: str, one: object, other: object) -> bool:
    """Whether two numbers of a field of the `TomoBlock` tell the same, if it is one of optics; else False."""
    if not (isinstance(one, int | float) and isinstance(other, int | float)):
        return False
    return name in _VALUES and bool(
        abs(one - other) <= _VALUES[name][2] * max(abs(one), abs(other))
    )


async def _asked(devices: Sequence[Any], camera: str) -> dict[str, list[Told]]:
    found: dict[str, list[Told]] = {}
    for device in devices:
        try:
            told = await maybe_await(device.optics(camera))
        except DeviceError:
            raise
        except Exception as error:
            raise ParameterError(
                f"optics: {device.name} was asked for energy, magnification and distances, and did not answer: "
                f"{type(error).__name__}: {error}. See whether it is connected."
            ) from error
        for name, value in told.items():
            if name not in _VALUES:
                raise ParameterError(
                    f"optics: {device.name} tells {name!r}, which no scan knows. Have it tell some of {', '.join(_VALUES)}."
                )
            found.setdefault(name, []).append(Told(float(value), device.name))
    return found


def _of_metadata(md: Mapping[str, Any]) -> list[tuple[str, Told]]:
    """Return what metadata tell: under the names of the values, with a unit or in that of the name."""
    found = []
    for name, (parameter, unit, _) in _VALUES.items():
        for key in dict.fromkeys((name, parameter)):
            if md.get(key) is not None:
                value = convert(md[key], unit, parameter=f"md: {key}", positive=True)
                found.append((name, Told(value, f"the metadata {key!r}")))
    if md.get("wavelength") is not None:
        wavelength = convert(
            md["wavelength"], "angstrom", parameter="md: wavelength", positive=True
        )
        value = _HC_KEV_ANGSTROM / wavelength
        found.append(("energy_kev", Told(value, "the metadata 'wavelength'")))
    return found


def _agreed(
    claims: Mapping[str, Sequence[Told]], camera_pixel_um: float, camera: str
) -> dict[str, float]:
    """Return each value, by the first who tells it; refuse what is told differently."""
    found = {
        name: _one(name, told) for name, told in claims.items() if told and name != "pixel_size_um"
    }
    pixels = list(claims["pixel_size_um"])
    if camera_pixel_um:
        lens = found.get("magnification", 1.0)
        source, distance = found.get("source_distance_mm"), found.get("propagation_distance_mm")
        beam = 1.0 if source is None or distance is None else (source + distance) / source
        told_by = camera
        if lens * beam != 1.0:
            told_by = f"{camera} with {camera_pixel_um:g} um, magnified {lens * beam:.6g} times"
        pixels.insert(0, Told(camera_pixel_um / (lens * beam), told_by))
    if pixels:
        found["pixel_size_um"] = _one("pixel_size_um", pixels)
    found.pop("magnification", None)
    return found


def _one(name: str, told: Sequence[Told]) -> float:
    parameter, unit, tolerance = _VALUES[name]
    values = [each.value for each in told]
    if min(values) < 0 or (min(values) == 0 and name != "propagation_distance_mm"):
        lowest = min(told, key=lambda each: each.value)
        raise ParameterError(
            f"{parameter}: {lowest.who} tells {lowest.value:g} {unit}. Give more than 0{f' {unit}' if unit else ''}."
        )
    if name == "energy_kev":
        low, high = _ENERGIES_KEV
        for each in told:
            if not low <= each.value <= high:
                raise ParameterError(
                    f"energy: {each.who} tells {each.value:g} keV, which is no energy of X-ray imaging. Give it with "
                    "its unit, such as '20 keV'; of a signal with units={'energy': 'eV'}."
                )
    if max(values) - min(values) > tolerance * max(values):
        shown = ", ".join(f"{each.who} tells {each.value:.6g} {unit}".rstrip() for each in told)
        raise ParameterError(
            f"{parameter}: {shown}. These differ, and nothing has moved. Correct the one that is wrong, or leave it out."
        )
    return told[0].value
