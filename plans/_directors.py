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
from concertino.units import QuantityLike

from ._hold import Hold
from ._overlap import with_overlap
from ._parameters import check_motor, motor_position
from ._safety import Cleanup, motor_off, run_safely

Prepare = Callable[[Any], MsgGenerator[Any]]
PlanFactory = Callable[[Any], MsgGenerator[Any]]


def for_each(
    items: Iterable[Any],
    plan_factory: PlanFactory,
    *,
    prepare: Prepare | None = None,
    name: str = "for_each",
    overlap: bool = False,
    hold: Hold | None = None,
) -> MsgGenerator[tuple[str, ...]]:
    """Run an experiment for each item, each as a run of its own.

    A run's start document has ``iteration``: the director's name, index and item.

    Parameters
    ----------
    items : iterable
        For instance samples or positions; may be endless.
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
        use; they are waited for before the next run begins.
    hold : Hold, optional
        Holds the series between two runs.

    Returns
    -------
    tuple of str
        The runs' uids.

    Raises
    ------
    ParameterError
        If something cannot be called, there is no item, or an overlapping preparation moves a
        device that the plan uses.

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
    yield from run_safely(
        _iterate(_looking_ahead(items), plan_factory, prepare, name, overlap, hold, uids, moved),
        stop_all(moved),
    )
    if not uids:
        raise ParameterError("items: there are none. Give at least one sample or position.")
    return tuple(uids)


def _iterate(
    items: Iterator[tuple[Any, list[Any]]],
    plan_factory: PlanFactory,
    prepare: Prepare | None,
    name: str,
    overlap: bool,
    hold: Hold | None,
    uids: list[str],
    moved: list[Any],
) -> MsgGenerator[None]:
    ready = short_uid("ready")
    prepared = False
    for index, (item, following) in enumerate(items):
        if hold is not None:
            yield from hold.wait()
        if prepared:
            yield Msg("wait", None, group=ready)
        elif prepare is not None:
            yield from noting_moves(prepare(item), moved)
        moved.clear()
        md = {"iteration": {"director": name, "index": index, "item": _shown(item)}}
        plan = bpp.inject_md_wrapper(plan_factory(item), md)
        prepared = overlap and prepare is not None and bool(following)
        if prepared and prepare is not None:
            plan = with_overlap(plan, partial(prepare, following[0]), ready, moved)
        uid = yield from plan
        uids.append(str(uid))


def xy_scan(
    x_stage: Any,
    y_stage: Any,
    x_positions: Sequence[QuantityLike],
    y_positions: Sequence[QuantityLike],
    plan_factory: Callable[[tuple[float, float]], MsgGenerator[Any]],
    *,
    snake: bool = True,
    overlap: bool = False,
    hold: Hold | None = None,
    name: str = "xy_scan",
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
    name : str
        Name of the series.

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
        yield from for_each(grid, plan_factory, prepare=move, name=name, overlap=overlap, hold=hold)
    )


def change_samples(
    sample_changer: Any,
    samples: Mapping[str, Any],
    plan_factory: Callable[[str], MsgGenerator[Any]],
    *,
    overlap: bool = False,
    hold: Hold | None = None,
    name: str = "samples",
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
    name : str
        Name of the series.

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
        return (yield from bpp.inject_md_wrapper(plan_factory(sample), {"sample": sample}))

    return (
        yield from for_each(
            list(samples), experiment, prepare=bring_in, name=name, overlap=overlap, hold=hold
        )
    )


def _looking_ahead(items: Iterable[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each item, and the next one in a list that is empty at the end."""
    end = object()
    iterator = iter(items)
    first = next(iterator, end)
    if first is end:
        return
    for following in itertools.chain(iterator, [end]):
        yield first, [] if following is end else [following]
        first = following


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
    return str(getattr(item, "name", item))
