"""What only some GenICam cameras have: packed pixels, a clock, pulses, exposures as long as these.

The fake camera is given a description in which registers that it has bear the names of such features: it draws the same
pixels and counts the same pulses, and all between its socket and the frames is real.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import CameraError
from concertino.devices import (
    Camera,
    CameraSettings,
    GenicamSource,
    IntegerSetting,
    Region,
    trigger_mode,
)
from concertino.devices.vendors._packed_pixels import PACKINGS
from concertino.frames import FrameRequest
from tests.patience import patience

from .fake_gige import ADDRESS, description, fake_gige
from .needed import need

pytestmark = pytest.mark.disturbed_by_load(
    "the fake camera draws its frames and answers in one thread, and is lost when that gets no processor"
)

REGION = Region(0, 0, 24, 40)
END = "</RegisterDescription>"


def register(name: str, address: int, length: int = 4) -> str:
    """Return a whole number at some bytes of the camera's memory."""
    return (
        f'<IntReg Name="{name}"><Address>{address}</Address><Length>{length}</Length><AccessMode>RW</AccessMode>'
        "<pPort>Device</pPort><Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg>"
    )


@contextmanager
def camera(folder: Path, changed: Mapping[str, str], **options: Any) -> Iterator[GenicamSource]:
    """Run the fake camera with another description, and open it."""
    need("genicam")
    said, told = description(), folder / "camera.xml"
    for old, new in changed.items():
        assert old in said
        said = said.replace(old, new)
    told.write_text(said)
    with fake_gige("-g", str(told)):
        source = GenicamSource(ADDRESS, **options)
        try:
            yield source
        finally:
            source.close()


def take(source: GenicamSource, count: int, **values: Any) -> NDArray[Any]:
    """Take frames at the camera's own pace."""
    source.prepare(FrameRequest(count), CameraSettings(0.01, 50.0, {"region": REGION, **values}))
    source.start()
    frames = np.empty((count, *source.shape), source.dtype)
    done = 0
    left = patience()
    while left() and done < count:
        done += len(source.grab(frames[done:]).numbers)
    source.stop()
    return frames


