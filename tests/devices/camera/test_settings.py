"""Settings of a camera: as signals, in frames and documents, and refused when the camera cannot have them."""

import asyncio
import queue
import time
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
import tifffile
from bluesky.utils import FailedStatus, MsgGenerator
from numpy.typing import NDArray

from concertino import CameraError, DeviceError
from concertino.callbacks import ImageWriter
from concertino.devices import (
    Camera,
    CameraSetting,
    CameraSettings,
    ChoiceSetting,
    FileCamera,
    Grab,
    IntegerSetting,
    NumberSetting,
    Region,
    RegionSetting,
    SimulatedBeamline,
    SwitchSetting,
    TextSetting,
    trigger_mode,
)
from concertino.frames import FrameRequest
from concertino.plans import radiography, step_tomography
from concertino.session import Session, open_session
from concertino.storage import Run, open_run
from concertino.testing import FrameSourceContract

from .scanning import Scans, fly, make_camera

_NONE = np.empty(0, np.int64)


class PulsedSource:
    """A detector of 8 x 12 pixels that shows its gain, has settings of all kinds, and takes pulses."""

    def __init__(self, *described: CameraSetting) -> None:
        self.shape, self.dtype, self.pixel_size_um = (8, 12), np.dtype(np.uint16), 2.0
        self.described: tuple[CameraSetting, ...] = described or (
            RegionSetting(value=Region(0, 0, 8, 12), sensor=(8, 12), smallest=(2, 4), step=(2, 4)),
            NumberSetting(name="gain", value=1.0, unit="dB", lowest=0.0, highest=24.0),
            IntegerSetting(name="binning", value=1, choices=(1, 2)),
            NumberSetting(name="exposure", value=0.01, unit="s", lowest=0.0, highest=0.5),
            NumberSetting(name="frame_rate", value=1.0, unit="Hz", highest=5000.0),
            ChoiceSetting(name="Fan Speed", value="low", choices=("low", "high")),
            SwitchSetting(name="Cooling", value=True),
            TextSetting(name="Note", value=""),
            trigger_mode(("internal", "software", "edge", "level")),
        )
        self.prepared: list[tuple[FrameRequest, CameraSettings]] = []
        self.pulses: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def settings(self) -> tuple[CameraSetting, ...]:
        return self.described

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        self.prepared.append((request, settings))
        if settings.region is not None:
            self.shape = (settings.region.height, settings.region.width)

    def start(self) -> None:
        self.pulses = queue.SimpleQueue()
        self._number = 0

    def grab(self, out: NDArray[Any]) -> Grab:
        request, settings = self.prepared[-1]
        if request.trigger != "internal" and not self.pulses.get():
            return Grab(_NONE, _NONE)
        out[0] = settings.number("gain") or 0
        self._number += 1
        return Grab(np.array([time.time_ns()]), np.array([self._number - 1]))

    def trigger(self) -> None:
        self.pulses.put(True)

    def stop(self) -> None:
        self.pulses.put(False)


def get(signal: Any) -> Any:
    return asyncio.run(signal.get_value())


def refusal(scans: Scans, plan: MsgGenerator[Any]) -> str:
    with pytest.raises((FailedStatus, DeviceError)) as caught:
        scans.RE(plan)
    cause = caught.value.__cause__ if isinstance(caught.value, FailedStatus) else caught.value
    assert isinstance(cause, CameraError)
    return str(cause)


def images(camera: Any, b: SimulatedBeamline, **more: Any) -> MsgGenerator[Any]:
    return radiography(
        camera, b.beam, b.sample_stage, radio_position="0 mm", flat_position="1 cm",
        num_darks=1, num_flats=1, num_projections=3, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "possible"),
    [
        ("region", (0, 0, 9, 12), "regions (row, column, height, width) of at least 2 x 4 pixels within its sensor of "
         "8 x 12, rows in steps of 2 and columns in steps of 4"),
        ("region", (1, 0, 4, 4), "regions (row, column, height, width) of at least 2 x 4 pixels within its sensor of "
         "8 x 12, rows in steps of 2 and columns in steps of 4"),
        ("region", [0, 0, 4], "four whole numbers: row, column, height and width, in pixels of the sensor"),
        ("region", "middle", "four whole numbers: row, column, height and width, in pixels of the sensor"),
        ("gain", 25, "numbers of 0 to 24 in dB"),
        ("gain", float("nan"), "numbers of 0 to 24 in dB"),
        ("gain", True, "numbers of 0 to 24 in dB"),
        ("binning", 3, "1 or 2"),
        ("Fan Speed", "off", "'low' or 'high'"),
        ("Cooling", 1, "True or False"),
        ("Note", 3, "a text"),
        ("trigger_mode", "free", "'plan' or 'internal' or 'software' or 'edge' or 'level'"),
    ],
)  # fmt: skip
def test_what_a_setting_cannot_be(name: str, value: Any, possible: str) -> None:
    camera = Camera(PulsedSource(), name="pulsed")
    before = get(camera.settings[name])
    assert refusal(Scans(), bps.mv(camera.settings[name], value)) == (
        f"Camera pulsed was asked for {name} {value!r}; it takes {possible}. Set {name} to one of these."
    )
    assert np.array_equal(get(camera.settings[name]), before)


