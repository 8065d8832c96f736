"""Fail a plan in every way at its messages, and see that each end is safe."""

from collections.abc import Callable, Mapping, Sequence

from ._plan_faults import (
    FaultKind,
    PlanBench,
    PlanFault,
    PlanOutcome,
    check_safe_end,
    fault_positions,
    plan_messages,
    run_with_fault,
)


def _nothing(*_: object) -> None: ...


def check_every_end(
    bench: PlanBench,
    *,
    every: int | Mapping[str, int] = 1,
    kinds: Sequence[FaultKind] = PlanFault.KINDS,
    ready: Callable[[], object] = _nothing,
    then: Callable[[PlanOutcome], object] = _nothing,
) -> int:
    """Run a plan undisturbed, with each fault at each of its different messages, and undisturbed again.

    Parameters
    ----------
    bench : PlanBench
        The plan and its devices.
    every : int or mapping
        Strike only one of so many messages, for all kinds of faults or for each. The kinds begin at
        different messages, so that together they strike more of them.
    kinds : sequence of str
        Of faults, see `PlanFault`.
    ready : callable
        Called before each run, such as to bring axes back.
    then : callable
        Called with the outcome of each fault, to check more than `check_safe_end` does.

    Returns
    -------
    int
        How many faults there were.

    Raises
    ------
    AssertionError
        At the first end that is not safe, with the fault and the message.

    Examples
    --------
    >>> from bluesky import RunEngine
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import radiography
    >>> from concertino.testing import PlanBench, check_every_end
    >>> b = SimulatedBeamline(shape=(16, 16), frame_rate=200, exposure=0)
    >>> bench = PlanBench(
    ...     RunEngine(),
    ...     lambda: radiography(
    ...         b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=1,
    ...         num_projections=2, order=["projections"],
    ...     ),
    ...     beam_is_on=lambda: b.shutter.is_open,
    ... )
    >>> check_every_end(bench, every=20, kinds=["raise before", "raise after"])
    4
    """
    ready()
    positions = fault_positions(plan_messages(bench), every=False)
    struck = 0
    for kind in kinds:
        step = every if isinstance(every, int) else every[kind]
        for position in positions[PlanFault.KINDS.index(kind) % step :: step]:
            ready()
            outcome = run_with_fault(bench, PlanFault(position, kind))
            check_safe_end(outcome)
            then(outcome)
            struck += 1
    ready()
    plan_messages(bench)  # The next run works.
    return struck