def packed(pixels: NDArray[np.uint16], name: str) -> bytes:
    """Pack pixels as the formats are described: written bit by bit."""
    bits, values = int(name[4:6]), [int(pixel) for pixel in pixels]
    if name.endswith("p"):
        whole = sum(value << bits * place for place, value in enumerate(values))
        return whole.to_bytes(-(-len(values) * bits // 8), "little")
    low = bits - 8
    found = b""
    for one, other in zip(values[::2], [*values[1::2], 0], strict=False):
        rest = one % 2**low + (other % 2**low << 4)
        found += bytes([one >> low, rest, other >> low])
    return found


@pytest.mark.parametrize("name", PACKINGS)
@pytest.mark.parametrize("count", [1, 3, 4, 61])
def test_packed_pixels_are_what_was_packed(name: str, count: int) -> None:
    bits = PACKINGS[name].bits
    pixels = np.random.default_rng(count).integers(0, 2**bits, count).astype(np.uint16)
    data = np.frombuffer(packed(pixels, name), np.uint8)
    assert PACKINGS[name].nbytes(count) == len(data)
    np.testing.assert_array_equal(PACKINGS[name].unpacked(data, count), pixels)


@pytest.mark.parametrize("name", ["Mono12", "Mono10p", "Mono12p", "Mono12Packed"])
def test_formats_of_10_and_12_bits(tmp_path: Path, name: str) -> None:
    # The camera sends its ramp of 16 bit, and says that it is of this format.
    with camera(tmp_path, {'Name="Mono16"': f'Name="{name}"'}) as source:
        bits = int(name[4:6])
        (depth,) = [each for each in source.settings() if each.name == "bit_depth"]
        assert isinstance(depth, IntegerSetting)
        assert depth.choices == (8, bits)
        frame = take(source, 1, bit_depth=bits)[0]
        (now,) = [each.value for each in source.settings() if each.name == "bit_depth"]
    assert (frame.dtype, now) == (np.uint16, bits)
    sent = frame.tobytes() if name == "Mono12" else packed(frame.ravel(), name)
    lines = len(sent) // (2 * REGION.width)
    ramp = np.frombuffer(sent, "<u2")[: lines * REGION.width].reshape(lines, REGION.width)
    # It rises by one along both axes, in the upper byte, until it begins again.
    np.testing.assert_array_equal(ramp[1:, :-1], ramp[:-1, 1:])
    assert np.mean(np.diff(ramp.astype(int), axis=1) == 256) > 0.9


def test_pulses_at_its_input_make_one_frame_each(tmp_path: Path) -> None:
    # Its software trigger is the pulse at the line of this description.
    line = {'Name="Line0"': 'Name="Line9"', 'Name="Software"': 'Name="Line0"'}
    with camera(tmp_path, line, line="Line0") as source:
        source.prepare(
            FrameRequest(3, trigger="edge"), CameraSettings(0.001, 0.0, {"region": REGION})
        )
        source.start()
        out = np.empty((4, *source.shape), source.dtype)
        for number in range(3):
            source._device.do("software_trigger")
            grab = source.grab(out)
            assert (grab.numbers.tolist(), grab.dropped) == ([number], ())
        source.stop()


def test_exposures_last_as_long_as_pulses(tmp_path: Path) -> None:
    mode = (
        '<Enumeration Name="ExposureMode"><EnumEntry Name="Timed"><Value>0</Value></EnumEntry>'
        '<EnumEntry Name="TriggerWidth"><Value>1</Value></EnumEntry><pValue>ExposureModeRegister</pValue>'
        f"</Enumeration>{register('ExposureModeRegister', 0x3F0)}"
    )
    settings = CameraSettings(0.001, 0.0, {"region": REGION})
    with camera(tmp_path, {END: mode + END}, features=["ExposureMode"]) as source:
        modes = [each for each in source.settings() if each.name == "trigger_mode"]
        assert modes == [trigger_mode(("internal", "software", "edge", "level"))]

        def exposed() -> object:
            return next(each.value for each in source.settings() if each.name == "ExposureMode")

        source.prepare(FrameRequest(1, trigger="level"), settings)
        assert exposed() == "TriggerWidth"
        source.prepare(FrameRequest(1), settings)
        assert exposed() == "Timed"
        assert len(take(source, 2)) == 2


def test_a_camera_without_is_asked_for_no_level(tmp_path: Path) -> None:
    with camera(tmp_path, {}) as source:
        (mode,) = [each for each in source.settings() if each.name == "trigger_mode"]
        assert mode == trigger_mode(("internal", "software", "edge"))
        with pytest.raises(CameraError, match=r"its ExposureMode has no TriggerWidth\. Use"):
            source.prepare(FrameRequest(1, trigger="level"), CameraSettings(0.001, 0.0))


@pytest.mark.parametrize(
    ("stamp", "half", "latch", "value"),
    [
        ("begin", 0.5, "TimestampLatch", "TimestampLatchValue"),
        ("end", -0.5, "GevTimestampControlLatch", "GevTimestampValue"),
    ],
)
def test_times_are_by_its_clock_if_that_can_be_read(
    tmp_path: Path, stamp: Literal["begin", "end"], half: float, latch: str, value: str
) -> None:
    clock = (
        f'<Command Name="{latch}"><pValue>LatchRegister</pValue><CommandValue>1</CommandValue></Command>'
        f'<Integer Name="{value}"><pValue>LatchedRegister</pValue></Integer>'
        f"{register('LatchRegister', 0x3F0)}{register('LatchedRegister', 0x3F8, 8)}"
    )
    with camera(tmp_path, {END: clock + END}, stamp=stamp) as source:
        shown_ns = 1_700_000_000_123_456_789
        source._device.do("set_integer", value.encode(), shown_ns)
        assert source.clock() == pytest.approx(shown_ns * 1e-9, abs=1e-6)
        assert source._device.aravis.ask(
            "arv_camera_get_integer", source._device.camera, b"LatchRegister"
        )
        # Its stamps are when it made a frame, by the computer's clock, on which it runs.
        begun = time.time()
        source.prepare(FrameRequest(1), CameraSettings(2.0, 50.0, {"region": REGION}))
        source.start()
        (stamped_ns,) = source.grab(np.empty((1, *source.shape), source.dtype)).timestamps
        source.stop()
        assert begun <= stamped_ns * 1e-9 - half * 2.0 <= time.time()


RATE = '<Float Name="AcquisitionFrameRate">'
RATE_BY_EXPOSURE = {
    f"{RATE}\n\t  <pValue>AcquisitionFrameRateConverter</pValue>": f"{RATE}<pValue>AcquisitionFrameRateConverter</pValue>"
    "<pMax>FastestByExposure</pMax>",
    END: '<SwissKnife Name="FastestByExposure"><pVariable Name="E">ExposureTimeAbs</pVariable>'
    f"<Formula>1000000 / E</Formula></SwissKnife>{END}",
}


def test_a_frame_rate_is_judged_by_the_exposure_that_is_asked_with_it(tmp_path: Path) -> None:
    with camera(tmp_path, RATE_BY_EXPOSURE) as source:
        source.prepare(FrameRequest(1), CameraSettings(0.5, 0.0, {"region": REGION}))
        device = Camera(source, exposure=0.004, frame_rate=100.0)
        # By the exposure of before, 2 Hz was the most.
        asyncio.run(device.check_request(FrameRequest(1)))
        rate = source._device.aravis.ask(
            "arv_camera_get_float", source._device.camera, b"AcquisitionFrameRate"
        )
        assert rate == pytest.approx(100.0)
        with pytest.raises(CameraError, match=r"frame rate of 300 Hz; it takes .* to 250 Hz"):
            source.prepare(FrameRequest(1), CameraSettings(0.004, 300.0))
