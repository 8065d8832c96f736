"""Energy, pixel size and distances come into the ``tomo`` block by themselves, or are refused."""

from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import Msg, RunEngine
from ophyd_async.core import soft_signal_rw

from concertino import ConcertinoError, ParameterError
from concertino.callbacks import ImageWriter
from concertino.devices import (
    DetectorStage,
    LensChanger,
    Monochromator,
    SignalBeam,
    SimulatedBeamline,
    TubeSettings,
)
from concertino.plans import (
    continuous_spiral_tomography,
    grating_stepping,
    passed_on,
    preflight,
    radiography,
    resume,
    step_tomography,
    with_optics,
)
from concertino.session import open_session
from concertino.viewers._progress import RunProgress

PLACES: dict[str, Any] = {"radio_position": 0, "flat_position": 10}
FEW: dict[str, Any] = {**PLACES, "num_darks": 2, "num_flats": 2, "num_projections": 3}


def beamline(**given: Any) -> SimulatedBeamline:
    return SimulatedBeamline(shape=(8, 16), exposure=0.002, **given)


def start_of(plan: Any, RE: Any = None) -> dict[str, Any]:
    starts: list[dict[str, Any]] = []
    engine = RE or RunEngine({})
    token = engine.subscribe(lambda _, document: starts.append(document), "start")
    engine(plan)
    engine.unsubscribe(token)
    return starts[0]


def scan(b: SimulatedBeamline, **given: Any) -> Any:
    beam = given.pop("beam", b.beam)
    return step_tomography(b.camera, b.rotation, beam, b.sample_stage, **{**FEW, **given})


def test_a_run_knows_its_energy_pixel_and_distances() -> None:
    b = beamline()
    detail = b.add_camera("detail", shape=(8, 16), pixel_size_um=4.0)
    plan = step_tomography([b.camera, detail], b.rotation, b.beam, b.sample_stage, **FEW)
    start = start_of(
        with_optics(
            plan,
            Monochromator(energy=soft_signal_rw(float, 19.987, units="keV", name="e")),
            LensChanger(magnification=10, camera="camera"),
            LensChanger(magnification="4", camera="detail", name="second_lens"),
            DetectorStage(distance="25 cm"),
        )
    )
    tomo = start["tomo"]
    assert tomo["energy_kev"] == 19.987
    assert tomo["propagation_distance_mm"] == 250
    # The detectors' pixels of 5 um and 4 um over the magnification.
    assert tomo["pixel_size_um"] == pytest.approx(0.5)
    assert tomo["more_cameras"]["detail"]["pixel_size_um"] == pytest.approx(1.0)
    assert RunProgress.begin(start).summary()["optics"] == "19.987 keV, 0.5 µm, 250 mm"


def test_binning_counts_and_a_cone_magnifies() -> None:
    b = beamline(source="tube")
    RE = RunEngine({})
    RE(_set(b.camera.binning, 2))
    optics = [DetectorStage(distance="300 mm", source_distance="0.1 m"), Monochromator(energy=40)]
    tomo = start_of(with_optics(scan(b), *optics), RE)["tomo"]
    assert tomo["source_kind"] == "tube"
    assert tomo["source_distance_mm"] == 100
    assert tomo["pixel_size_um"] == pytest.approx(2 * 5.0 / 4)


def _set(signal: Any, value: Any) -> Any:
    yield from bps.mv(signal, value)


@pytest.mark.parametrize(
    ("md", "field", "value"),
    [
        ({"energy": "20 keV"}, "energy_kev", 20),
        ({"wavelength": "1 angstrom"}, "energy_kev", 12.398419843),
        ({"propagation_distance": {"value": 8, "unit": "cm"}}, "propagation_distance_mm", 80),
        ({"propagation_distance_mm": 81}, "propagation_distance_mm", 81),
        ({"source_distance": "40 m"}, "source_distance_mm", 40_000),
        ({"pixel_size": "5.02 um"}, "pixel_size_um", 5.0),  # the camera's own is as good
    ],
)
def test_metadata_tell_it_too(md: dict[str, Any], field: str, value: float) -> None:
    assert start_of(scan(beamline(), md=md))["tomo"][field] == pytest.approx(value, rel=1e-9)


