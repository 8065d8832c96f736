"""What ``concertino reconstruct``, ``sweep`` and ``export`` do."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from concertino import ParameterError
from concertino._extras import extra
from concertino.batch import BatchReconstruction, reconstruct_run, sweep_run
from concertino.documents import TomoBlock
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import Run, export_nxtomo, size_text
from concertino.terminal._progress import progress_of

from ._pictures import save_png
from ._run_listing import choose_run


def reconstruct_command(
    directory: Path,
    name: str,
    *,
    settings: Path | None,
    changes: list[str],
    rows: str,
    output: Path | None,
    format: str,
    scheduler: str,
    camera: str,
    tomogram: int | None,
    progress: bool,
) -> None:
    """Reconstruct a stored run and say where the slices are.

    Raises
    ------
    ConcertinoError
        If there is no such run, the settings do not fit, or the frames do not suffice.
    """
    run = choose_run(directory, name)
    chosen = _settings(settings, changes)
    if rows:
        chosen = chosen.updated(**_rows(rows))
    for each in _tomograms(run, tomogram):
        with progress_of("reconstructing", progress) as report:
            result = reconstruct_run(
                run, chosen, output=format, directory=output, progress=report,
                scheduler=scheduler or None, camera=camera or None, tomogram=each,
            )  # fmt: skip
        if each is not None:
            print(f"tomogram   {each}")
        _say(result, chosen)


def _tomograms(run: Run, wanted: int | None) -> Sequence[int | None]:
    """Return which tomograms to make, each by itself: all of a time series by default."""
    number = TomoBlock.from_start(run.start).num_tomograms
    return range(number) if wanted is None and number > 1 else (wanted,)


def _say(result: BatchReconstruction, settings: ReconstructionSettings) -> None:
    found = "given" if settings.center is not None else f"confidence {result.confidence:.2f}"
    print(f"slices     {result.directory / 'slices'}: {len(result.rows)} in {result.parts} part(s)")
    print(f"axis       column {result.center_px:.2f} px, {found}")
    print(f"missing    {len(result.missing)} projections")
    if result.workers:
        print(f"workers    {result.workers}, ready in {result.start_s:.1f} s")
    print(f"time       {result.duration_s:.1f} s")


def export_command(
    directory: Path,
    name: str,
    file: Path,
    *,
    camera: str,
    energy: str,
    distance: str,
    overwrite: bool,
    progress: bool,
) -> None:
    """Write a run into one NXtomo file and say where it is.

    Raises
    ------
    ConcertinoError
        If there is no such run, it is no tomography, or the file cannot be written.
    """
    run = choose_run(directory, name)
    with progress_of("exporting", progress) as report:
        made = export_nxtomo(
            run, file, camera=camera or None, energy=energy or None,
            propagation_distance=distance or None, overwrite=overwrite, progress=report,
        )  # fmt: skip
    print(f"file       {made}: {size_text(made.stat().st_size)}")


def sweep_command(
    directory: Path,
    name: str,
    *,
    parameter: str,
    region: str,
    row: int | None,
    metric: str,
    settings: Path | None,
    changes: list[str],
    output: Path | None,
    camera: str,
    tomogram: int | None,
    progress: bool,
) -> None:
    """Sweep a setting over a stored run, draw the metric, and say which value is best.

    Raises
    ------
    ConcertinoError
        As `reconstruct_command`.
    """
    with extra("plots", "A sweep with its pictures"):
        from ._sweep_pictures import draw_metric, draw_strip
    run = choose_run(directory, name)
    with progress_of("sweeping", progress) as report:
        sweep = sweep_run(
            run, parameter, _region(region), row=row, metric=metric,  # type: ignore[arg-type]
            settings=_settings(settings, changes), directory=output, progress=report,
            camera=camera or None, tomogram=tomogram,
        )  # fmt: skip
    picture = draw_metric(sweep, metric, sweep.directory / "metric.png")
    best = int(abs(sweep.values - sweep.estimate.value).argmin())
    from concertino.storage import open_run

    images = open_run(sweep.directory).frames("slices")
    save_png(images[best], sweep.directory / "best.png")
    strip = draw_strip(sweep, images, best, sweep.directory / "strip.png")
    print(f"slices     {sweep.directory / 'slices'}: row {sweep.row}, {len(sweep.values)} values")
    print(f"metric     {picture}")
    print(f"strip      {strip}")
    print(f"picture    {sweep.directory / 'best.png'}: {parameter} = {sweep.values[best]:g}")
    print(
        f"best       {parameter} = {sweep.estimate.value:.6g}, confidence {sweep.estimate.confidence:.2f}"
    )


def _settings(path: Path | None, changes: list[str]) -> ReconstructionSettings:
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ParameterError(
                f"settings: {path} cannot be read as JSON: {error}. Write the settings by name, "
                'such as {"center": 295.8}.'
            ) from error
        if not isinstance(values, dict):
            raise ParameterError(
                f"settings: {path} holds no JSON object. Write the settings by name, such as "
                '{"center": 295.8}.'
            )
    for change in changes:
        name, separator, text = change.partition("=")
        if not separator:
            raise ParameterError(
                f"--set: {change!r} was given; write NAME=VALUE, as in center=295.8."
            )
        values[name.strip().replace("-", "_")] = _value(text.strip())
    return ReconstructionSettings().updated(**values)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None if text == "None" else text


def _rows(text: str) -> dict[str, Any]:
    if text == "all":
        return {"slices": None, "region": None}
    try:
        if ":" in text:
            numbers = [int(part) for part in text.split(":")]
            start, stop, step = (*numbers, 1) if len(numbers) == 2 else numbers
            return {"slices": tuple(range(start, stop, step)), "region": None}
        return {"slices": tuple(int(part) for part in text.split(",")), "region": None}
    except ValueError:
        raise ParameterError(
            f"rows: {text!r} is unknown. Give detector rows such as '10,20' or '100:200' or "
            "'100:200:10', or 'all'."
        ) from None


def _region(text: str) -> tuple[float, float, float]:
    try:
        start, stop, step = (float(part) for part in text.replace(":", ",").split(","))
    except ValueError:
        raise ParameterError(
            f"region: {text!r} is unknown. Give FROM,TO,STEP, such as 290,300,0.5."
        ) from None
    if not all(map(math.isfinite, (start, stop, step))) or not step:
        raise ParameterError(
            f"region: {text!r} has no end. Give three finite numbers FROM,TO,STEP and a step that is not 0, such as "
            "290,300,0.5."
        )
    return start, stop, step