@pytest.mark.parametrize(
    ("setting", "value", "possible"),
    [
        (IntegerSetting(name="n", value=4, lowest=4, step=4), 6, "4 + n · 4"),
        (IntegerSetting(name="n", value=4), 1.5, "whole numbers"),
        (IntegerSetting(name="n", value=4, highest=9), 10, "whole numbers of 9 or less"),
        (NumberSetting(name="n", value=4), "4", "numbers"),
    ],
)
def test_limits_that_are_half_open(setting: Any, value: Any, possible: str) -> None:
    with pytest.raises(CameraError) as caught:
        setting.checked("c", value)
    assert f"it takes {possible}. Set n to one of these." in str(caught.value)
    assert setting.checked("c", 8) == 8


def test_settings_come_to_the_source_with_the_request_and_into_the_descriptor() -> None:
    source, scans = PulsedSource(), Scans()
    camera = Camera(source, exposure=0.0, name="pulsed")
    fan = camera.vendor["Fan Speed"]
    scans.RE(bps.mv(camera.region, (2, 4, 4, 8), camera.gain, 7, fan, "high"))
    assert not source.prepared
    assert camera.frame_shape == (4, 8)
    scans.RE(fly(camera, FrameRequest(3, "frames")))
    _, settings = source.prepared[-1]
    assert settings.region == Region(2, 4, 4, 8)
    assert (settings.number("gain"), settings.values["Fan Speed"]) == (7.0, "high")
    assert settings.values["Cooling"] is True
    (descriptor,) = scans.find("descriptor")
    told = descriptor["configuration"]["pulsed"]["data"]
    assert list(told["pulsed-region"]) == [2, 4, 4, 8]
    assert (told["pulsed-gain"], told["pulsed-vendor-Fan Speed"]) == (7.0, "high")
    assert descriptor["data_keys"]["pulsed"]["shape"] == [1, 4, 8]
    assert descriptor["configuration"]["pulsed"]["data_keys"]["pulsed-gain"]["units"] == "dB"


def test_what_the_camera_cannot_any_more_is_refused_at_the_request() -> None:
    source, scans = PulsedSource(), Scans()
    camera = Camera(source, exposure=0.0, name="pulsed")
    scans.RE(bps.mv(camera.gain, 20))
    source.described = tuple(
        setting.model_copy(update={"highest": 12.0}) if setting.name == "gain" else setting
        for setting in source.described
    )
    assert "asked for gain 20.0; it takes numbers of 0 to 12 in dB" in refusal(
        scans, fly(camera, FrameRequest(1))
    )
    scans.RE(bps.mv(camera.gain, 2))
    scans.RE(bps.mv(camera.exposure, 0.7))
    assert "asked for exposure 0.7; it takes numbers of 0 to 0.5 in s" in refusal(
        scans, fly(camera, FrameRequest(1))
    )
    scans.RE(bps.mv(camera.exposure, 0.0, camera.frame_rate, 6000))
    assert "asked for frame_rate 6000.0; it takes numbers of 5000 or less in Hz" in refusal(
        scans, fly(camera, FrameRequest(1))
    )
    assert not source.prepared


def test_a_setting_that_the_camera_does_not_have() -> None:
    camera = Camera(PulsedSource(NumberSetting(name="gain", value=1)), name="pulsed")
    with pytest.raises(CameraError) as caught:
        _ = camera.bit_depth
    assert str(caught.value) == (
        "Camera pulsed was asked for its setting bit_depth; it has exposure, frame_rate, gain. Use one of these, or set "
        "it with the camera's own software."
    )
    assert not hasattr(camera, "region")
    with pytest.raises(AttributeError, match="'Camera' object has no attribute 'regoin'"):
        _ = camera.regoin  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ((NumberSetting(name="a", value=1), TextSetting(name="a", value="")), "describes the settings a, a"),
        ((NumberSetting(name="region", value=1),), "describes its setting region as NumberSetting. Make it a RegionS"),
        ((ChoiceSetting(name="mirror", value="x", choices=("x", "none")),), "setting mirror with x. Choose from both"),
        ((IntegerSetting(name="rotate", value=0, choices=(0, 45)),), "setting rotate with (0, 45). Choose from 0, 90"),
    ],
)  # fmt: skip
def test_descriptions_that_mean_nothing(described: Any, message: str) -> None:
    with pytest.raises(CameraError) as caught:
        Camera(PulsedSource(*described))
    assert message in str(caught.value)


