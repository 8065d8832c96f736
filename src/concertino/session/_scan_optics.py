"""Who tells the scans of a session their energy, pixel size and distances."""

from collections.abc import Callable, Mapping
from typing import Any

from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator

from concertino.plans import TellsOptics, check_optics, with_optics

from ._arguments import check_readable


class ScanOptics:
    """Has all scans of a session know their energy, pixel size and distances: ``session.optics``.

    What devices, the plan and the metadata of a run or of the session tell differently is refused before anything
    moves.

    Parameters
    ----------
    add_baseline : callable
        Takes devices that join the baseline.
    metadata : callable
        Returns the metadata of all runs.
    """

    def __init__(
        self, add_baseline: Callable[..., None], metadata: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._add_baseline, self._metadata = add_baseline, metadata
        self.devices: tuple[TellsOptics, ...] = ()

    def add(self, *devices: TellsOptics) -> None:
        """Have devices tell it, which also join the baseline, with their set points and limits.

        Parameters
        ----------
        *devices : TellsOptics
            Such as ``Monochromator(energy=signal)``, ``LensChanger(magnification=10)`` and
            ``DetectorStage(distance=motor)`` of `concertino.devices`.

        Raises
        ------
        ParameterError
            If one tells nothing of this kind.
        """
        for device in devices:
            check_optics(device)
            check_readable(device)
        for device in devices:
            if device not in self.devices:
                self.devices += (device,)
                if isinstance(device, Readable):
                    self._add_baseline(device)

    def remove(self, *devices: TellsOptics) -> None:
        """Have devices tell it no more; they stay in the baseline."""
        self.devices = tuple(device for device in self.devices if device not in devices)

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Pass a plan's messages on; scans in it are told."""
        return with_optics(plan, *self.devices, metadata=self._metadata)
