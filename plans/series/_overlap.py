"""Begin what comes next when the camera has exposed the last frame of a run."""

from collections.abc import Callable
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.frames import FrameRequest
from concertino.plans._asides import heard
from concertino.plans.core._offers import name_of
from concertino.plans.core._optional_attribute import optional_attribute
from concertino.plans.core._passed_on import passed_on
from concertino.plans.run._sample_use import MoreToCome, SampleToTheEnd, SampleUse
from concertino.plans.safety._safety import BeamGuard, beam_off


def with_overlap(
    plan: MsgGenerator[Any],
    prepare: Callable[[], MsgGenerator[Any]],
    group: str,
    moved: list[Any],
) -> MsgGenerator[Any]:
    """Pass a plan's messages on, and begin `prepare` as soon as its last frame is exposed.

    Nothing is guessed: that begins at the plan's end unless the plan itself says which frames are its last
    and what its beam is, as all imaging plans do, and its cameras tell when they have exposed them.

    Parameters
    ----------
    plan : generator of messages
        An imaging plan, of one run.
    prepare : callable
        Returns messages; those that wait are left out.
    group : str
        Group of its moves.
    moved : list of device
        What has begun to move is added to it.

    Raises
    ------
    ParameterError
        If it moves what the plan uses, or does anything but move; if the plan begins another run then.
    """
    run = _Run()

    def do(message: Msg) -> MsgGenerator[Any]:
        run.note(message)
        if run.may_begin(message):
            yield from _begin(run, prepare, group, moved, run.sample_leaves)
        return (yield message)

    result = yield from passed_on(plan, do)
    if not run.begun:
        yield from _begin(run, prepare, group, moved)
    return result


class _Run:
    """What a plan says of its run."""

    def __init__(self) -> None:
        self.begun = False
        self.beam: Any = None
        self._used: list[Any] = []
        self._cameras: list[Any] = []  # of the piece that is being taken
        self._sample: SampleUse | None = None
        self._to_the_end = False

    def note(self, message: Msg) -> None:
        if (use := heard(message, SampleUse)) is not None:
            self._sample = use
            self._cameras.clear()
        elif heard(message, MoreToCome):
            self._sample = None
        elif heard(message, SampleToTheEnd):
            self._to_the_end = True
        elif message.command == "open_run":
            self._check_first()
        elif message.command == "set":
            self._used.append(message.obj)
            if isinstance(message.obj, BeamGuard):
                self.beam = message.obj.beam
        elif message.command == "prepare" and isinstance(
            next(iter(message.args), None), FrameRequest
        ):
            self._cameras.append(message.obj)

    def _check_first(self) -> None:
        if self.begun:
            raise ParameterError(
                "prepare: the next item is on its way already, and the plan begins another run. Let "
                "plan_factory return a plan of one run, or give overlap=False."
            )

    def may_begin(self, message: Msg) -> bool:
        """Whether all is exposed; asked when frames are collected, as that is while one waits."""
        return (
            not self.begun
            and not self._to_the_end
            and message.command in ("collect", "unstage")
            and self.beam is not None
            and self._sample is not None
            and self._sample.may_leave
            and bool(self._cameras)
            and all(optional_attribute(camera, "exposed", False) for camera in self._cameras)
        )

    def sample_leaves(self) -> MsgGenerator[None]:
        """Let the run know, and switch its beam off, before anything moves."""
        assert self._sample is not None
        self._sample.leave()
        yield from beam_off(self.beam)

    def uses(self, device: Any) -> bool:
        return any(device is used for used in self._used)


def _begin(
    run: _Run,
    prepare: Callable[[], MsgGenerator[Any]],
    group: str,
    moved: list[Any],
    first: Callable[[], MsgGenerator[None]] | None = None,
) -> MsgGenerator[None]:
    run.begun = True

    def do(message: Msg) -> MsgGenerator[Any]:
        nonlocal first
        if message.command == "wait":
            return None
        if message.command != "set" or run.uses(message.obj):
            device = name_of(message.obj, "")
            raise ParameterError(
                f"prepare: {message.command} {device} cannot overlap with the run before. Let it "
                "only set devices that the plan does not use, or give overlap=False."
            )
        if first is not None:
            yield from first()
            first = None
        moved.append(message.obj)
        return (yield message._replace(kwargs={**message.kwargs, "group": group}))

    yield from passed_on(prepare(), do)
