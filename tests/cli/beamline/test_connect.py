"""A beamline's file against a control system that answers, and one that does not."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from concertino.beamline import template
from concertino.storage import open_run

from .served_twin import ServedTwin, concertino

#: Where the rotation is put by another program, in deg.
TURNED_DEG = 12.5


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedTwin]:
    served = ServedTwin(tmp_path_factory.mktemp("twin"))
    try:
        served.put("rotation", TURNED_DEG)
        yield served
    finally:
        served.close()


def written(twin: ServedTwin, folder: Path, kind: str) -> Path:
    """Return a file to begin with, for this twin."""
    path = folder / "beamline.toml"
    path.write_text(template(kind).replace(":11000/", f":{twin.tango}/"))
    return path


def rows(printed: str) -> dict[str, list[str]]:
    """Return the table of devices: what stands in the line of each name."""
    lines = printed[printed.index("device ") :].splitlines()
    table = [re.split(r"  +", line) for line in lines[1:] if "  " in line]
    return {name: cells for name, *cells in table}


@pytest.mark.parametrize(
    ("kind", "rotation", "camera"),
    [
        ("epics", "ca://TWIN:rotation", "TWIN:"),
        ("tango", "twin/motor/rotation", "twin/camera/1"),
    ],
)
def test_a_table_of_devices_that_answer(
    twin: ServedTwin, tmp_path: Path, kind: str, rotation: str, camera: str
) -> None:
    path = written(twin, tmp_path, kind)
    printed, _ = concertino("check-config", "--connect", cwd=tmp_path, environment=twin.environment)

    assert f"file       {path.name}: nothing is wrong in it" in printed
    found = rows(printed)
    assert {"rotation", "sample_stage", "shutter", "camera"} <= set(found)
    assert not [name for name, row in found.items() if "not reached" in row]
    assert found["rotation"][:2] == [str(TURNED_DEG), "deg"]
    assert rotation in found["rotation"][-1]
    assert camera in found["camera"][-1]


def test_one_that_does_not_answer_names_address_time_and_what_to_check(
    twin: ServedTwin, tmp_path: Path
) -> None:
    path = written(twin, tmp_path, "mixed")
    text = path.read_text().replace('"TWIN:ring:Current"', '"NOWHERE:ring"\ntimeout = "1 s"')
    path.write_text(text.replace(f":{twin.tango}/twin/motor/sample", ":1/twin/motor/sample"))
    begun_s = time.monotonic()
    printed, said = concertino(
        "check-config", "--connect", cwd=tmp_path, code=1, environment=twin.environment
    )

    found = rows(printed)
    lost = [name for name, cells in found.items() if "not reached" in cells]
    assert lost == ["sample_stage", "ring_current"]
    assert found["rotation"][0] == str(TURNED_DEG)
    assert {"shutter", "camera"} <= set(found)
    assert re.search(
        r"^ring_current \(NOWHERE:ring\) cannot be had: it did not answer within 1 s .*NOWHERE:ring.*\. Check that it is "
        r"switched on, that its server or IOC runs, and that this computer reaches its network\.$",
        printed,
        re.MULTILINE,
    ), printed
    assert re.search(r"^sample_stage \(tango://127\.0\.0\.1:1/twin/motor/sample_stage#dbase=no\) cannot be had: .*\.$", printed, re.MULTILINE), printed  # fmt: skip
    assert said == "concertino: sample_stage, ring_current cannot be had; see why above.\n"
    assert time.monotonic() - begun_s < 60


@pytest.mark.disturbed_by_load(
    "where the motor is, and each frame, comes over a wire from another process, which must run then"
)
def test_a_plan_runs_with_the_devices_of_the_file(twin: ServedTwin, tmp_path: Path) -> None:
    written(twin, tmp_path, "epics").rename(tmp_path / "line.toml")
    printed, _ = concertino(
        "run", "continuous_tomography", "--beamline", "line.toml", "--num-projections", "30", "--num-flats", "2",
        "--num-darks", "2", "--angular-range", "90 deg", "--sample", "foam", "--quiet", cwd=tmp_path,
        environment=twin.environment,
    )  # fmt: skip
    assert printed.startswith("beamline   line.toml\n")
    run = open_run(1, tmp_path / "data")
    assert {name: len(run.frames(name)) for name in ("darks", "flats", "projections")} == {
        "darks": 2, "flats": 2, "projections": 30,
    }  # fmt: skip
    assert (run.start["sample"], run.start["beamline"]) == ("foam", "BL1")
    # Darks are of a beam that was off, and flats of one that was on: it is the shutter of the IOC that is switched.
    assert run.frames("flats")[0].mean() > 10 * run.frames("darks")[0].mean()
