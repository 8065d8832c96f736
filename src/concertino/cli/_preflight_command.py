"""What ``concertino preflight`` does."""

from concertino.plans import preflight
from concertino.session import ComputerResources

from ._run_command import PLANS, AskedPlan, prepared_plan


def preflight_plan(asked: AskedPlan, *, max_blur: float | None) -> None:
    """Print what a plan would do and need; nothing moves, and no run is made.

    Raises
    ------
    ConcertinoError
        If something given does not work, or the plan cannot.
    """
    prepared = prepared_plan(asked)
    figures = preflight(
        PLANS[asked.name](**prepared.arguments),
        resources=ComputerResources(asked.directory),
        reconstruction=prepared.reconstruction,
        max_blur_px=max_blur,
    )
    print("beamline   simulated")
    print(figures.table())
    figures.check()
