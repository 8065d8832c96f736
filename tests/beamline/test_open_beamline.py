"""What a beamline's file says is what is there when it is opened."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import happi
import pytest

from concertino import AlarmError, DeviceError, ParameterError, ParameterTypeError, SessionError
from concertino.beamline import (
    Beamline,
    BeamlineFileError,
    find_beamline,
    open_beamline,
    template,
)
from concertino.storage import find_runs, open_run

SMALL = """
monitored = ["ring.current"]
baseline = ["rotation", "shutter"]

[metadata]
proposal = "p1"

[devices.twin]
class = "SimulatedBeamline"
arguments.shape = [16, 32]
arguments.exposure = "2 ms"
arguments.frame_rate = "0.2 kHz"
arguments.memory_bytes = "1 MiB"
arguments.noise = false
parts = ["camera", "rotation", "sample_stage", "shutter", "ring"]

[roles]
camera = "camera"
rotation = "rotation"
beam = "shutter"
sample_stage = "sample_stage"

[defaults]
radio_position = "0 mm"
flat_position = "10 mm"
num_darks = 3

[defaults.radiography]
num_projections = 4
num_darks = 2
per_frame = ["ring"]

[callbacks.reconstruction]
slices = "middle"
"""


def opened(folder: Path, text: str = SMALL, **settings: Any) -> Beamline:
    path = folder / "beamline.toml"
    path.write_text(text)
    return open_beamline(path, progress=False, **settings)


@pytest.fixture
def beamline(tmp_path: Path) -> Iterator[Beamline]:
    with opened(tmp_path) as line:
        yield line


def test_arguments_reach_classes_in_their_units(beamline: Beamline) -> None:
    twin = beamline.devices["twin"]
    assert twin.twin.shape == (16, 32)  # a tuple, as its class says, of TOML's list
    assert (twin._exposure, twin._frame_rate) == (0.002, 200.0)
    assert twin.camera.source.memory_bytes == 2**20
    assert beamline.devices["camera"] is twin.camera


def test_a_plan_needs_neither_devices_nor_what_the_file_says(beamline: Beamline) -> None:
    (uid,) = beamline.RE(beamline.plans["radiography"](num_flats=1))
    run = open_run(uid, beamline.session.directory)

    # That of the plan before that of all plans, and what is given before both.
    counts = {name: len(run.frames(name)) for name in ("darks", "flats", "projections")}
    assert counts == {"darks": 2, "flats": 1, "projections": 4}
    assert run.start["proposal"] == "p1"
    assert run.start["plan_args"]["flat_position"] == {"value": 10.0, "unit": "mm"}
    keys = {name: set(run[name].descriptors[0]["data_keys"]) for name in run.streams}
    assert {"rotation", "shutter-state"} <= keys["baseline"]
    assert "ring-current_monitor" in keys  # monitored
    assert "ring-current" in keys["per_frame"]


def test_what_is_given_counts_instead(beamline: Beamline, tmp_path: Path) -> None:
    other = beamline.devices["twin"].add_camera("detail", shape=(8, 8))
    (uid,) = beamline.RE(beamline.plans["radiography"](camera=other, num_flats=1, per_frame=()))
    assert open_run(uid, beamline.session.directory).start["detectors"] == ["detail"]


def test_a_role_that_nobody_has_is_asked_for(beamline: Beamline) -> None:
    with pytest.raises(ParameterError, match=r"vertical_stage: step_spiral_tomography needs this device, and no role of the beamline's file names it\. Add vertical_stage = 'DEVICE' to \[roles\]"):  # fmt: skip
        beamline.plans["step_spiral_tomography"]()
    with pytest.raises(ParameterError, match=r"start: focus needs it, and nothing was given\. Give it, or add it to \[defaults\]"):  # fmt: skip
        beamline.plans["focus"](measure=beamline.devices["camera"], stage=beamline.devices["rotation"])  # fmt: skip


def test_a_parameter_that_a_plan_has_not_is_told(beamline: Beamline) -> None:
    radiography = beamline.plans["radiography"]
    with pytest.raises(
        ParameterError,
        match=r"num_darkz: the plan radiography has no such parameter; .*Did you mean 'num_darks'\?",
    ):
        radiography(num_darkz=3)
    devices = [beamline.devices[name] for name in ("camera", "shutter", "sample_stage")]
    with pytest.raises(ParameterTypeError, match="radiography: too many positional arguments"):
        radiography(*devices, 5)


def test_the_session_knows_the_devices(beamline: Beamline) -> None:
    assert {state.name for state in beamline.session.status()} >= {"camera", "rotation", "shutter"}
    assert beamline.names["move"]("rotation", "90 deg") == pytest.approx(90)
    assert beamline.device("ring.current") is beamline.devices["ring"].current
    with pytest.raises(
        DeviceError, match=r"ring\.voltage was asked for, and ring has no 'voltage'"
    ):
        beamline.device("ring.voltage")
    with pytest.raises(DeviceError, match="There is no device 'rong'; there are twin, camera"):
        beamline.device("rong")


def test_the_data_directory_is_beside_the_file_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "line").mkdir()
    with opened(tmp_path / "line") as line:
        assert line.session.directory == tmp_path / "line" / "data"
    monkeypatch.setenv("CONCERTINO_BEAMLINE_DATA__DIRECTORY", str(tmp_path / "other"))
    with opened(tmp_path / "line") as line:
        assert line.session.directory == tmp_path / "other"


def test_a_file_is_opened_again_in_the_same_process(tmp_path: Path) -> None:
    for number in (1, 2):
        with opened(tmp_path) as line:
            (uid,) = line.RE(line.plans["radiography"](num_flats=1))
            assert open_run(uid, line.session.directory).start["scan_id"] == number
            preprocessors = len(line.RE.preprocessors)
        assert len(line.RE.preprocessors) < preprocessors
    with opened(tmp_path) as line:
        assert len(line.RE.preprocessors) == preprocessors


def test_devices_of_happi_and_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "happi.json"
    client = happi.Client(path=str(database), initialize=True)
    client.add_item(
        happi.OphydItem(
            name="slit", device_class="ophyd.sim.SynAxis", args=[], kwargs={"name": "{{name}}"},
            prefix="BL:SLIT",
        )
    )  # fmt: skip
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "facility_devices.py").write_text(  # beside the file, where it is found
        "from ophyd_async.core import soft_signal_rw, SignalRW\n"
        "def lamp() -> SignalRW:\n    return soft_signal_rw(float)\n"
        "def helper(number: int) -> int:\n    return number\n"
    )
    text = (
        'device_modules = ["facility_devices"]\nbaseline = ["slit", "lamp"]\n'
        '[happi]\ndatabase = "happi.json"\n[devices.slit]\nhappi = "slit"\n'
    )
    with opened(tmp_path, text) as line:
        assert set(line.devices) == {"slit", "lamp"}
        assert line.devices["lamp"].name == "lamp"
        assert line.session.move("slit", 3) == 3


def test_secrets_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_UNIT", "um")
    text = (
        "[devices.stage]\nclass = 'SimulatedMotor'\narguments.unit = {environment = 'THE_UNIT'}\n"
        "arguments.velocity = 1\narguments.max_velocity = 2\n"
    )
    with opened(tmp_path, text) as line:
        assert line.devices["stage"].unit == "um"


def test_no_run_begins_while_a_suspender_is_tripped(tmp_path: Path) -> None:
    text = SMALL + (
        "[[suspenders]]\nclass = 'SuspendFloor'\nsignal = 'ring.current'\n"
        "arguments.suspend_thresh = 1e6\n"
    )
    with opened(tmp_path, text) as line:
        run = line.session.start(line.plans["radiography"](num_flats=1))
        with pytest.raises(Exception, match=r"has not|within"):
            run.wait(timeout_s=2)
        assert find_runs(line.session.directory) == []
        line.session.stop_all()
        with pytest.raises(SessionError, match="was ended"):
            run.wait(timeout_s=60)


def test_a_device_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    text = SMALL.replace("arguments.shape = [16, 32]", "arguments.source = 'lamp'")
    with pytest.raises(DeviceError, match=r"6 of the devices in .*beamline\.toml cannot be had\. Mend what is said of each; .*:\n  twin: source: 'lamp' was given") as raised:  # fmt: skip
        opened(tmp_path, text)
    assert "check-config" in str(raised.value)
    # And a good one opens after it.
    with opened(tmp_path) as line:
        assert line.RE.state == "idle"


CALLBACKS = """
from pathlib import Path
class Mine:
    def __init__(self, file: str, device) -> None:
        self.file, self.device = Path(file), device
    def __call__(self, name, document) -> None:
        with self.file.open("a") as lines:
            lines.write(f"{self.device.name} {name}\\n")
