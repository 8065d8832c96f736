"""Begin what comes next when the camera has exposed the last frame of a run."""

from collections.abc import Callable, Mapping
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino import ParameterError

from ._pieces import base_of
from ._safety import beam_off


def with_overlap(
    plan: MsgGenerator[Any],
    prepare: Callable[[], MsgGenerator[Any]],
    group: str,
    moved: list[Any],
) -> MsgGenerator[Any]:
    """Pass a plan's messages on, and begin `prepare` as soon as its last frame is exposed.

    A camera that cannot tell when that is delays it until the plan's end.

    Parameters
    ----------
    plan : generator of messages
        An imaging plan.
    prepare : callable
        Returns messages; those that wait are left out.
    group : str
        Group of its moves.
    moved : list of device
        What has begun to move is added to it.

    Raises
    ------
    ParameterError
        If it moves what the plan uses, or does anything but move.
    """
    run = _Run()
    response: Any = None
    error: BaseException | None = None
    while True:
        try:
            message = plan.send(response) if error is None else plan.throw(error)
        except StopIteration as stop:
            if not run.begun:
                yield from _begin(run, prepare, group, moved)
            return stop.value
        error = None
        run.note(message)
        try:
            if run.may_begin(message):
                if run.beam is not None:
                    yield from beam_off(run.beam)
                yield from _begin(run, prepare, group, moved)
            response = yield message
        except GeneratorExit:
            plan.close()
            raise
        except BaseException as thrown:
            error = thrown


class _Run:
    """What a plan's messages tell of its run."""

    def __init__(self) -> None:
        self.begun = False
        self.beam: Any = None
        self._used: list[Any] = []
        self._cameras: dict[Any, str] = {}  # what each takes
        self._last: str | None = None

    def note(self, message: Msg) -> None:
        if message.command == "open_run":
            self._last = _last_stream(message.kwargs)
        elif message.command == "set":
            self._used.append(message.obj)
            if message.args[:1] == (True,):
                self.beam = message.obj
        elif message.command == "prepare":
            self._cameras[message.obj] = getattr(message.args[0], "kind", "")

    def may_begin(self, message: Msg) -> bool:
        """Whether all is exposed; asked when frames are collected, as that is while one waits."""
        return (
            not self.begun
            and message.command in ("collect", "unstage")
            and bool(used := [c for c, kind in self._cameras.items() if kind == self._last])
            and all(getattr(camera, "exposed", False) for camera in used)
        )

    def uses(self, device: Any) -> bool:
        return any(device is used for used in self._used)


def _last_stream(start: Mapping[str, Any]) -> str:
    """Return what is taken last, of whichever camera."""
    others = (start.get("tomo") or {}).get("more_cameras") or {}
    of_others = {stream for block in others.values() for stream in block["streams"]}
    streams = [s for s in start.get("frames") or {"": 0} if base_of(s) not in of_others]
    return base_of(streams[-1]) if streams else ""


def _begin(
    run: _Run, prepare: Callable[[], MsgGenerator[Any]], group: str, moved: list[Any]
) -> MsgGenerator[None]:
    run.begun = True
    steps = prepare()
    response: Any = None
    while True:
        try:
            message = steps.send(response)
        except StopIteration:
            return
        response = None
        if message.command == "wait":
            continue
        if message.command != "set" or run.uses(message.obj):
            steps.close()
            device = getattr(message.obj, "name", "")
            raise ParameterError(
                f"prepare: {message.command} {device} cannot overlap with the run before. Let it "
                "only set devices that the plan does not use, or give overlap=False."
            )
        moved.append(message.obj)
        response = yield message._replace(kwargs={**message.kwargs, "group": group})
