"""The contract of back ends, on each that is here, and on some that are wrong."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.reconstruction import Backend, backends, reconstruct
from concertino.reconstruction.preprocessing._angles import angular_weights as right

from . import backend_contract
from .available import need_backend
from .backend_contract import ANGLES, CENTER, SHARES, BackendContract


class TestCpu(BackendContract):
    name = "cpu"
    tolerance = 0.002
    value_tolerance = 0.004


class TestUfo(BackendContract):
    name = "ufo"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _kept(cls) -> tuple[Backend, ...]:
        need_backend("ufo")
        # holds UFO's process, so that not every test starts one
        return backends()


class TestAstra(BackendContract):
    name = "astra"
    tolerance = 0.012  # on a processor it interpolates along rows or columns of the image
    steps = (1.0,)

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _is_here(cls) -> None:
        need_backend("astra")


Weights = NDArray[np.float64]


def _everyone_alike(angles: Weights, period: float = np.pi) -> Weights:
    return np.full(len(angles), np.pi / len(angles))


def _half_a_percent_and_a_bit(angles: Weights, period: float = np.pi) -> Weights:
    return np.asarray(1.008 * right(angles, period))


def _wide_gaps_cut(angles: Weights, period: float = np.pi) -> Weights:
    weights = right(angles, period)
    cut = np.minimum(weights, 1.2 * np.median(weights))
    return np.asarray(cut * np.pi / cut.sum())


@pytest.mark.parametrize(
    ("weights", "where"),
    [
        (_everyone_alike, "a half twice as fine"),
        (_half_a_percent_and_a_bit, "golden"),
        (_wide_gaps_cut, "a few lost"),
    ],
)
def test_a_back_end_with_wrong_weights_fails(
    monkeypatch: pytest.MonkeyPatch, weights: Callable[..., Weights], where: str
) -> None:
    """The contract's truth shares nothing with what it judges."""
    TestCpu().test_each_projection_counts_for_its_share(SHARES[where])
    monkeypatch.setattr(
        "concertino.reconstruction.preprocessing._scan_angles.angular_weights", weights
    )
    with pytest.raises(AssertionError):
        TestCpu().test_each_projection_counts_for_its_share(SHARES[where])


def _shifted(volume: Any) -> Any:
    return np.roll(volume, 1, axis=-1)


def _without_mean(volume: Any) -> Any:
    return volume - volume.mean()


@pytest.mark.parametrize("spoil", [_shifted, _without_mean])
def test_a_back_end_that_misplaces_or_loses_the_mean_fails(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr(
        backend_contract, "reconstruct", lambda *a, **k: spoil(reconstruct(*a, **k))
    )
    with pytest.raises(AssertionError):
        TestCpu().test_each_projection_counts_for_its_share(ANGLES)
    with pytest.raises(AssertionError):
        TestCpu().test_a_lopsided_object_lies_where_it_should(CENTER)


@pytest.mark.parametrize("name", ["analytic", "oracle", "phantoms", "plain_volume"])
def test_the_truths_share_nothing_with_what_they_judge(name: str) -> None:
    tree = ast.walk(ast.parse(Path(__file__).parents[1].joinpath(f"{name}.py").read_text()))
    absolute = {
        module.split(".")[0]
        for node in tree
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
        for module in (
            [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert "numpy" in absolute
    assert "concertino" not in absolute
