"""A device kind: values with names and units, made from any signals."""

from collections.abc import Mapping
from typing import Any, ClassVar

from bluesky.protocols import Readable

from concertino import DeviceError, ParameterError
from concertino.documents import check_device_name

from ._value import Source, Value


class DeviceKind(Readable[Any]):
    """A device that is a few values, each read from any signal, in the unit of the kind.

    A kind of one's own is a subclass with the units of its `VALUES`, and `optics` if a reconstruction needs them.

    Parameters
    ----------
    values : mapping of str to source
        Signals and motors of ophyd or ophyd-async (EPICS, Tango, soft), or quantities that do not change, by
        what they are; None for what there is not.
    name : str
        Name of the device; by default that of its kind.
    camera : str
        Name of the only camera that it belongs to; empty for all.
    units : mapping of str to str, optional
        Units of sources that do not state theirs, as many Tango attributes do not.

    Attributes
    ----------
    VALUES : mapping of str to str or None
        What such devices may tell, and in which unit; None for text.
    KIND : str
        Name of the kind.

    Raises
    ------
    ParameterError
        If it has no value, or one that the kind does not know.
    """

    VALUES: ClassVar[Mapping[str, str | None]] = {}
    KIND: ClassVar[str] = ""

    parent: Any = None

    def __init__(
        self,
        values: Mapping[str, Source | None],
        *,
        name: str = "",
        camera: str = "",
        units: Mapping[str, str] | None = None,
    ) -> None:
        self._name, self.camera = name or self.KIND, camera
        check_device_name(self._name, "name")
        stated = dict(units or {})
        given = {what: source for what, source in values.items() if source is not None}
        unknown = [what for what in (*given, *stated) if what not in self._known()]
        if unknown or not given:
            raise ParameterError(
                f"{self._name}: {', '.join(unknown) or 'nothing'} was given, and a {self.KIND.replace('_', ' ')} tells "
                f"{', '.join(self._known())}. Give signals or quantities for some of these."
            )
        self.values = {
            what: Value(f"{self._name}-{what}", source, self._known()[what], stated.get(what, ""))
            for what, source in given.items()
        }

    def _known(self) -> Mapping[str, str | None]:
        return self.VALUES

    @property
    def name(self) -> str:
        """Name of the device."""
        return self._name

    @property
    def hints(self) -> Any:
        """The values that are numbers."""
        return {"fields": [each.name for each in self.values.values() if each.unit is not None]}

    def __getitem__(self, what: str) -> Value:
        """Return one of the values, which can be read by itself, such as for each frame.

        Raises
        ------
        DeviceError
            If the device does not tell it.
        """
        if what not in self.values:
            raise DeviceError(
                f"{self.name} was asked for {what}; it tells {', '.join(self.values)}. Ask for one of these."
            )
        return self.values[what]

    async def describe(self) -> dict[str, Any]:
        """Describe the values, with set points and limits."""
        found: dict[str, Any] = {}
        for value in self.values.values():
            found |= await value.describe_with_bounds()
        return found

    async def read(self) -> dict[str, Any]:
        """Read the values, with set points and limits."""
        found: dict[str, Any] = {}
        for value in self.values.values():
            found |= await value.read_with_bounds()
        return found

    async def get(self, what: str) -> float | None:
        """Return the present number of a value, in the unit of the kind; None if it is not told."""
        return float(await self.values[what].present()) if what in self.values else None

    async def optics(self, camera: str) -> Mapping[str, float]:
        """Return what a reconstruction of a camera's images needs of it.

        Parameters
        ----------
        camera : str
            Name of the camera.

        Returns
        -------
        mapping of str to float
            Any of ``energy_kev``, ``magnification``, ``propagation_distance_mm`` and ``source_distance_mm``.
        """
        return {} if self.camera not in ("", camera) else await self._optics()

    async def _optics(self) -> dict[str, float]:
        return {}


_INSTRUMENTS: Mapping[str, Mapping[str, str | None]] = {
    "attenuator": {"transmission": "", "thickness": "um", "material": None, "position": None},
    "insertion_device": {"gap": "mm", "phase": "mm", "taper": "mm", "harmonic": "", "energy": "keV"},
    "storage_ring": {"current": "mA", "energy": "GeV", "lifetime": "hour", "mode": None},
    "photodiode": {"current": "uA", "voltage": "V", "counts": "", "flux": "1/s"},
    "photon_shutter": {"state": None},
    "sample_changer": {"position": None, "sample": None},
    "element_selector": {"element": None, "position": "mm"},
    "pump": {"flow": "ml/min", "volume": "ml", "pressure": "bar"},
    "scales": {"mass": "g"},
    "environment": {
        "temperature": "kelvin", "strain": "", "displacement": "mm", "force": "newton", "pressure": "bar",
        "humidity": "percent",
    },
}  # fmt: skip


class Instrument(DeviceKind):
    """A device of a kind whose values stand in the run, in the baseline or for each frame.

    Parameters
    ----------
    kind : {"attenuator", "element_selector", "environment", "insertion_device", "photodiode", \
            "photon_shutter", "pump", "sample_changer", "scales", "storage_ring"}
        What it is: this tells which values it may have, and their units.
    name, camera, units
        As for `DeviceKind`.
    **values : Readable or quantity
        What it tells.

    Raises
    ------
    ParameterError
        If the kind, or a value, is unknown.

    Examples
    --------
    >>> from ophyd_async.core import soft_signal_rw
    >>> from concertino.devices import Instrument
    >>> ring = Instrument("storage_ring", current=soft_signal_rw(float, 102.0, units="mA", name="current"),
    ...                   energy="6 GeV")
    >>> ring["current"].name
    'storage_ring-current'
    """

    def __init__(
        self,
        kind: str,
        /,
        *,
        name: str = "",
        camera: str = "",
        units: Mapping[str, str] | None = None,
        **values: Source | None,
    ) -> None:
        if kind not in _INSTRUMENTS:
            raise ParameterError(
                f"kind: {kind!r} was given; give one of {', '.join(sorted(_INSTRUMENTS))}, or derive a class from "
                "DeviceKind."
            )
        self.kind = kind
        super().__init__(values, name=name or kind, camera=camera, units=units)

    def _known(self) -> Mapping[str, str | None]:
        return _INSTRUMENTS[self.kind]
