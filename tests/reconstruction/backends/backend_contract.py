"""What every back end of the reconstruction must do: the suite that each is put through."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.reconstruction import (
    Backend,
    ReconstructionSettings,
    Reconstructor,
    backends,
    reconstruct,
)
from tests.reconstruction.oracle import (
    WINDOWS,
    Disc,
    disc_found,
    disc_sinogram,
    plain_slice,
    smeared_blobs,
    windowed_blobs,
)
from tests.reconstruction.phantoms import (
    FINE,
    LOPSIDED,
    blobs_at,
    blobs_image,
    blobs_sinogram,
    difference,
    inside,
    shepp_logan_image,
    shepp_logan_sinogram,
)

SIZE, COUNT, CENTER = 128, 180, 62.3
ANGLES = np.arange(COUNT) * np.pi / COUNT
DISC: Disc = (21.3, -17.6, 8.0, 0.02)
BODY: Disc = (0.0, 0.0, 45.0, 0.02)
# as many angles as ever, but not evenly
SHARES = {
    "a half twice as fine": np.r_[np.arange(120) * np.pi / 240, np.pi / 2 + np.arange(60) * np.pi / 120],
    "a few lost": np.sort(np.random.default_rng(1).permutation(190)[:COUNT]) * np.pi / 190,
    "a turn and a half": np.arange(COUNT) * 3 * np.pi / COUNT,
    "golden": np.fmod(np.arange(COUNT) * (np.sqrt(5) - 1) / 2, 1) * np.pi,
}  # fmt: skip


class BackendContract:
    """Tests of filtered back projection, to be inherited for a back end.

    A subclass says its name, as in `ReconstructionSettings.backend`, and may say less of `steps`. All
    tests have one detector width and one number of projections, so that a back end that compiles for
    each size does so once or twice. What is right is known from outside: integrals of discs and Gaussians, and for
    what the detector does not see, sums as the textbooks write them. Nothing of the package has a part in it.

    Attributes
    ----------
    name : str
        Of the back end.
    tolerance : float
        Most root mean square difference from the truth on a smooth object, as a share of the
        object's standard deviation.
    value_tolerance : float
        How far a disc's value may be off, as a share of it.
    steps : tuple of float
        Sizes of image pixels that it has, in detector px.
    """

    name: Literal["cpu", "ufo", "astra"]
    tolerance = 0.01
    value_tolerance = 0.005
    steps: tuple[float, ...] = (1.0, 0.5)

    def settings(self, **values: Any) -> ReconstructionSettings:
        """Return settings that ask for this back end."""
        return ReconstructionSettings(**({"center": CENTER, "backend": self.name} | values))

    def backend(self) -> Backend:
        """Return what `backends` says about it."""
        return next(backend for backend in backends() if backend.name == self.name)

    def slices(self, *sinograms: NDArray[np.float64], **values: Any) -> NDArray[np.float32]:
        """Reconstruct sinograms (angle, column), each a slice."""
        stack = np.stack(sinograms, axis=1).astype(np.float32)
        return reconstruct(stack, ANGLES, settings=self.settings(**values))

    def job(self, rows: int, **values: Any) -> Reconstructor:
        """Return a reconstructor that has got nothing yet."""
        return Reconstructor(
            self.settings(**values), num_projections=COUNT, frame_shape=(rows, SIZE), angles=ANGLES
        )

    def test_it_says_that_it_is_there_and_what_it_computes_on(self) -> None:
        backend = self.backend()
        assert backend.available, backend.reason
        assert backend.devices
        assert "parallel" in backend.geometries

    def test_the_result_says_who_computed_and_why(self) -> None:
        job = self.job(1)
        job.add_projections(np.ones((COUNT, 1, SIZE), np.float32), 0)
        result = job.finish()
        assert result.backend == self.name
        assert result.backend_reason == "asked for by name"

    @pytest.mark.parametrize("center", [63.5, 64.0, 62.3, 71.77])
    def test_a_lopsided_object_lies_where_it_should(self, center: float) -> None:
        """No flip, no turn, and no shift by half a pixel, wherever the axis is."""
        lines = blobs_sinogram(SIZE, ANGLES, center)
        volume = self.slices(lines, center=center)
        assert volume.shape == (1, SIZE, SIZE)
        assert volume.dtype == np.float32
        truth = blobs_image(SIZE)
        assert difference(volume[0], truth, 0.85) < self.tolerance
        moved = blobs_at(*_points(0.5, 0.0), SIZE)
        assert difference(volume[0], moved) > 5 * self.tolerance, "the object is too blunt to tell"

    @pytest.mark.parametrize("angles", SHARES.values(), ids=SHARES.keys())
    def test_each_projection_counts_for_its_share(self, angles: NDArray[np.float64]) -> None:
        lines = disc_sinogram(SIZE, angles, CENTER, [DISC, BODY])[:, None].astype(np.float32)
        image = reconstruct(lines, angles, settings=self.settings())[0]
        value, x, y = disc_found(image - BODY[3], *DISC[:3])
        assert value == pytest.approx(DISC[3], rel=self.value_tolerance)
        assert (x, y) == pytest.approx(DISC[:2], abs=0.05)
        # a disc forgives what a smooth lopsided object does not, and the other way round
        lines = blobs_sinogram(SIZE, angles, CENTER)[:, None].astype(np.float32)
        image = reconstruct(lines, angles, settings=self.settings())[0]
        assert difference(image, blobs_image(SIZE), 0.85) < self.tolerance

    @pytest.mark.parametrize("center", [63.5, 62.3])
    def test_sharp_edges_are_as_good_as_in_plain_sums(self, center: float) -> None:
        lines = shepp_logan_sinogram(SIZE, ANGLES, center)
        truth = shepp_logan_image(SIZE)
        found = difference(self.slices(lines, center=center)[0], truth)
        assert found < 1.05 * difference(plain_slice(lines, ANGLES, center), truth)

    @pytest.mark.parametrize("name", WINDOWS)
    def test_filters(self, name: Any) -> None:
        for blobs, within in ((LOPSIDED, self.tolerance), (FINE, max(0.01, self.tolerance))):
            lines = blobs_sinogram(SIZE, ANGLES, CENTER, blobs)
            slice_ = self.slices(lines, filter=name, cutoff=0.8)[0]
            assert difference(slice_, windowed_blobs(SIZE, name, 0.8, blobs), 0.85) < within

    def test_no_filter_at_all(self) -> None:
        lines = blobs_sinogram(SIZE, ANGLES, CENTER)
        slice_ = self.slices(lines, filter="none")[0]
        # what is behind the detector's edge is unknown, and it is a smear that reaches there
        assert difference(slice_, smeared_blobs(SIZE), 0.6) < 2 * self.tolerance

    def test_the_odd_filter_of_derivatives(self) -> None:
        lines = blobs_sinogram(SIZE, ANGLES, CENTER)
        slopes = (blobs_sinogram(SIZE, ANGLES, CENTER - 1e-3) - lines) / 1e-3
        slice_ = self.slices(slopes, filter="faris-byer")[0]
        assert difference(slice_, blobs_image(SIZE), 0.85) < 5 * self.tolerance

    @pytest.mark.parametrize("padding", ["zero", "edge", "mirror"])
    def test_padding(self, padding: Any) -> None:
        """An object wider than the detector, beside plain sums."""
        lines = blobs_sinogram(SIZE, ANGLES, CENTER) + 3.0
        slice_ = self.slices(lines, padding=padding)[0]
        plain = plain_slice(lines, ANGLES, CENTER, padding)
        assert difference(slice_, plain, 0.7) < 0.03

    def test_each_slice_is_its_own_row(self) -> None:
        kinds = (blobs_sinogram(SIZE, ANGLES, CENTER), shepp_logan_sinogram(SIZE, ANGLES, CENTER))
        rows = [kinds[row % 2] * (1 + row) for row in range(7)]
        volume = self.slices(*rows)
        scale = float(np.abs(volume).max())
        for row, lines in enumerate(rows):
            np.testing.assert_allclose(volume[row], self.slices(lines)[0], atol=1e-5 * scale)
        chosen = self.slices(*rows, slices=(5, 2))
        np.testing.assert_allclose(chosen, volume[[5, 2]], atol=1e-5 * scale)

    def test_counts_become_attenuation(self) -> None:
        lines = blobs_sinogram(SIZE, ANGLES, CENTER) * 0.02
        counts = np.round(100 + 50000 * np.exp(-lines)).astype(np.uint16)[:, None]
        counts[:, 0, 30] = 65535  # a pixel that is always bright
        flats = np.full((4, 1, SIZE), 50100, np.uint16)
        flats[..., 30] = 100
        volume = reconstruct(
            counts, ANGLES, darks=np.full((3, 1, SIZE), 100, np.uint16), flats=flats,
            settings=self.settings(),
        )  # fmt: skip
        # Counts are whole numbers.
        assert difference(volume[0], blobs_image(SIZE) * 0.02, 0.85) < 0.02

    @pytest.mark.parametrize("turn", ["full", "shuffled", "backwards"])
    def test_any_set_of_angles(self, turn: str) -> None:
        angles = {
            "full": 2 * ANGLES,
            "shuffled": np.random.default_rng(1).permutation(ANGLES),
            "backwards": -ANGLES,
        }[turn]
        lines = blobs_sinogram(SIZE, angles, CENTER)
        stack = lines[:, None].astype(np.float32)
        volume = reconstruct(stack, angles, settings=self.settings())
        assert difference(volume[0], blobs_image(SIZE), 0.85) < self.tolerance

    def test_projections_that_never_came(self) -> None:
        lines = blobs_sinogram(SIZE, ANGLES, CENTER)
        came = np.ones(COUNT, dtype=bool)
        came[[3, 40, 41, 42, 90, 177]] = False
        job = self.job(1)
        for index in np.flatnonzero(came):
            job.add_projections(lines[index : index + 1, None].astype(np.float32), int(index))
        result = job.finish()
        assert result.missing == (3, 40, 41, 42, 90, 177)
        assert difference(result.volume[0], blobs_image(SIZE), 0.85) < 0.01  # for all of them

    def test_what_is_there_so_far_is_on_the_scale_of_the_whole(self) -> None:
        lines = blobs_sinogram(SIZE, ANGLES, CENTER)[:, None].astype(np.float32)
        job = self.job(1)
        means, mask = [], inside(SIZE)
        order = np.random.default_rng(7).permutation(COUNT)  # as interlaced angles would be
        for part in np.array_split(order, 3):
            for index in part:
                job.add_projections(lines[index : index + 1], int(index))
            means.append(float(job.slices()[0][mask].mean()))
        whole = float(blobs_image(SIZE)[mask].mean())
        assert means == pytest.approx([whole] * 3, rel=0.05)
        assert difference(job.finish().volume[0], blobs_image(SIZE), 0.85) < self.tolerance

    def test_looking_does_not_change_the_result(self) -> None:
        lines = shepp_logan_sinogram(SIZE, ANGLES, CENTER)[:, None].astype(np.float32)
        job = self.job(1)
        job.add_projections(lines[:100], 0)
        job.slices()
        job.add_projections(lines[100:], 100)
        np.testing.assert_array_equal(job.slices(), job.slices())
        looked = job.finish().volume
        untouched = reconstruct(lines, ANGLES, settings=self.settings())
        np.testing.assert_allclose(looked, untouched, atol=1e-5 * float(np.abs(untouched).max()))

    def test_a_region_is_a_window_of_the_whole(self) -> None:
        lines = blobs_sinogram(SIZE, ANGLES, CENTER)
        whole = self.slices(lines)[0]
        for step in self.steps:
            x, y = (-23.5, 16.5, step), (-33.5, 7.5, step)
            part = self.slices(lines, x_region=x, y_region=y)[0]
            across, down = (np.arange(*region) for region in (x, y))
            assert part.shape == (len(down), len(across))
            truth = blobs_at(across[None], -down[:, None], SIZE)
            assert np.sqrt(np.mean((part - truth) ** 2)) < 2 * self.tolerance * truth.std()
            if step == 1.0:
                np.testing.assert_allclose(part, whole[30:71, 40:80], atol=0.02 * whole.max())

    def test_any_batches_give_the_same_bits(self) -> None:
        rows = [blobs_sinogram(SIZE, ANGLES, CENTER), shepp_logan_sinogram(SIZE, ANGLES, CENTER)]
        stack = np.stack(rows, axis=1).astype(np.float32)
        whole = reconstruct(stack, ANGLES, settings=self.settings())
        edges = {
            "one by one": range(COUNT + 1),
            "uneven": (0, 5, 45, 46, 63, 123, COUNT),
            "halves": (0, 90, COUNT),
        }
        for how, at in edges.items():
            batches = list(itertools.pairwise(at))
            for order in (batches, batches[::-1]):
                job = self.job(2)
                for start, stop in order:
                    job.add_projections(stack[start:stop].copy(), start)
                np.testing.assert_array_equal(job.finish().volume, whole, err_msg=how)

    def test_the_number_of_threads_does_not_matter(self) -> None:
        lines = shepp_logan_sinogram(SIZE, ANGLES, CENTER)
        one, three = (self.slices(*[lines] * 5, threads=threads) for threads in (1, 3))
        np.testing.assert_allclose(one, three, atol=1e-5 * float(np.abs(one).max()))

    def test_many_at_once(self) -> None:
        rows = [blobs_sinogram(SIZE, ANGLES, CENTER) * (1 + i) for i in range(4)]
        alone = [self.slices(lines) for lines in rows]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(self.slices, rows))
        np.testing.assert_array_equal(together, alone)

    def test_a_sweep(self) -> None:
        lines = blobs_sinogram(SIZE, ANGLES, CENTER)
        strip = self.slices(
            lines, center=None, z_parameter="center", region=(CENTER - 2, CENTER + 3, 2.0)
        )
        errors = [difference(image, blobs_image(SIZE), 0.85) for image in strip]
        assert errors[1] < self.tolerance
        assert min(errors[0], errors[2]) > 5 * self.tolerance

    def test_what_it_lacks_is_said_before_any_frame(self) -> None:
        if "general" in self.backend().geometries:
            assert self.job(3, axis_angle_x=0.1).missing
            return
        cases: dict[str, dict[str, Any]] = {
            "axis_angle_x": {"axis_angle_x": 0.1},
            "source_distance": {"source_distance": 900.0},
            "axis_angle_y": {"z_parameter": "axis_angle_y", "region": (0.0, 0.1, 0.05)},
        }
        for setting, asked in cases.items():
            with pytest.raises(
                ParameterError,
                match=f"backend: '{self.name}' has only parallel geometry .*, and {setting} is set; use "
                "backend='cpu' or 'auto'",
            ):
                self.job(3, **asked)


def _points(right: float, up: float) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    middle = np.arange(SIZE) - (SIZE - 1) / 2
    return middle[None] - right, -middle[:, None] - up
