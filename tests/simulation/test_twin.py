import math
import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.simulation import Beam, BeamlineState, Detector, Phantom, Twin, shepp_logan_3d

SHAPE = (96, 128)
PIXEL = 0.02
HEAD = shepp_logan_3d(1.1, 1.5)
#: A beam and a detector without any unevenness: all that is left is physics.
FLAT = Beam(flux=1e6, vertical_width=1e6, horizontal_width=1e6, stripes=0, drift=0, wander_px=0)
EVEN = Detector(SHAPE, PIXEL).even()
FAR = (10.0, 0.0)


def frame(
    twin: Twin, state: BeamlineState, exposure: float = 0.01, index: int = 0
) -> NDArray[np.uint16]:
    out = np.empty(twin.shape, np.uint16)
    twin.expose(state, exposure, out, index)
    return out


def frames(
    twin: Twin, state: BeamlineState, count: int, exposure: float = 0.01
) -> NDArray[np.float64]:
    return np.stack([frame(twin, state, exposure, index) for index in range(count)]).astype(float)


def test_beer_lambert_is_recovered() -> None:
    twin = Twin(HEAD, Beam(), Detector(SHAPE, PIXEL, ring_pixels=0), noise=False)
    dark = twin.expectation(BeamlineState(beam_on=0), 0.01)
    flat = twin.expectation(BeamlineState(sample_offset_mm=FAR), 0.01)
    radio = twin.expectation(BeamlineState(angle_start_rad=0.6), 0.01)
    truth = HEAD.projection(0.6, SHAPE, PIXEL)
    np.testing.assert_allclose(-np.log((radio - dark) / (flat - dark)), truth, atol=1e-4)
    assert truth.max() > 0.8


@pytest.mark.parametrize("depth", [0.1, 1.0, 3.0, 6.0, 10.0])
def test_transmission_is_an_exponential(depth: float) -> None:
    head = HEAD.scaled(attenuation=depth / 1.5)
    twin = Twin(head, FLAT, replace(EVEN, offset=0, dark_current=0, full_well=1e9))
    expected = np.exp(-head.projection(0.2, SHAPE, PIXEL).astype(float))
    counts = twin.expectation(BeamlineState(angle_start_rad=0.2), 0.01)
    np.testing.assert_allclose(counts, 1e4 * expected, rtol=3e-5)


def test_noise_off_is_the_rounded_expectation() -> None:
    twin = Twin(HEAD, noise=False, detector=Detector(SHAPE, PIXEL))
    state = BeamlineState(time_s=3.0, angle_start_rad=0.1, angle_end_rad=0.15)
    np.testing.assert_array_equal(
        frame(twin, state), np.floor(twin.expectation(state, 0.01) + 0.5).astype(np.uint16)
    )


def test_noise_has_the_mean_and_the_variance_of_photon_transfer() -> None:
    gain, read = 0.5, 6.0
    detector = replace(EVEN, gain=gain, read_noise=read)
    twin = Twin(Phantom(()), FLAT, detector, seed=4)
    for flux_s in (0.0, 0.0003, 0.003, 0.03):
        stack = frames(twin, BeamlineState(), 60, flux_s)
        electrons = (1e6 + detector.dark_current) * flux_s
        mean = detector.offset + gain * electrons
        variance = gain**2 * (electrons + read**2) + 1 / 12  # and the rounding
        assert stack.mean() == pytest.approx(mean, rel=1e-3)
        assert stack.var(axis=0).mean() * 60 / 59 == pytest.approx(variance, rel=0.01)


def test_noise_is_independent_from_frame_to_frame_and_pixel_to_pixel() -> None:
    stack = frames(Twin(Phantom(()), FLAT, EVEN), BeamlineState(), 200)
    noise = (stack - stack.mean()) / stack.std()
    assert noise.mean(axis=0).std() == pytest.approx(1 / math.sqrt(200), rel=0.02)
    assert abs(np.mean(noise[:, :, 1:] * noise[:, :, :-1])) < 3e-3
    assert abs(np.mean(noise[:, 1:] * noise[:, :-1])) < 3e-3
    assert abs(np.mean(noise[1:] * noise[:-1])) < 3e-3
    assert abs(np.mean(noise**3)) < 0.02
    assert np.mean(noise**4) == pytest.approx(3, abs=0.03)