DIFFERENT: dict[str, tuple[dict[str, Any], list[Any], str]] = {
    "energy": (
        {"energy": "21 keV"}, [Monochromator(energy=20)],
        "energy: monochromator tells 20 keV, the metadata 'energy' tells 21 keV. These differ",
    ),
    "devices": (
        {}, [DetectorStage(distance=100), DetectorStage(distance=120, name="other")],
        "propagation_distance: detector_stage tells 100 mm, other tells 120 mm",
    ),
    "pixel": (
        {"pixel_size": "1 um"}, [LensChanger(magnification=10)],
        "pixel_size: camera with 5 um, magnified 10 times tells 0.5 um, the metadata 'pixel_size' tells 1 um",
    ),
    "eV": ({}, [Monochromator(energy=20000)], "monochromator tells 20000 keV, which is no energy"),
    "unit": ({"energy": "20 mm"}, [], "md: energy: an energy in keV is wanted"),
    "power": (
        {}, [TubeSettings(voltage=100, current=2000, power_limit=150)],
        "tube_settings is set to 100 kV and 2000 uA",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", DIFFERENT)
def test_what_is_told_differently_is_refused_before_anything_moves(which: str) -> None:
    md, devices, said = DIFFERENT[which]
    b, RE = beamline(), RunEngine({})
    done: list[str] = []
    RE.msg_hook = lambda message: done.append(message.command)  # type: ignore[assignment]
    with pytest.raises(ConcertinoError) as error:
        RE(with_optics(scan(b, md=md), *devices))
    assert said in str(error.value)
    assert not {"set", "open_run", "stage", "trigger"} & set(done)
    with pytest.raises(ConcertinoError):
        preflight(with_optics(scan(b, md=md), *devices))


def test_what_a_plan_tells_must_agree() -> None:
    b = beamline()
    plan = grating_stepping(
        b.camera, b.grating_stage, b.beam, b.sample_stage, **PLACES, num_darks=2,
        grating_period="2.4 um", stepping_start_position=0, propagation_distance="20 cm",
    )  # fmt: skip
    with pytest.raises(ParameterError, match=r"stage tells 150 mm, the plan tells 200 mm"):
        RunEngine({})(with_optics(plan, DetectorStage(distance=150)))


def test_a_session_tells_all_its_scans(tmp_path: Path) -> None:
    b, energy = beamline(), soft_signal_rw(float, 20.0, units="keV", name="energy")
    mono = Monochromator(energy=energy)
    with open_session(
        tmp_path, progress=False, catalog=False, md={"wavelength": "0.62 angstrom"}
    ) as session:
        session.optics.add(mono, DetectorStage(distance=100))
        session.optics.add(mono)  # once
        beam = SignalBeam(b.beam, on="open", off="closed", source_kind="synchrotron")
        start = start_of(scan(b, beam=beam), session.RE)
        assert (start["tomo"]["energy_kev"], start["tomo"]["source_kind"]) == (20, "synchrotron")
        baseline = {}
        session.RE.subscribe(lambda _, event: baseline.update(event["data"]), "event")
        session.RE(_set(energy, 20.001))
        session.RE(radiography(b.camera, b.beam, b.sample_stage, **FEW))
        assert baseline["monochromator-energy"] == 20.001
        assert baseline["monochromator-energy-setpoint"] == 20.001
        session.RE(_set(energy, 21.0))
        with pytest.raises(ParameterError, match=r"20 keV|19\.99"):
            session.RE(scan(b))
        with pytest.raises(ParameterError, match="'camera' tells neither energy nor magnification"):
            session.optics.add("camera")  # type: ignore[arg-type]
        session.optics.remove(mono)
        assert start_of(scan(b), session.RE)["tomo"]["energy_kev"] == pytest.approx(
            19.997, rel=1e-4
        )


def test_a_scan_goes_on_with_an_energy_that_is_read_a_little_differently(tmp_path: Path) -> None:
    b, energy = beamline(), soft_signal_rw(float, 20.0, units="keV", name="energy")
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.optics.add(Monochromator(energy=energy))
        with pytest.raises(RuntimeError, match="broke off"):
            session.RE(passed_on(scan(b), _breaks_off))
        session.RE(_set(energy, 20.002))
        session.RE(
            resume("scan_0001", b.camera, b.beam, b.sample_stage, b.rotation, root=str(tmp_path))
        )


def _breaks_off(message: Msg) -> Any:
    if message.command == "create" and message.kwargs["name"] == "projections":
        raise RuntimeError("it broke off")


def test_blur_is_by_the_pixel_in_the_plane_of_the_sample() -> None:
    b = beamline()

    def figures(*optics: Any) -> float:
        plan = continuous_spiral_tomography(
            b.camera, b.rotation, b.vertical_stage, b.beam, b.sample_stage, **FEW,
            start_position_vertical=0, vertical_shift_per_tomogram="0.1 mm", sample_height="0.1 mm",
            angular_range="0.001 deg",
        )  # fmt: skip
        return preflight(with_optics(plan, *optics)).streams[-1].blur_px

    assert figures(LensChanger(magnification=10)) == pytest.approx(10 * figures(), rel=0.01)
