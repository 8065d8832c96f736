"""Directors: an experiment for each sample or position, each a run of its own."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.utils import MsgGenerator, short_uid

from concertino import ParameterError
from concertino.plans._asides import said
from concertino.plans.core._offers import name_of
from concertino.plans.core._parameters import check_motor, motor_position
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._resume_context import with_pause_request
from concertino.plans.run._sample_use import SampleToTheEnd
from concertino.plans.safety._safety import Cleanup, motor_off, run_safely
from concertino.units import QuantityLike

from ._overlap import with_overlap

Prepare = Callable[[Any], MsgGenerator[Any]]
PlanFactory = Callable[[Any], MsgGenerator[Any]]


def for_each(
    items: Iterable[Any],
    plan_factory: PlanFactory,
    *,
    prepare: Prepare | None = None,
    name: str = "for_each",
    overlap: bool = False,
    hold: PauseRequest | None = None,
) -> MsgGenerator[tuple[str, ...]]:
    """Run an experiment for each item, each as a run of its own.

    A run's start document has ``iteration``: the director's name, index and item; for a series within
    another one also ``within``, the outer one's. What the plan itself puts there stays.

    Parameters
    ----------
    items : iterable
        For instance samples or positions; may be endless. The next one is asked for when the run
        before it has ended, so that it may depend on what came of it.
    plan_factory : callable
        Takes an item; returns its plan, such as ``continuous_tomography(…)``.
    prepare : callable, optional
        Takes an item; returns messages that make ready for it, such as moving it in.
    name : str
        Name of the series.
    overlap : bool
        Prepare the next item while the frames of the last one are still being read out and stored:
        as soon as the camera has exposed the last frame of a run, the beam goes off and the next
        item's `prepare` begins. It may only ``set`` devices that the plan itself does not
        use; they are waited for before the next run begins. The plan must be one run. The next item is asked for
        at that moment. Frames that are found to be spoiled later are flagged in the run's stream ``pauses``.
    hold : PauseRequest, optional
        Holds the series between two runs, and in them.

    Returns
    -------
    tuple of str
        The runs' uids.

    Raises
    ------
    ParameterError
        If something cannot be called, there is no item, an overlapping preparation moves a
        device that the plan uses, or the plan is several runs.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import for_each, radiography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> def experiment(sample):
    ...     return radiography(b.camera, b.beam, b.sample_stage, radio_position="0 mm",
    ...                        flat_position="10 mm", md={"sample": sample})
    >>> plan = for_each(["tooth", "bone"], experiment)
    """
    for parameter, function in (("plan_factory", plan_factory), ("prepare", prepare)):
        if function is not None and not callable(function):
            raise ParameterError(
                f"{parameter}: {function!r} cannot be called. Give a function of an item that "
                "returns messages."
            )
    uids: list[str] = []
    moved: list[Any] = []
    yield from said(SampleToTheEnd())
    series = _iterate(_Items(items), plan_factory, prepare, name, overlap, hold, uids, moved)
    yield from run_safely(
        series if hold is None else with_pause_request(series, hold),
        stop_all(moved),
    )
    if not uids:
        raise ParameterError("items: there are none. Give at least one sample or position.")
    return tuple(uids)


def _iterate(
    items: "_Items",
    plan_factory: PlanFactory,
    prepare: Prepare | None,
    name: str,
    overlap: bool,
    hold: PauseRequest | None,
    uids: list[str],
    moved: list[Any],
) -> MsgGenerator[None]:
    ready = short_uid("ready")
    prepared: list[Any] = []
    for index, item in enumerate(items):
        if hold is not None:
            yield from hold.wait()
        if prepared:
            yield Msg("wait", None, group=ready)
        elif prepare is not None:
            yield from noting_moves(prepare(item), moved)
        moved.clear()
        prepared = []
        iteration = {"director": name, "index": index, "item": _shown(item)}
        plan = _with_iteration(plan_factory(item), iteration)
        if overlap and prepare is not None:
            plan = with_overlap(plan, partial(_next, items, prepare, prepared), ready, moved)
        uid = yield from plan
        uids.append(str(uid))


def _next(items: "_Items", prepare: Prepare, prepared: list[Any]) -> MsgGenerator[None]:
    """Prepare the next item, if there is one, and note it in a list."""
    for item in items.coming():
        prepared.append(item)
        yield from prepare(item)


def xy_scan(
    x_stage: Any,
    y_stage: Any,
    x_positions: Sequence[QuantityLike],
    y_positions: Sequence[QuantityLike],
    plan_factory: Callable[[tuple[float, float]], MsgGenerator[Any]],
    *,
    snake: bool = True,
    overlap: bool = False,
    hold: PauseRequest | None = None,
) -> MsgGenerator[tuple[str, ...]]:
    """Run an experiment at each position of a grid, row by row, each as a run of its own.

    Parameters
    ----------
    x_stage, y_stage : device
        Move the sample; x changes fastest.
    x_positions, y_positions : sequence of quantity
        Plain numbers are in the stage's unit.
    plan_factory : callable
        Takes (x, y) in the stages' units; returns the plan.
    snake : bool
        Every other row backwards.
    overlap, hold
        As for `for_each`.

    Returns
    -------
    tuple of str
        The runs' uids.

    Raises
    ------
    ParameterError
        If a position cannot be reached; nothing has moved then.
    """
    check_motor(x_stage, "x_stage")
    check_motor(y_stage, "y_stage")
    columns, rows = [], []
    for position in x_positions:
        columns.append((yield from motor_position(x_stage, position, "x_positions")))
    for position in y_positions:
        rows.append((yield from motor_position(y_stage, position, "y_positions")))
    grid = [
        (x, y)
        for index, y in enumerate(rows)
        for x in (columns[::-1] if snake and index % 2 else columns)
    ]

    def move(point: tuple[float, float]) -> MsgGenerator[None]:
        yield from bps.mv(x_stage, point[0], y_stage, point[1])

    return (
        yield from for_each(
            grid, plan_factory, prepare=move, name="xy_scan", overlap=overlap, hold=hold
        )
    )


def change_samples(
    sample_changer: Any,
    samples: Mapping[str, Any],
    plan_factory: Callable[[str], MsgGenerator[Any]],
    *,
    overlap: bool = False,
    hold: PauseRequest | None = None,
) -> MsgGenerator[tuple[str, ...]]:
    """Run an experiment with each sample of a sample changer, each as a run of its own.

    Each start document has the sample's name as ``sample``, unless the plan names it itself.

    Parameters
    ----------
    sample_changer : device
        Brings in the sample whose position it is set to.
    samples : mapping of str to Any
        The changer's position of each sample, in order.
    plan_factory : callable
        Takes a sample's name; returns the plan.
    overlap, hold
        As for `for_each`.

    Returns
    -------
    tuple of str
        The runs' uids.

    Raises
    ------
    ParameterError
        If the changer cannot be set.
    """
    check_motor(sample_changer, "sample_changer")

    def bring_in(sample: str) -> MsgGenerator[None]:
        yield from bps.mv(sample_changer, samples[sample])

    def experiment(sample: str) -> MsgGenerator[Any]:
        return (yield from _with_defaults(plan_factory(sample), {"sample": sample}))

    return (
        yield from for_each(
            list(samples), experiment, prepare=bring_in, name="samples", overlap=overlap, hold=hold
        )
    )


class _Items:
    """Items one after the other, each asked for as late as can be; the next one may be looked at before."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self._looked_at: list[Any] | None = None
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[Any]:
        while True:
            found = self.coming()
            self._looked_at = None
            if self._error is not None:
                raise self._error
            if not found:
                return
            yield found[0]

    def coming(self) -> list[Any]:
        """Return the next item in a list, which is empty at the end.

        What the iterable raises is raised when the item's turn has come: the run before is none the worse.
        """
        if self._looked_at is None:
            try:
                self._looked_at = list(itertools.islice(self._items, 1))
            except Exception as error:
                self._looked_at, self._error = [], error
        return self._looked_at


