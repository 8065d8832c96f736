"""How the devices of a scan are set, and whether that is as it was when it began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bluesky.protocols import HasName
from bluesky.utils import MsgGenerator, maybe_await

from concertino import SessionError
from concertino.plans.core._device_queries import AboutTheRun, outcome
from concertino.plans.core._offers import ReadsConfiguration, ReadsSettings


class Settings:
    """What the camera and the axes of a scan were set to, from a moment on.

    Parameters
    ----------
    camera : FrameCamera
        Its configuration and the shape of its frames.
    axes : sequence of device
        Their configuration, but for velocities and accelerations, which the plan sets itself.
    """

    def __init__(self, camera: Any, axes: Sequence[Any]) -> None:
        self._camera, self._axes = camera, axes
        self._before: Mapping[str, Any] = {}
        #: Whether only people change them. What another camera is configured to may follow from each request.
        self.lasting = isinstance(camera, ReadsSettings)

    def note(self) -> MsgGenerator[None]:
        """Remember how all is set now; the first time, if that is to last."""
        if not (self.lasting and self._before):
            self._before = (yield from self._asked()) or {}  # Nobody answers who only looks.

    def differences(self) -> MsgGenerator[str]:
        """Return why the scan cannot go on; nothing if all is as it was."""
        now = yield from self._asked()
        return "" if now is None else self._said(now)

    async def check(self) -> None:
        """Raise if something is set otherwise.

        Raises
        ------
        SessionError
            With all that was and is.
        """
        if said := self._said(await self._read()):
            raise SessionError(f"The scan stays paused: {said}")

    def _said(self, now: Mapping[str, Any]) -> str:
        before = self._before
        wrong = [
            f"{name} was {shown(before.get(name))} and is {shown(now.get(name))}"
            for name in dict.fromkeys([*before, *now])
            if not alike(before.get(name), now.get(name))
        ]
        if not wrong:
            return ""
        return (
            f"{'; '.join(wrong)}. The frames of a run are taken with one setting: set it back and resume, "
            "or end the run with RE.abort() and take a new one."
        )

    def _asked(self) -> MsgGenerator[Any]:
        return (
            yield from outcome(
                AboutTheRun(self._read, f"{self._camera.name} was asked for its settings")
            )
        )

    async def _read(self) -> dict[str, Any]:
        camera = self._camera
        found: dict[str, Any] = {}
        # What a camera was asked for last, such as the address of its stream, is no setting.
        read = camera.read_settings if isinstance(camera, ReadsSettings) else None
        for device, question in [(camera, read), *((axis, None) for axis in self._axes)]:
            if question is None:
                if not isinstance(device, ReadsConfiguration):
                    continue
                question = device.read_configuration
            readings = await maybe_await(question())
            passing = _passing(device)
            found |= {n: plain(r["value"]) for n, r in readings.items() if n not in passing}
        found[f"the shape of {camera.name}'s frames"] = list(camera.frame_shape)
        return found


def _passing(device: Any) -> set[str]:
    """Return the names of a device's signals that change from stream to stream, or by the plan."""
    signals = (
        getattr(device, part, None)
        for part in (
            "frames", "preview", "first_number", "start_time", "velocity", "acceleration",
            "acceleration_time",
        )
    )  # fmt: skip
    return {signal.name for signal in signals if isinstance(signal, HasName)}


def plain(value: object) -> object:
    """Return a setting without numpy's types."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def alike(one: Any, other: Any, absolute: float = 0.0) -> bool:
    """Whether two settings are the same, numbers but for rounding."""
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    if numbers and not (isinstance(one, bool) or isinstance(other, bool)):
        return bool(abs(one - other) <= max(absolute, 1e-9 * max(abs(one), abs(other))))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def shown(value: object) -> str:
    """Return a setting as it is told to people."""
    if isinstance(value, Mapping) and set(value) == {"value", "unit"}:
        return f"{value['value']:g} {value['unit']}".strip()
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"{list(value[:3])}, … ({len(value)})"
    return f"{value:g}" if isinstance(value, float) else f"{value}"
