"""A beamline as its file says: connected devices, a session, and plans that know them."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import bluesky.preprocessors as bpp
from ophyd_async.core import Device

from concertino import DeviceError, ParameterTypeError
from concertino.callbacks import LiveView, OnlineReconstruction
from concertino.devices import SuspenderSignal
from concertino.session import Session, open_session

from ._arguments import resolved
from ._bound_plans import BoundPlan, bound_plans
from ._callbacks import callbacks_of
from ._classes import find_class
from ._devices import Devices, connect_devices, made, make_devices, timeouts
from ._engine import process_engine
from ._metadata import checked_metadata
from ._read import BeamlineFile, read_beamline
from ._roles import LISTS, PLANS


class Beamline(AbstractContextManager["Beamline"]):
    """A beamline as its file says. Made by `open_beamline`.

    Attributes
    ----------
    session : Session
        Open, with the callbacks of the file.
    devices : mapping of str to device
        By name.
    roles : mapping of str to device
        By the parts that they play in plans; several cameras are a list.
    plans : mapping of str to callable
        Plans that need no device and no parameter that the file has.
    reconstruction : OnlineReconstruction or None
        That of the file, if it asks for one.
    live_view : LiveView or None
        Likewise; ``live_view.url`` is its page.
    path : Path
        The file.
    """

    def __init__(
        self, file: BeamlineFile, devices: Devices, session: Session, closing: ExitStack
    ) -> None:
        settings = file.settings
        self.path, self.session = file.path, session
        self._found = devices
        self.devices: Mapping[str, Any] = devices.found
        self.roles: Mapping[str, Any] = {
            role: devices[names[0]] if len(names) == 1 else [devices[name] for name in names]
            for role, names in settings.roles.items()
        }
        defaults = _defaults(settings.defaults, devices)
        self.plans: Mapping[str, BoundPlan] = bound_plans(self.roles, defaults, session.directory)
        for device in devices.found.values():
            with suppress(ParameterTypeError):  # It can neither be read nor moved.
                session.add_devices(device)
        session.add_baseline(*(devices[name] for name in settings.baseline))
        if settings.monitored:
            signals = [devices[name] for name in settings.monitored]
            monitors = partial(bpp.monitor_during_wrapper, signals=signals)
            session.RE.preprocessors.append(monitors)
            closing.callback(session.RE.preprocessors.remove, monitors)
        for one in settings.suspenders:
            signal: Any = devices[one.signal]
            watched = SuspenderSignal(signal) if isinstance(signal, Device) else signal
            maker = find_class(one.class_, "bluesky.suspenders")
            session.wait_before_runs(made(partial(maker, watched), one.arguments, devices))
        self.reconstruction: OnlineReconstruction | None = None
        self.live_view: LiveView | None = None
        for callback in callbacks_of(settings, devices):
            session.subscribe(callback)
            if isinstance(callback, OnlineReconstruction):
                self.reconstruction = callback
            elif isinstance(callback, LiveView):
                self.live_view = callback
        self._closing = closing.pop_all()

    @property
    def RE(self) -> Any:  # noqa: N802
        """The RunEngine."""
        return self.session.RE

    @property
    def names(self) -> dict[str, Any]:
        """What a prompt knows: devices, plans, and what the session offers."""
        session = self.session
        return {
            **self.devices,
            **self.plans,
            "session": session,
            "RE": self.RE,
            "beamline": self,
            "status": session.status,
            "move": session.move,
            "start": session.start,
            "stop_all": session.stop_all,
        }

    def __repr__(self) -> str:
        return f"<Beamline of {self.path}: {', '.join(self.devices)}>"

    def device(self, name: str) -> object:
        """Return a device by its name, or what belongs to one, such as ``"ring.current"``.

        Raises
        ------
        DeviceError
            If there is none.
        """
        return self._found[name]

    def close(self) -> None:
        """Close the session; devices stay connected, in the RunEngine of this process."""
        self._closing.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.__exit__(kind, error, trace)


def open_beamline(
    file: BeamlineFile | str | Path,
    *,
    directory: str | Path | None = None,
    progress: bool = True,
) -> Beamline:
    """Connect the devices of a file, and open a session with its callbacks.

    Parameters
    ----------
    file : BeamlineFile, str or Path
        By `read_beamline`, or where it is.
    directory : str or Path, optional
        Data directory instead of that of the file.
    progress : bool
        Show progress bars.

    Returns
    -------
    Beamline
        To be closed; a context manager.

    Raises
    ------
    DeviceError
        With each device that cannot be had, and why; no session is open then.
    BeamlineFileError
        With all mistakes, if there are any in it.
    ConcertinoError
        As by `concertino.session.open_session`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from concertino.beamline import open_beamline, template
    >>> path = Path(tempfile.mkdtemp(), "beamline.toml")
    >>> _ = path.write_text(template("twin"))
    >>> with open_beamline(path, progress=False) as beamline:
    ...     beamline.roles["beam"].name
    'shutter'
    """
    if not isinstance(file, BeamlineFile):
        file = read_beamline(file)
    engine = process_engine()
    devices = make_devices(file)
    connect_devices(devices, timeouts(file), engine.loop)
    if devices.failed:
        told = "".join(f"\n  {name}: {why}" for name, why in devices.failed.items())
        raise DeviceError(
            f"{len(devices.failed)} of the devices in {file.path} cannot be had. Mend what is said of each; 'concertino "
            f"check-config {file.path} --connect' shows all:{told}"
        )
    settings = file.settings
    for name, level in settings.logging.items():
        logging.getLogger(name).setLevel(level)
    with ExitStack() as closing:
        closing.enter_context(checked_metadata(engine, settings.metadata_model))
        session = open_session(
            file.directory if directory is None else directory,
            progress=progress,
            catalog=settings.data.catalog,
            pattern=settings.data.pattern,
            md=settings.metadata,
            run_engine=engine,
        )
        closing.enter_context(session)
        session.require_storage = True
        return Beamline(file, devices, session, closing)


def _defaults(given: Mapping[str, Any], devices: Devices) -> dict[str, Any]:
    """Return parameters of plans with devices for their names."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key in PLANS:
            found[key] = _defaults(value, devices)
        elif key in LISTS:
            found[key] = [devices[name] for name in value]
        else:
            found[key] = resolved(value, devices.__getitem__)
    return found
