"""The command, run as its users do: in a process of its own."""

import inspect
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image

from concertino.cli import main
from concertino.cli._run_command import PLANS
from concertino.storage import open_run

COMMAND = str(Path(sys.executable).with_name("concertino"))
FAST = [
    "--shape", "32x48", "--quiet", "--num-darks", "3", "--num-flats", "3",
    "--num-projections", "40", "--angular-range", "180 deg",
]  # fmt: skip


def concertino(*arguments: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(
        [COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with one run in it."""
    directory = tmp_path_factory.mktemp("work")
    out = concertino(
        "run", "continuous_tomography", *FAST, "--sample", "foam", "--slices", "10,20",
        cwd=directory,
    )  # fmt: skip
    assert re.search(r"^run +.*/data/scan_0001$", out, re.MULTILINE)
    assert re.search(r"^axis +column 2\d\.\d\d px, confidence", out, re.MULTILINE)
    assert len(re.findall(r"^picture +", out, re.MULTILINE)) == 2
    return directory


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "--help")
    for command in ("demo", "run", "preflight", "runs", "show", "replay", "view", "queueserver"):
        assert re.search(rf"^ *{command} ", out, re.MULTILINE)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a command prints, run in this process."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    out = capsys.readouterr().out
    assert ended.value.code == 0, out
    return out


def test_runs_lists_the_newest_first(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "runs", "-d", str(workplace / "data")).splitlines()
    assert "reconstruction" in lines[1]
    assert re.match(r"scan_0001 .* continuous_tomography +success +46 +foam", lines[2])


@pytest.mark.parametrize("name", ["last", "-1", "1", "scan_0001"])
def test_show_tells_parameters_frames_and_ledger(
    workplace: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = printed(capsys, "show", name, "-d", str(workplace / "data"))
    assert "angular_range = 180 deg" in out
    assert "frames     projections: 40 of 32 × 48 px, uint16" in out
    assert "ledger     projections: writer (every) has 40, 40 safe, 0 dropped, finished" in out
    assert "scan_0001_reconstruction_01" in out


def test_preflight_prints_a_table_and_moves_nothing(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((workplace / "data").glob("scan_*"))
    out = printed(
        capsys, "preflight", "continuous_tomography", *FAST[:2], *FAST[3:],
        "--max-blur", "3", "-d", str(workplace / "data"),
    )  # fmt: skip
    assert re.search(r"^plan +continuous_tomography$", out, re.MULTILINE)
    assert re.search(
        r"^projections +40 frames in 0\.4 s: exposed 5 ms, dead 5 ms", out, re.MULTILINE
    )
    assert re.search(r"^rotation +450 deg/s in projections", out, re.MULTILINE)
    assert re.search(r"^writing +.* measured on 20", out, re.MULTILINE)
    assert sorted((workplace / "data").glob("scan_*")) == before

    # One that blurs too much ends with code 1.
    with pytest.raises(SystemExit) as ended:
        main(
            ["preflight", "continuous_tomography", *FAST[:2], *FAST[3:], "--max-blur", "0.1",
             "-d", str(workplace / "data")]
        )  # fmt: skip
    assert ended.value.code == 1
    assert "concertino: blur: the image of projections moves by 0.942 px during" in (
        capsys.readouterr().err
    )


def test_replay_reconstructs_again(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "replay", "last", "--slices", "10", "-d", str(workplace / "data"))
    assert re.search(r"^replayed +.*scan_0001 in", out, re.MULTILINE)
    assert re.search(r"^picture +.*slice_000.png$", out, re.MULTILINE)


#: Command line, exit code, and what the sentence says.
MISTAKES = [
    ("dmeo", 2, "No such command 'dmeo'. Did you mean 'demo'?"),
    ("--versoin", 2, "No such option: --versoin"),
    ("run", 2, "Missing argument 'plan'"),
    ("run helical", 1, "There is no plan 'helical'; there are radiography"),
    ("run radiography --num-flat 3", 1, "has no parameter 'num_flat'; it has"),
    ("run radiography --angular-range '180 deg'", 1, "has no parameter 'angular_range'; it has"),
    ("run radiography --num-flats", 1, "--num-flats was given without a value"),
    ("run radiography --num-flats 3 --num-flats 4", 1, "--num-flats was given twice"),
    ("run radiography --num-flats 0", 1, "num_flats: 0 is too small"),
    ("run radiography --num-flats -3", 1, "num_flats: -3 is too small"),
    ("run radiography --num-flats 99999999999999999999", 1, "is too large. Give at most 1e+08 frame"),
    ("run radiography --num-flats 2.5", 1, "num_flats: 2.5 is not a whole number"),
    ("run radiography --num-flats x", 1, "num_flats: 'x' is no quantity"),
    ("run radiography 5", 2, "unexpected extra argument"),
    ("run radiography -num-flats 5", 2, "No such option: -n"),
    ("run radiography --flat-position '1 s'", 1, "'1 s' is a time"),
    ("run radiography --flat-position '1 km'", 1, "limits are -100 to 100 mm"),
    ("run radiography --shape 5", 1, "shape: '5' is no frame shape"),
    ("run radiography --shape 99999999x99999999", 1, "is too large"),
    ("run radiography --source lamp", 1, "source: 'lamp' is unknown"),
    ("run radiography --slices a", 1, "slices: 'a' is unknown"),
    ("run radiography --slices 600", 1, "slices: row 600 was asked for, and frames have the rows 0 to"),
    ("run radiography --slices -1", 1, "slices: row -1 was asked for"),
    ("run radiography --camera no.h5", 1, "There is no file no.h5"),
    ("run radiography --camera data", 1, "camera: data is a directory"),
    ("run radiography --frame-rate '1 kHz'", 1, "cannot take 1000 frames/s"),
    ("run radiography --frame-rate '-1 Hz'", 1, "frame_rate: '-1 Hz' is too small"),
    ("run radiography --exposure '0 ms'", 1, "exposure: '0 ms' is not positive"),
    ("run radiography --exposure '5 mm'", 1, "exposure: a time in s is wanted"),
    ("run radiography --per-frame shutter", 1, "per_frame: 'shutter' was given; the simulated beamline has"),
    ("run radiography --order projections,projections", 1, "Those that are no darks or flats are taken once"),
    ("run radiography --on-lost maybe", 1, "on_lost: 'maybe' was given"),
    ("run step_tomography --scheme foo", 1, "scheme: 'foo' was given"),
    ("run continuous_tomography --num-projections 50 --max-blur 0.001", 1, "blur: the image of"),
    ("run continuous_tomography --half-acquisition maybe", 2, "unexpected extra argument"),
    ("run grating_stepping --grating-period '-2 um' --stepping-start-position 0", 1, "grating_period"),
    ("preflight helical", 1, "There is no plan 'helical'"),
    (
        "preflight step_spiral_tomography", 1,
        "The plan step_spiral_tomography needs start_position_vertical, vertical_shift_per_tomogram, "
        "sample_height; give each as an option, such as --start-position-vertical VALUE.",
    ),
    ("preflight radiography --max-blur x", 2, "Invalid value for '--max-blur'"),
    ("preflight radiography --max-blur -1", 1, "max_blur_px: -1 is not positive"),
    ("preflight radiography --max-blur nan", 1, "max_blur_px: nan is not a finite number"),
    ("resume 77", 1, "no run 77"),
    ("resume", 2, "Missing argument 'run'"),
    ("runs -n 0", 2, "Invalid value for '--number'"),
    ("runs -d nowhere", 1, "There is no data directory nowhere"),
    ("show 77", 1, "no run 77"),
    ("show last -d nowhere", 1, "There is no data directory nowhere"),
    ("show nowhere/scan_0001", 1, "no run 'nowhere/scan_0001' in"),
    ("show -9", 1, "Run -9 was asked for"),
    ("replay last --speed -1", 2, "Invalid value for '--speed'"),
    ("replay last --slices 600", 1, "slices: row 600 was asked for"),
    ("reconstruct last --rows a", 1, "rows: 'a' is unknown"),
    ("reconstruct last --rows 600", 1, "Row 600 was asked for, and the frames have the rows 0 to 31"),
    ("reconstruct last --set center", 1, "--set: 'center' was given; write NAME=VALUE"),
    ("reconstruct last --set beauty=3", 1, "beauty: there is no such setting"),
    ("reconstruct last --settings no.json", 1, "settings: no.json cannot be read as JSON"),
    ("reconstruct last --format bmp", 1, "'bmp' was given; give one of tiff, hdf5, zarr"),
    ("reconstruct last --camera left", 1, "Camera 'left' was asked for"),
    ("reconstruct 1 -d nowhere", 1, "There is no data directory nowhere"),
    ("sweep last --parameter center", 2, "Missing option '--region'"),
    ("sweep last --parameter center --region 1", 1, "region: '1' is unknown"),
    ("sweep last --parameter center --region 20,28,1 --metric beauty", 1, "metric: 'beauty' is unknown"),
    ("sweep last --parameter center --region 20,28,1 --row 600", 1, "row: 600 was given"),
    ("export last", 2, "Missing argument 'file'"),
    ("export last data", 1, "data is there already"),
    ("export last x.nx --energy '20 mm'", 1, "energy: an energy in keV is wanted"),
    ("view last --port 70000", 2, "Invalid value for '--port'"),
    ("guard no.json --listen tcp://127.0.0.1:0", 1, "no.json was given as the description of a beam"),
    ("queueserver --redis nowhere", 1, "redis: 'nowhere' is no address"),
    ("queueserver --permissions none.yaml", 1, "permissions: none.yaml cannot be read (File"),
    ("queueserver --redis 127.0.0.1:1", 1, "Redis, in which the queue server keeps its queue"),
    ("tango writer", 2, "Missing option '--port'"),
    ("tango camera --port 0 --source nowhere", 1, "source: 'nowhere' is neither a file nor"),
    ("tango status writer", 1, "write KIND=HOST:PORT"),
    ("keys show nowhere", 1, "nowhere has 0 files *.key_secret"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "message"), MISTAKES, ids=[line for line, *_ in MISTAKES])
def test_a_mistake_gets_one_sentence_and_writes_nothing(
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(workplace)
    before = sorted(workplace.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line))
    out, error = capsys.readouterr()
    assert (ended.value.code, out) == (code, ""), error
    assert error.startswith("concertino: ")
    assert error.count("\n") == 1, error
    assert message in error
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", error)
    assert sorted(workplace.rglob("*")) == before


def test_a_mistake_in_a_process_of_its_own(workplace: Path) -> None:
    error = concertino("run", "radiography", "-d", "/proc/nowhere", cwd=workplace, code=1)
    assert error.startswith("concertino: ")
    assert error.count("\n") == 1
    assert "/proc/nowhere" in error


def test_negative_values_are_values(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = workplace / "negative"
    printed(
        capsys, "run", "step_tomography", "--start-angle", "-90 deg", "--half-acquisition",
        "--angular-range", "-360 deg", "--num-darks=2", "--num_flats", "2", "--num-projections", "3",
        "--shape", "32x48", "--slices", "none", "-d", str(directory),
    )  # fmt: skip
    out = printed(capsys, "show", "last", "-d", str(directory))
    assert "start_angle = -90 deg" in out
    assert "angular_range = -360 deg" in out
    assert "half_acquisition = True" in out
    assert not (workplace / "eg").exists()


@pytest.mark.parametrize("name", sorted(PLANS))
def test_the_help_of_a_plan_explains_its_parameters(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = " ".join(printed(capsys, "run", name, "--help").split())
    for key, parameter in inspect.signature(PLANS[name]).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or key == "md":
            continue
        explained = re.search(
            rf" --{key.replace('_', '-')} \[(.+?)\] (.+?)(?= --[a-z-]+ [\[<]|$)", out
        )
        assert explained is not None, key
        if "dict" in str(parameter.annotation) and key != "scheme":  # a quantity
            assert re.fullmatch(r"deg|px|mm|um|s|stage's unit|unit of the motor", explained[1])
        assert len(explained[2].split()) > 2, key
        if parameter.default not in (parameter.empty, None):
            assert "[default: " in explained[2], key


def test_a_server_that_is_not_there_is_told_with_the_cause(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(SystemExit) as ended:
            main(["tango", "status", f"writer=127.0.0.1:{nobody.getsockname()[1]}"])
    out = capsys.readouterr().out
    assert ended.value.code == 1
    assert out.count("\n") == 1
    assert "TRANSIENT_ConnectFailed" in out
    assert "See whether 'concertino tango writer' runs there" in out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    said = f"concertino {version('concertino')}\n"
    assert printed(capsys, "--version") == said
    as_module = [sys.executable, "-m", "concertino.cli", "--version"]
    assert subprocess.run(as_module, capture_output=True, text=True, timeout=240).stdout == said


def test_names_reach_a_terminal_as_text(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = workplace / "names"
    out = printed(
        capsys, "run", "radiography", *FAST[:7], "--num-projections", "2", "--slices", "none",
        "--sample", "tooth\x1b]0;owned\x07\nscan_0099", "-d", str(directory),
    )  # fmt: skip
    out += printed(capsys, "runs", "-d", str(directory))
    out += printed(capsys, "show", "last", "-d", str(directory))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out)
    assert "tooth\\x1b]0;owned\\x07\\nscan_0099" in out


def test_a_live_run_ends_with_its_slices_and_pictures(tmp_path: Path) -> None:
    out = concertino(
        "run", "continuous_tomography", *FAST, "--slices", "10,20", "--live", cwd=tmp_path
    )
    assert re.search(r"^page +http://127\.0\.0\.1:\d+", out, re.MULTILINE)
    assert re.search(r"^axis +column 2\d\.\d\d px, confidence", out, re.MULTILINE)
    pictures = re.findall(r"^picture +(.*\.png)$", out, re.MULTILINE)
    assert len(pictures) == 2
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.size == (48, 48)
    (slices,) = re.findall(r"^slices +(.*)$", out, re.MULTILINE)
    assert open_run(slices).frames("slices").shape == (2, 48, 48)


@pytest.mark.disturbed_by_load("a program is interrupted or killed when its first frames are there")
def test_an_interrupt_ends_the_demo_in_a_sentence(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "demo", "-d", "data"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    frames = tmp_path / "data" / "scan_0001" / "projections"
    deadline = time.monotonic() + 240
    while not (frames.exists() and list(frames.iterdir())):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=240)
    assert process.returncode == 130, out + error
    assert re.search(
        r"^concertino: the .* was interrupted; the beam is off\.$", error, re.MULTILINE
    )
    assert "RE.abort" not in out + error  # what the RunEngine says to somebody at a prompt
    assert "Traceback" not in error
    assert open_run(1, tmp_path / "data").exit_status == "abort"


@pytest.mark.disturbed_by_load("a program is interrupted or killed when its first frames are there")
def test_one_interrupt_ends_the_run_with_the_beam_off(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "run", "radiography", "--shape", "32x48", "--quiet", "--num-darks", "3",
         "--num-flats", "3", "--num-projections", "100000", "--slices", "none"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    frames = tmp_path / "data" / "scan_0001" / "projections"
    deadline = time.monotonic() + 240
    while not (frames.exists() and len(list(frames.iterdir())) > 20):
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 130, out
    assert "radiography was interrupted; the beam is off." in out
    shown = concertino("show", "1", cwd=tmp_path)
    assert re.search(r"^status +abort", shown, re.MULTILINE)
    safe = re.search(r"projections: writer \(every\) has (\d+), (\d+) safe", shown)
    assert safe is not None
    assert safe[1] == safe[2]
    assert f"frames     projections: {safe[2]} of" in shown


@pytest.mark.disturbed_by_load("a program is interrupted or killed when its first frames are there")
def test_a_run_that_was_killed_is_resumed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "run", "continuous_tomography", *FAST[:-4], "--num-projections", "200",
         "--angular-range", "180 deg", "--slices", "none"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    frame = tmp_path / "data" / "scan_0001" / "projections" / "frame_000020.tif"
    deadline = time.monotonic() + 240
    while not frame.exists():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert "incomplete" in concertino("runs", cwd=tmp_path)
    out = concertino("resume", "last", "--quiet", "--slices", "none", cwd=tmp_path)
    assert re.search(r"^run +.*/data/scan_0002$", out, re.MULTILINE)
    assert "scan       scan_0001 + scan_0002" in out
    assert "frames     projections: 200 of 200" in out
    error = concertino("resume", "1", "--slices", "none", cwd=tmp_path, code=1)
    assert "resume: nothing is missing of scan_0001: 3 darks, 3 flats, 200 projections." in error


EARLY = """
import os, signal, sys, time

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            sys.meta_path.remove(self)
            exec("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)")  # it comes here

sys.meta_path.insert(0, Interrupt())
"""


@pytest.mark.parametrize(
    "imported", ["typer", "concertino.cli._command_errors", "concertino.cli._run_listing", "numpy"]
)
def test_ctrl_c_is_heard_while_the_command_begins(tmp_path: Path, imported: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(EARLY)
    paths = filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])
    done = subprocess.run(
        [sys.executable, "-m", "concertino.cli", "runs"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "INTERRUPTED_AT": imported},
        cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "concertino: interrupted.\n")


INTERRUPTED = """
import os, signal, sys, time
import typer
from concertino.cli._command_errors import run_command

def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)  # it comes here

class Garbage:
    def __del__(self):
        ctrl_c()

class Output:
    def flush(self):
        ctrl_c()

app = typer.Typer()

@app.command()
def work(place: str) -> None:
    if place == "finalizer":
        Garbage()
        time.sleep(600)
    elif place == "end":
        sys.stdout = Output()
    else:
        ctrl_c()

sys.exit(run_command(app, sys.argv[1:]))
"""


@pytest.mark.parametrize("place", ["command", "finalizer", "end"])
def test_ctrl_c_is_heard_wherever_it_comes(place: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, place], capture_output=True, text=True, timeout=240
    )
    assert (done.returncode, done.stderr) == (130, "concertino: interrupted.\n")