def test_same_seed_index_and_kind_give_the_same_frame_in_any_order() -> None:
    detector = Detector(SHAPE, PIXEL)
    state = BeamlineState(time_s=1.0, angle_start_rad=0.3)
    forwards = frames(Twin(HEAD, detector=detector, seed=3), state, 5)
    again = Twin(HEAD, detector=detector, seed=3)
    for index in reversed(range(5)):
        np.testing.assert_array_equal(frame(again, state, index=index), forwards[index])
    other = np.empty(SHAPE, np.uint16)
    again.expose(state, 0.01, other, 0, kind="flats")
    assert np.mean(other != forwards[0]) > 0.9
    assert np.mean(frame(Twin(HEAD, detector=detector, seed=9), state) != forwards[0]) > 0.9
    assert np.mean(forwards[0] != forwards[1]) > 0.9


def test_threads_do_not_disturb_one_another() -> None:
    twin = Twin(HEAD, detector=Detector(SHAPE, PIXEL))
    state = BeamlineState(angle_start_rad=0.3, angle_end_rad=0.4)
    expected = frames(twin, state, 40)
    out = np.empty((40, *SHAPE), np.uint16)

    def run(first: int) -> None:
        for index in range(first, 40, 4):
            twin.expose(state, 0.01, out[index], index)

    threads = [threading.Thread(target=run, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(out, expected)


def test_turning_blurs_the_edges_and_keeps_the_axis() -> None:
    twin = Twin(HEAD, FLAT, EVEN, noise=False)
    still = twin.expectation(BeamlineState(angle_start_rad=0.25), 0.01)
    turning = twin.expectation(BeamlineState(angle_start_rad=0.15, angle_end_rad=0.35), 0.01)
    edges = [np.abs(np.diff(image, axis=1)).max() for image in (still, turning)]
    assert edges[1] < 0.75 * edges[0]
    # the blurred frame is the mean of many sharp ones
    many = np.mean(
        [
            twin.expectation(BeamlineState(angle_start_rad=a), 0.01)
            for a in np.linspace(0.15, 0.35, 401)
        ],
        axis=0,
    )
    assert np.abs(turning - many).mean() < 2e-3 * (1e4 - many.min())


def test_only_appreciable_motion_costs_more_poses() -> None:
    twin = Twin(HEAD, FLAT, EVEN)
    assert len(twin.poses(BeamlineState())) == 1
    assert len(twin.poses(BeamlineState(angle_end_rad=0.002))) == 1
    assert len(twin.poses(BeamlineState(angle_end_rad=0.05))) > 1
    assert len(twin.poses(BeamlineState(angle_end_rad=-60.0))) == 64
    sliding = BeamlineState(sample_offset_end_mm=(0.0, 3 * PIXEL))
    poses = twin.poses(sliding)
    assert len(poses) == 6
    assert poses[-1, 2] < poses[0, 2]  # upwards


def test_sample_out_of_the_field_is_a_flat() -> None:
    detector = Detector(SHAPE, PIXEL)
    out = Twin(HEAD, detector=detector).expectation(BeamlineState(sample_offset_mm=FAR), 0.01)
    empty = Twin(Phantom(()), detector=detector).expectation(BeamlineState(), 0.01)
    np.testing.assert_array_equal(out, empty)


def test_half_out_of_the_field_is_half_a_sample() -> None:
    twin = Twin(HEAD, FLAT, EVEN)
    counts = twin.expectation(BeamlineState(sample_offset_mm=(64 * PIXEL, 0)), 0.01)
    truth = HEAD.projection(0, SHAPE, PIXEL, sample_offset_px=(64, 0))
    assert counts[:, :40].min() == counts.max()
    assert (truth[:, 70:] > 0).any()
    np.testing.assert_allclose(-np.log((counts - 100.1) / 1e4), truth, atol=1e-4)


def test_beam_off_is_dark_alone() -> None:
    twin = Twin(HEAD, detector=replace(EVEN, dark_current=300.0))
    stack = frames(twin, BeamlineState(beam_on=0.0), 30, exposure=0.1)
    assert stack.mean() == pytest.approx(100 + 30, abs=0.1)
    assert stack.mean(axis=0).std() < 2
    longer = twin.expectation(BeamlineState(beam_on=0.0), 1.0)
    assert longer.mean() == pytest.approx(100 + 300, rel=1e-3)


def test_light_follows_shutter_current_and_tube() -> None:
    twin = Twin(Phantom(()), FLAT, replace(EVEN, dark_current=0, offset=0))

    def light(state: BeamlineState, exposure: float = 0.01) -> float:
        return float(twin.expectation(state, exposure).mean())

    full = light(BeamlineState())
    assert full == pytest.approx(1e4)
    assert light(BeamlineState(beam_on=0.25)) == pytest.approx(full / 4)
    assert light(BeamlineState(), 0.02) == pytest.approx(2 * full)
    assert light(BeamlineState(ring_current_ma=75.0)) == pytest.approx(full / 2)
    assert light(BeamlineState(tube_current_ma=0.5)) == pytest.approx(full / 2)
    assert light(BeamlineState(tube_voltage_kv=30.0)) == pytest.approx(full / 4)
    assert light(BeamlineState(ring_current_ma=0.0)) == 0


def test_beam_is_uneven_and_drifts() -> None:
    twin = Twin(Phantom(()), Beam(), EVEN)
    begin = twin.expectation(BeamlineState(time_s=0), 0.01)
    assert begin.std() / begin.mean() > 0.05
    later = twin.expectation(BeamlineState(time_s=75.0), 0.01)
    assert later.mean() / begin.mean() == pytest.approx(1.01, abs=2e-3)
    wandering = Twin(Phantom(()), replace(FLAT, stripes=0.1, wander_px=0.5), EVEN)
    ratio = wandering.expectation(BeamlineState(time_s=30), 0.01) / wandering.expectation(
        BeamlineState(time_s=0), 0.01
    )
    assert 0.002 < ratio.std() < 0.05
    assert ratio.mean() == pytest.approx(1, abs=2e-3)


def test_flat_field_correction_leaves_rings_and_nothing_else() -> None:
    """Uneven pixels cancel out; pixels that don't answer linearly stay, as columns of a sinogram."""
    rings = Detector(SHAPE, PIXEL, unevenness=0.05, ring_pixels=0.05, ring_strength=0.3)
    steady = replace(Beam(), drift=0, wander_px=0)

    def error(detector: Detector) -> NDArray[np.float64]:
        twin = Twin(HEAD, steady, detector)
        dark = twin.expectation(BeamlineState(beam_on=0), 0.03)
        flat = twin.expectation(BeamlineState(sample_offset_mm=FAR), 0.03)
        views = []
        for angle in np.linspace(0, 3, 12):
            radio = twin.expectation(BeamlineState(angle_start_rad=angle), 0.03)
            views.append(
                -np.log((radio - dark) / (flat - dark)) - HEAD.projection(angle, SHAPE, PIXEL)
            )
        return np.stack(views).astype(float)

    assert np.abs(error(replace(rings, ring_pixels=0))).max() < 2e-4
    wrong = error(rings)
    inside = wrong[:, 44:52, 30:98]
    assert np.abs(inside).max() > 0.02
    stripes = np.abs(inside.mean(axis=0)) > 0.01
    assert 0.005 < stripes.mean() < 0.1


def test_bright_light_saturates() -> None:
    detector = Detector(SHAPE, PIXEL, full_well=20_000, gain=2.0)
    assert frame(Twin(Phantom(()), FLAT, detector), BeamlineState(), 1.0).max() == 40_100
    twelve = Detector(SHAPE, PIXEL, bit_depth=12)
    assert frame(Twin(Phantom(()), FLAT, twelve), BeamlineState(), 1.0).max() == 4095


def test_axis_off_centre_and_tilted() -> None:
    twin = Twin(HEAD, FLAT, EVEN, axis_offset_px=-7.5, axis_tilt_rad=(0.02, 0.01))
    assert twin.rotation_axis_px == 56.0
    counts = twin.expectation(BeamlineState(angle_start_rad=1.0), 0.01)
    truth = HEAD.projection(1.0, SHAPE, PIXEL, axis_offset_px=-7.5, axis_tilt_rad=(0.02, 0.01))
    np.testing.assert_allclose(-np.log((counts - 100.1) / 1e4), truth, atol=1e-4)
    mirrored = HEAD.projection(1.0 + math.pi, SHAPE, PIXEL, axis_offset_px=-7.5)
    straight = HEAD.projection(1.0, SHAPE, PIXEL, axis_offset_px=-7.5)
    # column c of one is column 2*56 - c of the other
    np.testing.assert_allclose(mirrored[:, 1:112], straight[:, 111:0:-1], atol=1e-4)


def test_supersampling_averages_transmission_in_the_pixel() -> None:
    state = BeamlineState(angle_start_rad=0.4)
    coarse = Twin(HEAD, FLAT, EVEN).expectation(state, 0.01)
    fine = Twin(HEAD, FLAT, EVEN, supersampling=4).expectation(state, 0.01)
    assert 0 < np.abs(fine - coarse).mean() < 40
    assert len(Twin(HEAD, FLAT, EVEN, supersampling=4).poses(state)) == 16


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 1), (7, 5)])
def test_any_shape_of_detector(shape: tuple[int, int]) -> None:
    twin = Twin(HEAD, detector=Detector(shape, PIXEL))
    assert frame(twin, BeamlineState()).shape == shape


