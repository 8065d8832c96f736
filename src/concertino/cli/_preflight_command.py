"""What ``concertino preflight`` does."""

from pathlib import Path

from concertino.plans import preflight
from concertino.reconstruction import ReconstructionSettings
from concertino.session import ComputerResources

from ._run_command import PLANS, chosen_rows, prepared_plan


def preflight_plan(
    name: str,
    parameters: dict[str, str],
    *,
    directory: Path,
    camera: str,
    shape: str,
    source: str,
    frame_rate: str,
    exposure: str,
    slices: str,
    max_blur: float | None,
) -> None:
    """Print what a plan would do and need; nothing moves, and no run is made.

    Raises
    ------
    ConcertinoError
        If something given does not work, or the plan cannot.
    """
    prepared = prepared_plan(
        name, parameters, camera=camera, shape=shape, source=source, frame_rate=frame_rate,
        exposure=exposure,
    )  # fmt: skip
    settings = None
    if slices != "none":
        rows = chosen_rows(slices, prepared.camera.frame_shape[0])
        settings = ReconstructionSettings(slices=rows)
    figures = preflight(
        PLANS[name](**prepared.arguments),
        resources=ComputerResources(directory),
        reconstruction=settings,
        max_blur_px=max_blur,
    )
    print(figures.table())
    figures.check()
