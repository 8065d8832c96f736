"""Settings of a camera behind a server: the same signals in a session, attributes for every client of Tango."""

import asyncio
import time
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
import tango
import tifffile
from bluesky.utils import FailedStatus

from concertino import CameraError, ParameterError, SessionError
from concertino._tango_client import TangoClient
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline, TangoCamera
from concertino.frames import FrameRequest
from concertino.session import open_session
from concertino.storage import open_run

from .conftest import Start
from .test_cameras_of_others import images

pytestmark = pytest.mark.disturbed_by_load(
    "servers are processes; one that gives no sign of life within its time-out is given up"
)

SETTABLE = '''
import time
import numpy as np
from concertino.devices import (
    ChoiceSetting, Grab, NumberSetting, Region, RegionSetting, SwitchSetting, trigger_mode,
)

class SettableSource:
    """Frames that hold their gain."""

    def __init__(self):
        self.shape, self.dtype, self.pixel_size_um = (8, 16), np.dtype(np.uint16), 5.0
        self._goes = False

    def settings(self):
        return (
            RegionSetting(value=Region(0, 0, 8, 16), sensor=(8, 16)),
            NumberSetting(name="gain", value=3.0, unit="dB", lowest=0.0, highest=24.0),
            ChoiceSetting(name="Fan Speed", value="low", choices=("low", "high")),
            SwitchSetting(name="width", value=False),
            trigger_mode(("internal", "software")),
        )

    def prepare(self, request, settings):
        self.shape = (settings.region.height, settings.region.width)
        self._gain = settings.number("gain")

    def start(self):
        self._number, self._goes = 0, True

    def grab(self, out):
        time.sleep(0.002)
        if not self._goes:
            return Grab(np.empty(0, np.int64), np.empty(0, np.int64))
        out[0] = self._gain
        self._number += 1
        return Grab(np.array([time.time_ns()]), np.array([self._number - 1]))

    def trigger(self):
        pass

    def stop(self):
        self._goes = False
'''


def get(signal: Any) -> Any:
    return asyncio.run(signal.get_value())


def test_settings_of_a_source_by_its_dotted_name(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "settable_camera.py").write_text(SETTABLE)
    monkeypatch.syspath_prepend(package)
    server = start("camera", "--source", "settable_camera:SettableSource")
    camera = TangoCamera(server.address, exposure=0.0, name="camera")
    assert list(camera.settings) == [
        "exposure", "frame_rate", "region", "gain", "Fan Speed", "width", "trigger_mode",
    ]  # fmt: skip
    client = TangoClient(server.address, "camera")
    proxy = tango.DeviceProxy(client.address)
    names = proxy.get_attribute_list()
    assert {"region", "gain", "Fan_Speed", "width", "width_", "trigger_mode"} <= set(names)
    assert proxy.get_attribute_config("gain").unit == "dB"

    # What a client of Tango sets is seen by a session, and the other way.
    proxy.write_attribute("gain", 7.0)
    proxy.write_attribute("region", [0, 0, 4, 16])
    proxy.write_attribute("Fan_Speed", "high")
    deadline_s = time.monotonic() + 10
    while (get(camera.gain), get(camera.vendor["Fan Speed"])) != (7.0, "high"):
        assert time.monotonic() < deadline_s
    with pytest.raises(tango.DevFailed) as refused:
        proxy.write_attribute("gain", 30.0)
    assert "asked for gain 30.0; it takes numbers of 0 to 24 in dB" in refused.value.args[0].desc
    b = SimulatedBeamline(shape=(8, 16))
    with open_session(tmp_path / "session", progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        with pytest.raises(FailedStatus) as failed:
            session.RE(bps.mv(camera.region, (0, 0, 9, 16)))
        assert isinstance(failed.value.__cause__, CameraError)
        session.RE(bps.mv(camera.region, (1, 2, 6, 8)))
        assert proxy.read_attribute("region").value.tolist() == [1, 2, 6, 8]
        assert camera.frame_shape == (6, 8)
        session.RE(images(camera, b, 4))
        run = open_run("scan_0001", session.directory)
        assert run.frames("projections")[:].shape == (4, 6, 8)
        assert np.all(run.frames("projections")[:] == 7)
        told = run["projections"].configuration
        assert (told["camera-region"], told["camera-gain"]) == ([1, 2, 6, 8], 7.0)

        # A session that uses the camera is not disturbed.
        session.RE(bps.prepare(camera, FrameRequest(3), wait=True))
        with pytest.raises(tango.DevFailed) as refused:
            proxy.write_attribute("gain", 1.0)
        assert "was asked to set gain, and serves a session" in refused.value.args[0].desc
        other = TangoClient(server.address, "camera")
        other.session = "somebody else"
        with pytest.raises(SessionError, match="was asked to set gain, and serves a session"):
            other.call("Set", camera="other", name="gain", value=1.0)
        session.RE(bps.unstage(camera, wait=True))
        proxy.write_attribute("gain", 1.0)


def test_a_directory_of_tiffs_is_served_with_a_region(tmp_path: Path, start: Start) -> None:
    stack = np.random.default_rng(5).integers(0, 4000, (12, 10, 14)).astype(np.uint16)
    for kind, first in (("darks", 0), ("flats", 4), ("projections", 8)):
        (tmp_path / "stored" / kind).mkdir(parents=True)
        for index in range(4):
            tifffile.imwrite(
                tmp_path / "stored" / kind / f"{kind}_{index}.tif", stack[first + index]
            )
    server = start("camera", "--source", str(tmp_path / "stored"))
    camera = TangoCamera(server.address, exposure=0.0, name="camera")
    b = SimulatedBeamline(shape=(8, 16))
    with open_session(tmp_path / "session", progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.RE(bps.mv(camera.region, (2, 4, 6, 8), camera.binning, 2))
        session.RE(images(camera, b, 4))
        run = open_run("scan_0001", session.directory)
    expected = stack[8:, 2:8, 4:12].reshape(4, 3, 2, 4, 2).mean(axis=(2, 4))
    assert np.abs(run.frames("projections")[:] - expected).max() <= 0.5
    assert run.frames("darks")[:].shape == (2, 3, 4)


def test_a_dotted_name_that_leads_nowhere() -> None:
    from concertino.cli._tango_command import source_maker

    for source, what in (("no.such:thing", "thing of no.such"), ("json:no", "no of json")):
        with pytest.raises(ParameterError, match=f"{what} cannot be imported"):
            source_maker(source, "16x16")