def test_frames_may_be_written_into_strided_slots() -> None:
    twin = Twin(HEAD, detector=Detector(SHAPE, PIXEL))
    slots = np.zeros((SHAPE[0], 2 * SHAPE[1]), np.uint16)
    twin.expose(BeamlineState(), 0.01, slots[:, ::2], 0)
    np.testing.assert_array_equal(slots[:, ::2], frame(twin, BeamlineState()))
    assert not slots[:, 1::2].any()


def test_errors() -> None:
    twin = Twin(HEAD, FLAT, EVEN)
    with pytest.raises(
        ParameterError,
        match=r"\(2, 3\) and dtype float64 was given; give one of shape \(96, 128\) and dtype uint16",
    ):
        twin.expose(BeamlineState(), 0.1, np.empty((2, 3)), 0)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"exposure_s: -1.0 was given; give 0 s or more"):
        twin.expectation(BeamlineState(), -1.0)
    with pytest.raises(
        ParameterError, match=r"beam_on: 2.0 was given; give the part of the exposure"
    ):
        BeamlineState(beam_on=2.0)
    with pytest.raises(ParameterError, match=r"nan.*; give finite numbers"):
        BeamlineState(angle_end_rad=math.nan)
    with pytest.raises(ParameterError, match=r"flux: -1 was given; give 0 or more photons/px/s"):
        Beam(flux=-1)
    with pytest.raises(ParameterError, match=r"drift_period_s: 0 was given; give more than 0"):
        Beam(drift_period_s=0)
    with pytest.raises(ParameterError, match=r"shape: \(0, 5\) was given; give \(height, width\)"):
        Detector((0, 5))
    with pytest.raises(ParameterError, match=r"gain: 0 was given; give more than 0"):
        Detector(gain=0)
    with pytest.raises(ParameterError, match=r"read_noise: -1 was given; give 0 or more"):
        Detector(read_noise=-1)
    with pytest.raises(ParameterError, match=r"bit_depth: 20 was given; give 1 to 16 bits"):
        Detector(bit_depth=20)
    with pytest.raises(ParameterError, match=r"seed: -1 was given; give 0 or more"):
        Twin(HEAD, seed=-1)
