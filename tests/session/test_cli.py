"""The command, run as its users do: in a process of its own."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from concertino.cli import main

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


def test_help_names_every_command(tmp_path: Path) -> None:
    out = concertino("--help", cwd=tmp_path)
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
        capsys, "preflight", "continuous_tomography", *[o for o in FAST if o != "--quiet"],
        "--max-blur", "3", "-d", str(workplace / "data"),
    )  # fmt: skip
    assert re.search(r"^plan +continuous_tomography$", out, re.MULTILINE)
    assert re.search(
        r"^projections +40 frames in 0\.4 s: exposed 5 ms, dead 5 ms", out, re.MULTILINE
    )
    assert re.search(r"^rotation +450 deg/s in projections", out, re.MULTILINE)
    assert re.search(r"^writing +.* measured on 20", out, re.MULTILINE)
    assert sorted((workplace / "data").glob("scan_*")) == before


def test_a_scan_that_blurs_too_much_ends_with_code_1(workplace: Path) -> None:
    options = [option for option in FAST if option != "--quiet"]
    error = concertino(
        "preflight", "continuous_tomography", *options, "--max-blur", "0.1", cwd=workplace, code=1
    )
    assert error.startswith("concertino: blur: the image of projections moves by 0.942 px during")


def test_a_plan_that_needs_more(workplace: Path) -> None:
    error = concertino("preflight", "step_spiral_tomography", cwd=workplace, code=1)
    assert error == (
        "concertino: The plan step_spiral_tomography needs start_position_vertical, "
        "vertical_shift_per_tomogram, sample_height; give each as an option, such as "
        "--start-position-vertical VALUE.\n"
    )


def test_replay_reconstructs_again(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "replay", "last", "--slices", "10", "-d", str(workplace / "data"))
    assert re.search(r"^replayed +.*scan_0001 in", out, re.MULTILINE)
    assert re.search(r"^picture +.*slice_000.png$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "helical"], "There is no plan 'helical'; there are radiography"),
        (["run", "radiography", "--num-flat", "3"], "has no parameter 'num_flat'; it has"),
        (["run", "radiography", "--num-flats", "0"], "num_flats"),
        (["run", "radiography", "--num-flats", "x"], "num_flats"),
        (["run", "radiography", "--flat-position", "1 s"], "flat_position"),
        (["run", "radiography", "--flat-position", "1 km"], "limits are -100 to 100 mm"),
        (["run", "radiography", "--shape", "5"], "shape: '5' is no frame shape"),
        (["run", "radiography", "--source", "lamp"], "source: 'lamp' is unknown"),
        (["run", "radiography", "--slices", "a"], "slices: 'a' is unknown"),
        (["run", "radiography", "--camera", "no.h5"], "no.h5"),
        (["run", "radiography", "--frame-rate", "1 kHz"], "cannot take 1000 frames/s"),
        (["run", "radiography", "-d", "/proc/nowhere"], "/proc/nowhere"),
        (["show", "77"], "77"),
        (["runs", "-d", "nowhere"], "there is no data directory nowhere"),
    ],
)
def test_a_mistake_gets_one_sentence(workplace: Path, arguments: list[str], message: str) -> None:
    error = concertino(*arguments, cwd=workplace, code=1)
    lines = [line for line in error.splitlines() if line.startswith("concertino: ")]
    assert len(lines) == 1
    assert message in lines[0]


def test_one_interrupt_ends_the_run_with_the_beam_off(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "run", "radiography", "--shape", "32x48", "--quiet", "--num-darks", "3",
         "--num-flats", "3", "--num-projections", "100000", "--slices", "none"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    frames = tmp_path / "data" / "scan_0001" / "projections"
    deadline = time.monotonic() + 120
    while not (frames.exists() and len(list(frames.iterdir())) > 20):
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "radiography was interrupted; the beam is off." in out
    shown = concertino("show", "1", cwd=tmp_path)
    assert re.search(r"^status +abort", shown, re.MULTILINE)
    safe = re.search(r"projections: writer \(every\) has (\d+), (\d+) safe", shown)
    assert safe is not None
    assert safe[1] == safe[2]
    assert f"frames     projections: {safe[2]} of" in shown


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