"""


def test_the_callbacks_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "facility_callbacks.py").write_text(CALLBACKS)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    told = tmp_path / "told.txt"
    text = SMALL.replace('[callbacks.reconstruction]\nslices = "middle"\n', "") + (
        "[callbacks]\nwriter = {format = 'hdf5'}\nreconstruction = {slices = [3, 5], settings = {filter = 'none'}}\n"
        f"[[callbacks.others]]\nclass = 'facility_callbacks.Mine'\narguments.file = '{told}'\n"
        "arguments.device = {device = 'ring'}\n"
    )
    with opened(tmp_path, text) as line:
        assert line.reconstruction is not None
        line.RE(line.plans["step_tomography"](num_flats=1, num_projections=20))
        run = open_run(1, line.session.directory)
        assert list(run.directory.rglob("*.h5"))
        assert line.reconstruction.wait(60).volume.shape == (2, 32, 32)
    assert told.read_text().splitlines()[0] == "ring start"


def test_an_alarm_has_the_limits_of_the_file(tmp_path: Path) -> None:
    # Every pixel is 1 or more.
    text = SMALL + (
        "[[callbacks.alarms]]\nclass = 'Saturation'\n"
        "arguments = {level = 'fail', share = '50 percent', value = 1}\n"
    )
    with pytest.raises(BeamlineFileError, match=r"share: '50 percent' was given, and its class does not say in which unit"):  # fmt: skip
        opened(tmp_path, text)
    with (
        opened(tmp_path, text.replace("'50 percent'", "0.5")) as line,
        pytest.raises(AlarmError, match="50 % may be"),
    ):
        line.RE(line.plans["radiography"](num_flats=50))


def test_the_live_view_is_a_page(tmp_path: Path) -> None:
    with opened(tmp_path, SMALL + "[callbacks.live_view]\n") as line:
        assert line.live_view is not None
        with urlopen(line.live_view.url, timeout=60) as page:
            assert page.status == 200
    with opened(tmp_path, SMALL + "[callbacks.live_view]\nenabled = false\n") as line:
        assert line.live_view is None


def test_frames_that_nobody_stores_are_refused(tmp_path: Path) -> None:
    text = SMALL.replace(
        "[callbacks.reconstruction]", "[callbacks]\nwriter = false\n[callbacks.reconstruction]"
    )
    with opened(tmp_path, text) as line, pytest.raises(SessionError, match="store"):
        line.RE(line.plans["radiography"](num_flats=1))


def test_metadata_must_satisfy_the_model_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "facility_metadata.py").write_text(
        "from pydantic import BaseModel, ConfigDict\n"
        "class Proposal(BaseModel):\n    model_config = ConfigDict(extra='forbid')\n    proposal: str\n    user: str\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    with opened(tmp_path, "metadata_model = 'facility_metadata.Proposal'\n" + SMALL) as line:
        plan = line.plans["radiography"]
        with pytest.raises(ParameterError, match=r"must satisfy facility_metadata\.Proposal, which says: user: Field required\. Give it in RE\.md"):  # fmt: skip
            line.RE(plan(num_flats=1))
        assert find_runs(line.session.directory) == []
        line.RE(plan(num_flats=1, md={"user": "me"}))
    # The next file in this process asks for nothing.
    with opened(tmp_path) as line:
        line.RE(line.plans["radiography"](num_flats=1))
        assert len(find_runs(line.session.directory)) == 2


def test_loggers_have_the_levels_of_the_file(tmp_path: Path) -> None:
    name = "concertino.tests.of_levels"
    with opened(tmp_path, SMALL + f"[logging]\n'{name}' = 'ERROR'\n"):
        assert logging.getLogger(name).level == logging.ERROR


def test_which_file_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONCERTINO_BEAMLINE", raising=False)
    assert find_beamline() is None
    Path("beamline.toml").write_text(template("twin"))
    assert find_beamline() == Path("beamline.toml")
    monkeypatch.setenv("CONCERTINO_BEAMLINE", "/there/other.toml")
    assert find_beamline() == Path("/there/other.toml")
