"""What the guard process does over its own connection: connect, look whether it is there, switch off."""

import importlib
import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from typing import Any, Protocol

from concertino._errors import DeviceError
from concertino._extras import extra
from concertino.runtime._quiet_pv_access import quiet_pv_access

from ._switches import CommandSwitch, EpicsSwitch, FunctionSwitch, SwitchOff, TangoSwitch

_ANSWER_S = 1.5
_PROGRAM_S = 10.0


class Action(Protocol):
    """One way to switch a beam off. Each call is bounded in time, and raises when it fails."""

    def connect(self) -> None:
        """Make the connection that `off` uses."""

    def check(self) -> None:
        """Look whether the connection is there."""

    def off(self) -> str:
        """Switch the beam off; return what was found afterwards, or nothing."""


def action_of(switch: SwitchOff) -> Action:
    """Return what carries a description out; nothing is connected yet.

    Raises
    ------
    MissingExtraError
        If a library for it is not installed.
    """
    match switch:
        case EpicsSwitch(pv=pv) if pv.startswith("pva://"):
            return _Pva(pv.removeprefix("pva://"), switch.off)
        case EpicsSwitch(pv=pv):
            return _channel_access()(pv.removeprefix("ca://"), switch.off)
        case TangoSwitch():
            return _Tango(switch)
        case CommandSwitch():
            return _Program(switch)
        case FunctionSwitch():
            return _Function(switch)


def _channel_access() -> Callable[[str, Any], Action]:
    kinds: dict[str, Callable[[str, Any], Action]] = {
        "aioca": _Aioca,
        "epics": _PyEpics,
        "caproto": _Caproto,
    }
    for module, action in kinds.items():
        if importlib.util.find_spec(module) is not None:
            return action
    return _Aioca  # says what to install


class _Aioca:
    def __init__(self, pv: str, off: Any) -> None:
        import asyncio

        with extra("epics", f"The guard of a beam at {pv}"):
            import aioca
        self._pv, self._off, self._ca = pv, off, aioca
        self._loop = asyncio.new_event_loop()

    def connect(self) -> None:
        self._loop.run_until_complete(self._ca.connect(self._pv, timeout=_ANSWER_S))

    def check(self) -> None:
        self._loop.run_until_complete(self._ca.caget(self._pv, timeout=_ANSWER_S))

    def off(self) -> str:
        put = self._ca.caput(self._pv, self._off, wait=True, timeout=_ANSWER_S)
        self._loop.run_until_complete(put)
        return str(self._loop.run_until_complete(self._ca.caget(self._pv, timeout=_ANSWER_S)))


class _PyEpics:
    def __init__(self, pv: str, off: Any) -> None:
        with extra("epics", f"The guard of a beam at {pv}"):
            import epics
        self._name, self._off, self._epics = pv, off, epics
        self._pv: Any = None

    def connect(self) -> None:
        if self._pv is None:
            self._epics.ca.create_context()
            self._pv = self._epics.PV(self._name, auto_monitor=False)
        if not self._pv.wait_for_connection(timeout=_ANSWER_S):
            raise DeviceError(
                f"{self._name} does not answer. Check that its IOC runs, and the name."
            )

    def check(self) -> None:
        if not self._pv.connected:
            raise DeviceError(f"{self._name} is not connected. Check that its IOC runs.")

    def off(self) -> str:
        done = self._pv.put(self._off, wait=True, timeout=_ANSWER_S)
        if done is None or done < 0:
            raise DeviceError(
                f"{self._name} has not taken {self._off!r} within {_ANSWER_S:g} s. Check its IOC."
            )
        return str(self._pv.get(timeout=_ANSWER_S))


class _Caproto:
    def __init__(self, pv: str, off: Any) -> None:
        from caproto.threading.client import Context

        self._name, self._off = pv, off
        (self._pv,) = Context(timeout=_ANSWER_S).get_pvs(pv)

    def connect(self) -> None:
        self._pv.wait_for_connection(timeout=_ANSWER_S)

    def check(self) -> None:
        if not self._pv.connected:
            raise DeviceError(f"{self._name} is not connected. Check that its IOC runs.")

    def off(self) -> str:
        self._pv.write(self._off, wait=True, timeout=_ANSWER_S)
        return str(self._pv.read(timeout=_ANSWER_S).data[0])


class _Pva:
    def __init__(self, pv: str, off: Any) -> None:
        with extra("epics", f"The guard of a beam at pva://{pv}"):
            from p4p.client.thread import Context
        quiet_pv_access()
        self._pv, self._off, self._context = pv, off, Context("pva")

    def connect(self) -> None:
        self.check()

    def check(self) -> None:
        self._context.get(self._pv, timeout=_ANSWER_S)

    def off(self) -> str:
        self._context.put(self._pv, self._off, timeout=_ANSWER_S, wait=True)
        return str(self._context.get(self._pv, timeout=_ANSWER_S))


class _Tango:
    def __init__(self, switch: TangoSwitch) -> None:
        with extra("tango", f"The guard of a beam at {switch.device}"):
            import tango
        self._switch, self._tango = switch, tango
        self._omni = tango.EnsureOmniThread()
        self._omni.__enter__()
        self._proxy: Any = None

    def connect(self) -> None:
        switch = self._switch
        if self._proxy is None:
            proxy = self._tango.DeviceProxy(switch.device)
            proxy.set_timeout_millis(round(_ANSWER_S * 1000))
            # What is not there is found out now, not when it is needed.
            if switch.attribute:
                proxy.get_attribute_config(switch.attribute)
            else:
                proxy.get_command_config(switch.command)
            self._proxy = proxy
        self.check()

    def check(self) -> None:
        self._proxy.ping()

    def off(self) -> str:
        switch = self._switch
        if switch.attribute:
            self._proxy.write_attribute(switch.attribute, switch.off)
        elif switch.off is None:
            self._proxy.command_inout(switch.command)
        else:
            self._proxy.command_inout(switch.command, switch.off)
        return f"state {self._proxy.state()}"


class _Program:
    def __init__(self, switch: CommandSwitch) -> None:
        self._command = list(switch.command)

    def connect(self) -> None:
        self.check()

    def check(self) -> None:
        if shutil.which(self._command[0]) is None:
            raise DeviceError(f"There is no program {self._command[0]!r}. Give its whole path.")

    def off(self) -> str:
        done = subprocess.run(
            self._command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROGRAM_S,
            check=False,
        )
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[-300:]
            raise DeviceError(f"{self._command[0]} ended with {done.returncode}: {said}")
        return " ".join(done.stdout.split())[-300:]


class _Function:
    def __init__(self, switch: FunctionSwitch) -> None:
        self._switch = switch
        self._function: Callable[..., Any] | None = None

    def connect(self) -> None:
        module, _, name = self._switch.function.partition(":")
        self._function = getattr(importlib.import_module(module), name)

    def check(self) -> None:
        """Say nothing: only a call would tell."""

    def off(self) -> str:
        if self._function is None:
            self.connect()
        assert self._function is not None
        found = self._function(**self._switch.arguments)
        return "" if found is None else str(found)