def _with_defaults(plan: MsgGenerator[Any], md: Mapping[str, Any]) -> MsgGenerator[Any]:
    """Pass a plan's messages on; its runs get metadata that it does not give itself.

    Bluesky's `inject_md_wrapper` has its own win.
    """

    def add(message: Msg) -> Msg:
        if message.command != "open_run":
            return message
        return message._replace(kwargs={**md, **message.kwargs})

    return (yield from bpp.msg_mutator(plan, add))


def _with_iteration(plan: MsgGenerator[Any], iteration: Mapping[str, Any]) -> MsgGenerator[Any]:
    """Pass a plan's messages on; its runs say which iteration they are, and within which."""

    def add(message: Msg) -> Msg:
        if message.command != "open_run":
            return message
        own = message.kwargs.get("iteration")
        return message._replace(kwargs={**message.kwargs, "iteration": _nested(own, iteration)})

    return (yield from bpp.msg_mutator(plan, add))


def _nested(inner: Any, outer: Mapping[str, Any]) -> Any:
    if inner is None:
        return outer
    if not (isinstance(inner, Mapping) and "director" in inner):
        return inner  # The plan's own, and no director's.
    return {**inner, "within": _nested(inner.get("within"), outer)}


def noting_moves(plan: MsgGenerator[Any], moved: list[Any]) -> MsgGenerator[Any]:
    """Pass a plan's messages on, and note in a list what it sets."""

    def note(message: Msg) -> Msg:
        if message.command == "set":
            moved.append(message.obj)
        return message

    return (yield from bpp.msg_mutator(plan, note))


def stop_all(moved: list[Any]) -> Cleanup:
    """Return what stops all that was noted in a list until then."""

    def stop() -> MsgGenerator[None]:
        for device in moved:
            yield from motor_off(device)

    return stop


def _shown(item: Any) -> Any:
    """Return an item as it can stand in a document."""
    if isinstance(item, bool | int | float | str):
        return item
    if isinstance(item, list | tuple):
        return [_shown(part) for part in item]
    return name_of(item)
