"""The commands of a beamline's file: what they write, which file they take, and what they say of mistakes."""

import json
import re
import shlex
import time
from pathlib import Path

import jsonschema
import pytest

from concertino.beamline import open_beamline, template
from concertino.cli import main
from concertino.storage import open_run
from tests.patience import patience

SMALL = (
    template("twin").replace("256, 256", "32, 48").replace('"100 Hz"', '"200 Hz"').replace('"5 ms"', '"2 ms"')
)  # fmt: skip
WRONG = SMALL.replace('"hdf5"', '"hdf5"').replace('format = "tiff"', 'format = "bmp"')


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONCERTINO_BEAMLINE", raising=False)


def said(capsys: pytest.CaptureFixture[str], line: str, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line))
    out, error = capsys.readouterr()
    assert ended.value.code == code, out + error
    return out, error


def test_a_file_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "init")
    assert Path("beamline.toml").read_text() == template("twin")
    assert out == (
        "written    beamline.toml\nnext       concertino check-config; concertino start\n"
    )
    _, error = said(capsys, "init tango", code=1)
    assert error == (
        "concertino: beamline.toml is there already. Give another name with --file, or replace it with --overwrite.\n"
    )
    assert Path("beamline.toml").read_text() == template("twin")
    out, _ = said(capsys, "init tango --file other.toml")
    assert out.endswith("next       concertino check-config other.toml; concertino start other.toml\n")  # fmt: skip
    out, _ = said(capsys, "init --file 'my line.toml'")
    assert out.endswith("next       concertino check-config 'my line.toml'; concertino start 'my line.toml'\n")  # fmt: skip
    said(capsys, "init epics --overwrite")
    assert Path("beamline.toml").read_text() == template("epics")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("init tangoo", "kind: 'tangoo' was given; give one of twin, epics, tango, mixed"),
        ("init --file beamline.yaml", "files to begin with are TOML. Give a name such as beamline.toml."),
        ("init --file .", ". was to be written, and is a directory. Give the name of a file"),
        ("init --file nowhere/a.toml", "nowhere/a.toml was to be written, and has no directory nowhere to stand in."),
        ("check-config .", ". was to describe a beamline, and is a directory. Give the file in it, such as beamline.toml."),
        ("check-config", "No beamline was named: there is no beamline.toml in this directory"),
        ("check-config no.toml", "no.toml was to describe a beamline, and is no file."),
        ("start", "No beamline was named: there is no beamline.toml in this directory"),
        ("start wrong.toml", "wrong.toml has a mistake:\n  line "),
        ("run radiography --beamline wrong.toml", "wrong.toml has a mistake:\n  line "),
        ("run radiography --beamline no.toml", "no.toml was to describe a beamline, and is no file."),
        ("run radiography --beamline small.toml --shape 8x8", "--shape was given, which is of the simulated beamline; small.toml says it for this one. Change it there"),
        ("run radiography --beamline small.toml --frame-rate '5 Hz'", "--frame-rate was given, which is of the simulated beamline"),
        ("preflight radiography --beamline small.toml --source tube", "--source was given, which is of the simulated beamline"),
        ("preflight helical --beamline small.toml", "There is no plan 'helical'; there are radiography"),
        ("preflight continuous_tomography --beamline small.toml --num-projections 50 --max-blur 0.001", "blur: the image of projections moves"),
        ("run helical --beamline small.toml", "There is no plan 'helical'; there are radiography"),
        ("run radiography --angular-range '1 deg' --beamline small.toml", "The plan radiography has no parameter 'angular_range'; it has "),
        ("run radiography --per-frame rong --beamline small.toml", "There is no device 'rong'; there are twin, camera"),
        ("run grating_stepping --beamline small.toml", "grating_period: grating_stepping needs it, and nothing was given. Give it, or add it to [defaults]"),
        ("run radiography --flat-position '1 km' --beamline small.toml", "limits are -100 to 100 mm"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    Path("wrong.toml").write_text(WRONG)
    Path("small.toml").write_text(SMALL)
    _, error = said(capsys, line, code=1)
    assert error.startswith("concertino: ")
    assert message in error
    assert not list(Path().glob("data/scan_*"))


def test_mistakes_are_listed_as_editors_find_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("wrong.toml").write_text(WRONG.replace("camera = ", "camra = "))
    out, error = said(capsys, "check-config wrong.toml", code=1)
    lines = WRONG.splitlines()
    role, writer = (lines.index(next(one for one in lines if one.startswith(start))) + 1 for start in ("camera = ", "format = "))  # fmt: skip
    assert [one.partition(": ")[0] for one in out.splitlines()] == [
        f"wrong.toml:{role}", f"wrong.toml:{writer}",
    ]  # fmt: skip
    assert error == "concertino: wrong.toml has 2 mistakes; mend what is listed above.\n"


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "check-config --schema")
    jsonschema.validate({"data": {"directory": "x"}}, json.loads(out))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"data": {"directory": 5}}, json.loads(out))