def test_nothing_is_set_while_frames_are_taken() -> None:
    scans = Scans()
    camera = Camera(PulsedSource(), exposure=0.0, name="pulsed")

    def plan() -> MsgGenerator[None]:
        yield from bps.prepare(camera, FrameRequest(2, "frames", trigger="software"), wait=True)
        yield from bps.trigger(camera, wait=True)
        try:
            yield from bps.mv(camera.gain, 2)
        finally:
            yield from bps.unstage(camera, wait=True)

    assert "asked to set gain while it takes frames. Wait until" in refusal(scans, plan())


@pytest.mark.parametrize(
    ("asked", "mode", "given"),
    [
        ("internal", "plan", "internal"),
        ("internal", "internal", "internal"),
        ("internal", "edge", "edge"),
        ("internal", "level", "level"),
        ("edge", "plan", "edge"),
        ("edge", "level", "level"),
        ("software", "software", "software"),
    ],
)
def test_the_trigger_mode_decides_what_a_plan_leaves_open(
    asked: Any, mode: str, given: str
) -> None:
    source, scans = PulsedSource(), Scans()
    camera = Camera(source, exposure=0.0, name="pulsed")
    scans.RE(bps.mv(camera.trigger_mode, mode))
    asyncio.run(camera.check_request(FrameRequest(2, trigger=asked)))
    assert source.prepared[-1][0].trigger == given


@pytest.mark.parametrize(
    ("asked", "mode"), [("software", "edge"), ("edge", "internal"), ("software", "internal")]
)
def test_a_trigger_mode_that_does_not_fit_the_plan(asked: Any, mode: str) -> None:
    source, scans = PulsedSource(), Scans()
    camera = Camera(source, exposure=0.0, name="pulsed")
    scans.RE(bps.mv(camera.trigger_mode, mode))
    assert refusal(scans, fly(camera, FrameRequest(2, "frames", trigger=asked))) == (
        f"Camera pulsed was asked for frames by {asked} triggers, and its trigger_mode is {mode!r}. Set trigger_mode "
        "to 'plan', or use a plan in which the camera is triggered so."
    )
    assert not source.prepared


def test_a_camera_that_waits_for_pulses_of_somebody_elses_is_not_waited_for_without_end() -> None:
    scans = Scans()
    camera = Camera(PulsedSource(), exposure=0.0, frame_timeout_s=0.3, name="pulsed")
    scans.RE(bps.mv(camera.trigger_mode, "edge"))
    said = refusal(scans, fly(camera, FrameRequest(2, "frames")))
    assert "was to get pulses at its input and gave no frame for" in said
    assert "Check that somebody gives them" in said


def test_a_source_without_settings_is_as_before() -> None:
    camera = make_camera()
    assert camera.settings
    plain = Camera(Plain(), name="plain")
    assert list(plain.settings) == ["exposure", "frame_rate"]
    assert not plain.vendor
    scans = Scans()
    scans.RE(fly(plain, FrameRequest(2, "frames")))
    (descriptor,) = scans.find("descriptor")
    assert set(descriptor["configuration"]["plain"]["data"]) == {
        "plain-exposure", "plain-frame_rate", "plain-pixel_size", "plain-frames", "plain-first_number",
    }  # fmt: skip


class Plain(PulsedSource):
    """A source that describes nothing."""

    settings = None  # type: ignore[assignment]


class Hasty(PulsedSource):
    """A source that exposes when it is prepared, and not when it is started."""

    settings = None  # type: ignore[assignment]

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        super().prepare(request, settings)
        self._prepared_ns = time.time_ns()
        self._number = 0

    def start(self) -> None:
        """Go on."""

    def grab(self, out: NDArray[Any]) -> Grab:
        self._number += 1
        return Grab(np.array([self._prepared_ns + self._number]), np.array([self._number - 1]))


def test_the_contract_finds_a_source_that_exposes_when_it_is_prepared() -> None:
    with pytest.raises(AssertionError, match="it was exposed before start"):
        FrameSourceContract().test_preparing_again_is_harmless_and_exposes_nothing(Hasty())


def cells(image: NDArray[Any], by: int) -> NDArray[Any]:
    """Bin an image pixel by pixel."""
    height, width = image.shape[0] // by, image.shape[1] // by
    made = np.empty((height, width), image.dtype)
    for row in range(height):
        for column in range(width):
            block = image[row * by : (row + 1) * by, column * by : (column + 1) * by]
            made[row, column] = np.rint(block.astype(float).mean())
    return made


def last(session: Session) -> Run:
    """Return the run that was taken last."""
    return open_run(max(session.directory.glob("scan_*")))


