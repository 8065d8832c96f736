import pytest

from concertino import ParameterError
from concertino.simulation import Faults


def test_no_faults_by_default() -> None:
    faults = Faults()
    assert not any(faults.drops(i) or faults.dies(i) or faults.delay_s(i) for i in range(100))
    assert faults == Faults()


def test_named_frames_drop() -> None:
    faults = Faults(drop_frames=[2, 5])
    assert [i for i in range(8) if faults.drops(i)] == [2, 5]
    assert hash(faults) == hash(Faults(drop_frames={5, 2}))


def test_frames_drop_at_random_but_the_same_ones() -> None:
    faults = Faults(drop_probability=0.2, seed=1)
    lost = [i for i in range(10_000) if faults.drops(i)]
    assert 1800 < len(lost) < 2200
    assert lost == [i for i in range(10_000) if Faults(drop_probability=0.2, seed=1).drops(i)]
    assert lost != [i for i in range(10_000) if Faults(drop_probability=0.2, seed=2).drops(i)]
    assert all(Faults(drop_probability=1.0).drops(i) for i in range(100))


def test_dead_stays_dead() -> None:
    faults = Faults(die_at=3)
    assert [faults.dies(i) for i in range(6)] == [False] * 3 + [True] * 3


def test_slow_from_a_frame_on() -> None:
    faults = Faults(slow_s=0.1, slow_from=2)
    assert [faults.delay_s(i) for i in range(4)] == [0, 0, 0.1, 0.1]


def test_errors() -> None:
    with pytest.raises(
        ParameterError, match=r"drop_probability: 2.* was given; give a chance, 0 to 1"
    ):
        Faults(drop_probability=2)
    with pytest.raises(ParameterError, match=r"slow_s: -1.* was given; give 0 s or more"):
        Faults(slow_s=-1)