def test_a_plan_is_looked_at_with_the_devices_of_the_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("beamline.toml").write_text(SMALL)
    out, _ = said(capsys, "preflight continuous_tomography --num-projections 40")
    assert re.match(r"beamline   beamline\.toml\nplan +continuous_tomography\n", out), out
    # 40 frames of 32 × 48 px at 200 Hz; 180 deg are turned meanwhile, at 900 deg/s.
    assert re.search(
        r"^projections +40 frames in 0\.2 s: exposed 2 ms, dead 3 ms", out, re.MULTILINE
    ), out
    assert re.search(r"^rotation +900 deg/s in projections", out, re.MULTILINE), out
    assert not list(Path("data").glob("scan_*"))


def test_a_plan_takes_the_file_that_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("beamline.toml").write_text(SMALL)
    line = "run radiography --num-projections 4 --num-darks 1 --num-flats 2 --quiet"
    out, _ = said(capsys, f"{line} --sample foam --per-frame ring.current,rotation")
    assert re.match(r"beamline   beamline\.toml\nrun +/.*/data/scan_0001\n", out)
    run = open_run(1, "data")
    counts = {name: len(run.frames(name)) for name in ("darks", "flats", "projections")}
    assert counts == {"darks": 1, "flats": 2, "projections": 4}
    assert (run.start["sample"], run.start["frame_shape"]) == ("foam", [32, 48])
    assert {"ring-current", "rotation"} <= set(run["per_frame"].descriptors[0]["data_keys"])

    # By the variable, from elsewhere, into another directory.
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    monkeypatch.setenv("CONCERTINO_BEAMLINE", str(tmp_path / "beamline.toml"))
    out, _ = said(capsys, f"{line} -d here")
    assert out.startswith(f"beamline   {tmp_path / 'beamline.toml'}\n")
    assert open_run(1, "here").start["beamline"] == "twin"

    # And the simulated one, by its name, or where there is no file.
    out, _ = said(capsys, f"{line} --beamline twin --shape 16x16 --slices none")
    assert out.startswith("beamline   simulated\n")
    assert open_run(1, "data").start["frame_shape"] == [16, 16]


def test_a_run_that_broke_off_is_continued_at_the_same_beamline(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("beamline.toml").write_text(SMALL)
    with open_beamline("beamline.toml", progress=False) as beamline:
        run = beamline.session.start(
            beamline.plans["step_tomography"](num_projections=60, num_darks=1, num_flats=1)
        )
        left = patience()
        while left() and (run.progress.stream != "projections" or run.progress.acquired < 5):
            time.sleep(0.02)
        beamline.session.stop_all("lunch")
    broken = open_run(1, "data")
    assert broken.stop is not None
    assert 0 < len(broken.frames("projections")) < 60

    capsys.readouterr()
    out, _ = said(capsys, "resume 1 --quiet --slices 16")
    assert re.match(r"beamline   beamline\.toml\nrun +/.*/data/scan_0002", out), out
    assert "frames     projections: 60 of 60\n" in out
    assert re.search(r"^slices +/", out, re.MULTILINE)
    assert open_run("scan_0002", "data").start["resumes"] == broken.start["uid"]