def seen(session: Session, camera: Any, b: SimulatedBeamline) -> tuple[Any, NDArray[Any]]:
    session.RE(images(camera, b))
    run = last(session)
    return run, run.frames("projections")[:]


def alike(one: NDArray[Any], other: NDArray[Any], within: int = 8) -> bool:
    """Whether images taken one after the other show the same: the ring's current sinks meanwhile, by a count or so."""
    assert one.shape == other.shape
    return bool(np.abs(one.astype(int) - other).max() <= within < np.ptp(one) / 4)


def test_the_simulated_camera_has_what_it_is_set_to(tmp_path: Path) -> None:
    b = SimulatedBeamline(shape=(24, 32), exposure=0.002, frame_rate=200.0, noise=False)
    camera = b.camera
    with open_session(tmp_path, progress=False) as session:
        session.subscribe(ImageWriter())
        _, (whole, *_) = seen(session, camera, b)
        session.RE(bps.mv(camera.region, (4, 8, 16, 20)))
        run, (part, *_) = seen(session, camera, b)
        assert alike(part, whole[4:20, 8:28])
        assert run.start["frame_shape"] == [16, 20]
        assert run["projections"].configuration["camera-region"] == [4, 8, 16, 20]
        session.RE(bps.mv(camera.binning, 2))
        run, (binned, *_) = seen(session, camera, b)
        assert alike(binned, cells(part, 2))
        assert run.start["tomo"]["pixel_size_um"] == 10.0
        assert run["projections"].configuration["camera-pixel_size"] == 10.0
        session.RE(bps.mv(camera.mirror, "horizontal", camera.rotate, 90))
        run, (turned, *_) = seen(session, camera, b)
        # Counter-clockwise: the right edge of the mirrored image, the left one of the sensor's, comes to the top.
        assert alike(turned[0], binned[:, 0])
        assert turned.shape == (10, 8)
        session.RE(bps.mv(camera.mirror, "vertical", camera.rotate, 0, camera.bit_depth, 8))
        run, (coarse, *_) = seen(session, camera, b)
        assert coarse.dtype == np.uint8
        assert alike(coarse, binned[::-1] >> 8, 1)
        assert run.start["frame_bytes"] == 80


def test_a_directory_of_tiffs_has_a_region(tmp_path: Path) -> None:
    stack = np.random.default_rng(3).integers(0, 4000, (6, 10, 14)).astype(np.uint16)
    for index, frame in enumerate(stack):
        tifffile.imwrite(tmp_path / f"frame_{index}.tif", frame)
    camera, scans = FileCamera(projections=tmp_path), Scans()
    b = SimulatedBeamline(shape=(8, 8))
    scans.RE(bps.mv(camera.region, (2, 3, 6, 8), camera.mirror, "both"))
    with open_session(tmp_path / "data", progress=False) as session:
        session.subscribe(ImageWriter())
        _, found = seen(session, camera, b)
        assert np.array_equal(found, stack[:3, 2:8, 3:11][:, ::-1, ::-1])
        assert "within its sensor of 10 x 14. Set" in refusal(
            scans, bps.mv(camera.region, (0, 0, 11, 14))
        )


def test_the_reconstruction_follows_the_binning(tmp_path: Path) -> None:
    b = SimulatedBeamline(shape=(16, 64), exposure=0.002, frame_rate=200.0, noise=False)

    def taken(session: Session) -> Any:
        session.RE(
            step_tomography(
                b.camera,
                b.rotation,
                b.beam,
                b.sample_stage,
                radio_position="0 mm",
                flat_position="1 cm",
                angular_range="180 deg",
                num_darks=1,
                num_flats=1,
                num_projections=24,
            )
        )
        return last(session)

    from concertino.batch import reconstruct_run
    from concertino.reconstruction import ReconstructionSettings

    slices = []
    with open_session(tmp_path, progress=False) as session:
        session.subscribe(ImageWriter())
        for binning, row in ((1, 8), (2, 4)):
            session.RE(bps.mv(b.camera.binning, binning))
            settings = ReconstructionSettings(
                center=(b.twin.rotation_axis_px + 0.5) / binning - 0.5, slices=(row, row + 1, 1)
            )
            made = reconstruct_run(taken(session), settings)
            run = open_run(made.directory)
            slices.append(run)
    pixels = [run["slices"].configuration["slices-detector_pixel_um"] for run in slices]
    assert pixels == [5.0, 10.0]
    # What is attenuated by a pixel: twice as much of it when it is twice as wide.
    fine, coarse = (run.frames("slices")[0].astype(float) for run in slices)
    middle = fine[16:48, 16:48].mean(), coarse[8:24, 8:24].mean()
    assert middle[0] / 5.0 == pytest.approx(middle[1] / 10.0, rel=0.1)
