"""What plans ask of devices: answers change nothing, so a preflight may ask, too."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from bluesky import Msg
from bluesky.protocols import HasHints, HasName
from bluesky.utils import MsgGenerator, maybe_await

from concertino import DeviceError
from concertino.guard import named_with_address

from ._awaited import Awaited, OnlyARunCanTellError, names_of
from ._deadlines import CameraOverdueError, deadlines
from ._offers import CountsExposed, FramesToBe, SetOtherwise, name_of
from ._optional_attribute import optional_attribute

P = ParamSpec("P")
T = TypeVar("T")

#: How long devices may take to answer when no RunEngine asks them, in seconds.
ANSWER_S = 20.0


class DeviceQuery(Awaited):
    """A function without arguments that asks a device something and changes nothing.

    It is asked also when nobody does what the messages say.

    Parameters
    ----------
    work : callable
        Gives the answer, at once or awaitable.
    what : str
        Which device is asked what, as for `Awaited`.
    within_s : float, optional
        How long to wait for it, in seconds; as the deadlines say by default.
    """

    def __init__(self, work: Callable[[], Any], what: str, within_s: float | None = None) -> None:
        super().__init__(work, what)
        self._within_s = within_s

    @property
    def limit_s(self) -> float | None:
        """How long it may take, in seconds."""
        return self._within_s or deadlines().answer_s

    def unasked(self) -> Any:
        """Ask now, outside of a RunEngine.

        Raises
        ------
        DeviceError
            If nothing answers in time.
        """
        (answer,) = in_some_loop([self], ANSWER_S)
        return answer.result()


class PresentNumber(DeviceQuery):
    """Asks a signal or motor for its number.

    Parameters
    ----------
    device : device
        Which.
    """

    def __init__(self, device: Any) -> None:
        super().__init__(
            partial(present_number, device),
            f"{name_of(device)} was asked for its value",
        )
        self.device = device

    def unasked(self) -> Any:
        """Return None."""
        return None


class AsSet(DeviceQuery):
    """Asks a camera what follows from its settings; a rehearsal has it answer by what the plan has set until then.

    Parameters
    ----------
    camera : FrameCamera
        Which.
    question : callable
        Takes settings by their names, which count instead of the present ones; gives the answer, as of `DeviceQuery`.
    what : str
        As for `Awaited`.
    """

    def __init__(
        self, camera: object, question: Callable[[Mapping[str, Any]], Any], what: str
    ) -> None:
        super().__init__(partial(question, {}), what)
        self.camera = camera
        self._question = question

    def by(self, settings: Mapping[str, Any]) -> DeviceQuery:
        """Return what asks the same, were some settings others."""
        return DeviceQuery(partial(self._question, settings), self._what)


class FramesAsSet(AsSet):
    """Asks a camera what its frames will be like by what a rehearsed plan has set; None when that is nothing.

    Parameters
    ----------
    camera : FrameCamera
        Which.
    """

    def __init__(self, camera: HasName) -> None:
        def ask(settings: Mapping[str, Any]) -> FramesToBe | None:
            if settings and isinstance(camera, SetOtherwise):
                return camera.frames_if(settings)
            return None

        super().__init__(camera, ask, f"{camera.name} was asked for the shape of its frames")

    def unasked(self) -> None:
        """Return None."""


class AboutTheRun(DeviceQuery):
    """A question about what the run has done so far: without a run the answer is None."""

    def unasked(self) -> Any:
        """Return None."""
        return None


class Onlooker:
    """Who goes through a plan's messages without doing them, nor answering: bluesky's simulators."""

    def end_here(self, why: str) -> None:
        """Do nothing."""


class IsRehearsal(DeviceQuery):
    """Asks whether the plan is only gone through: a rehearsal answers with itself, a run with None."""

    def __init__(self) -> None:
        super().__init__(lambda: None, "Nobody was asked whether this is a rehearsal")

    def unasked(self) -> Any:
        """Return an `Onlooker`."""
        return Onlooker()


class LoopTask(Awaited):
    """A function without arguments that does something in the RunEngine's loop; nobody wants its answer.

    Parameters
    ----------
    work : callable
        Coroutine function.
    what : str
        Which device does what, as for `Awaited`.
    takes_s : float
        How long it takes when all goes well, for a preflight, in seconds.
    """

    def __init__(self, work: Callable[[], Awaitable[Any]], what: str, takes_s: float = 0.0) -> None:
        super().__init__(work, what)
        self.takes_s = takes_s

    @property
    def limit_s(self) -> float | None:
        """How long it may take, in seconds."""
        return 2 * self.takes_s + deadlines().answer_s


class UntilExposed(LoopTask):
    """A task that is done when cameras have exposed all frames.

    Parameters
    ----------
    cameras : iterable of FrameCamera
        Those with a memory, whose frames are read out later.
    count : int
        Frames of each.
    due_s : float
        How long their exposures may take, in seconds.
    """

    def __init__(self, cameras: Iterable[Any], count: int, due_s: float) -> None:
        self.cameras = tuple(cameras)
        self._count = count
        self._due_s = due_s
        super().__init__(self._wait, f"{names_of(self.cameras)} were to expose {count} frames")

    @property
    def limit_s(self) -> float | None:
        """How long it may take, in seconds."""
        return self._due_s

    def overdue(self, limit_s: float) -> Exception:
        """Return what to raise when a camera has not exposed its frames in time."""
        late = [
            camera for camera in self.cameras if not optional_attribute(camera, "exposed", False)
        ]
        return frames_overdue(late or self.cameras, self._count, limit_s)

    async def _wait(self) -> None:
        await asyncio.gather(*(camera.wait_exposed() for camera in self.cameras))


def frames_overdue(cameras: Iterable[Any], count: int, within_s: float) -> Exception:
    """Return what to raise when cameras have not exposed their frames in time."""
    found = ", ".join(
        f"{named_with_address(camera.name, camera)} exposed {_exposed(camera)} of {count} frames"
        for camera in cameras
    )
    return CameraOverdueError(
        f"Camera {found} within {within_s:.3g} s, in which they were due. If it waits for pulses at its "
        "trigger input, check that they are given, and the cable; else the camera, its network and detector."
    )


def run_in_loop(
    work: Callable[[], Awaitable[Any]], what: str, takes_s: float = 0.0
) -> MsgGenerator[None]:
    """Have a coroutine function run in the RunEngine's loop; what it raises is raised here.

    Parameters
    ----------
    work : callable
        Coroutine function.
    what : str
        Which device is asked or told what, as for `Awaited`.
    takes_s : float
        How long it takes when all goes well, for a preflight, in seconds.
    """
    yield from sent(LoopTask(work, what, takes_s))


def outcome(awaited: Awaited) -> MsgGenerator[Any]:
    """Have a function called in the RunEngine's loop; return its answer, or raise what it raised.

    Every plan that wants an answer of the RunEngine's ``wait_for`` gets it here, whoever runs it: a
    RunEngine, suspended or not, a rehearsal, or one of bluesky's simulators.
    """
    while True:
        tasks = yield Msg("wait_for", None, [awaited])
        if tasks:
            return tasks[0].result()
        if not awaited.begun:
            return awaited.unasked()
        if awaited.done:
            return awaited.result()


def sent(task: LoopTask) -> MsgGenerator[None]:
    """Have a task done; what it raises is raised here."""
    yield from outcome(task)


def rehearsing() -> MsgGenerator[Any]:
    """Return who goes through the plan without running it, or None when it really runs.

    For what must not happen then: arming a trigger, or waiting in a loop for the world. Such
    a plan calls ``rehearsal.end_here(why)``, after which no more time passes in a preflight's rehearsal.
    """
    return (yield from outcome(IsRehearsal()))


def query(
    question: Callable[[], Any | Awaitable[Any]], what: str, within_s: float | None = None
) -> MsgGenerator[Any]:
    """Return a device's answer, be it immediate or awaitable; what it raises is raised here.

    Parameters
    ----------
    question : callable
        Gives the answer.
    what : str
        Which device is asked what, as for `Awaited`.
    within_s : float, optional
        How long to wait for it, in seconds; as the deadlines say by default.
    """
    return (yield from outcome(DeviceQuery(question, what, within_s)))


def ends_where_only_a_run_can_tell(
    plan: Callable[P, MsgGenerator[T]],
) -> Callable[P, MsgGenerator[T]]:
    """Have a plan that goes by what it measures end, safely, where one of bluesky's simulators gives it nothing.

    It returns None then.
    """

    @wraps(plan)
    def ending(*args: P.args, **kwargs: P.kwargs) -> MsgGenerator[T]:
        try:
            return (yield from plan(*args, **kwargs))
        except OnlyARunCanTellError:
            return None  # type: ignore[return-value]

    return ending


def _exposed(camera: Any) -> int | str:
    return camera.num_exposed if isinstance(camera, CountsExposed) else "not all"


async def present_number(device: Any) -> float:
    """Return the present value of a signal or motor that holds one number.

    Raises
    ------
    DeviceError
        If it gives none.
    """
    reading = await maybe_await(device.read())
    hinted = ((device.hints if isinstance(device, HasHints) else None) or {}).get("fields", [])
    for name in (*(hinted if len(hinted) == 1 else ()), device.name, *reading):
        if name in reading:
            return float(reading[name]["value"])
    raise DeviceError(f"{device.name} was read and gives no number. See whether it answers.")


async def number(signal: Any) -> float | None:
    """Return the present value of a signal, or of a device's first field; None if it has none."""
    try:
        reading = await maybe_await(signal.read())
        field = reading.get(signal.name) or next(iter(reading.values()))
        return float(field["value"])
    except Exception:
        return None  # A figure that nobody gives is a figure that is unknown.


def in_some_loop(questions: Iterable[DeviceQuery], within_s: float | None = None) -> list[Any]:
    """Answer in the loop of the RunEngine, where devices live, or else in one of our own.

    Parameters
    ----------
    questions : iterable of DeviceQuery
        What to ask.
    within_s : float, optional
        How long that may take, in seconds.

    Returns
    -------
    list of asyncio.Future
        All done.

    Raises
    ------
    DeviceError
        If they did not answer in time.
    """
    from bluesky.run_engine import call_in_bluesky_event_loop, get_bluesky_event_loop

    async def ask_all() -> list[Any] | None:
        tasks = [asyncio.ensure_future(question()) for question in questions]
        _, pending = await asyncio.wait(tasks, timeout=within_s)
        return None if pending else tasks

    def ask(alone: bool) -> list[Any] | None:
        if not alone:
            with suppress(RuntimeError):  # There is no such loop.
                answers: list[Any] | None = call_in_bluesky_event_loop(ask_all())
                return answers
        return asyncio.run(ask_all())

    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        answers = ask(False)
    else:
        # A notebook's loop runs already, and the RunEngine's own must not wait for itself.
        with ThreadPoolExecutor(1) as thread:
            answers = thread.submit(ask, here is get_bluesky_event_loop()).result()
    if answers is None:
        raise DeviceError(
            "A plan was gone through without a RunEngine, and a device did not answer its question "
            f"within {within_s:g} s. See whether it is connected, or give the plan to preflight."
        )
    return answers


def without_run_engine(plan: MsgGenerator[Any]) -> Any:
    """Run what only asks questions, and return what it returns; no RunEngine is needed for that."""
    response: Any = None
    while True:
        try:
            message = plan.send(response)
        except StopIteration as stop:
            return stop.value
        response = in_some_loop(message.args[0])
