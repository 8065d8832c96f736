"""Whatever a data directory and a sample are called, the run reads back, by both readers."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from concertino.storage import Catalog, open_run

pytestmark = pytest.mark.slow  # tiled takes seconds to import

# What a file system takes: all but "/" and NUL, in UTF-8, of at most 255 bytes.
LETTERS = st.sampled_from(
    " #?%;:&+='\"[]{}()\\~!$*|<>,.µÄ牙🦷\n\t\x1b\u202e\u00ada0"
) | st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
NAMES = st.text(LETTERS, min_size=1, max_size=40).filter(lambda name: name not in (".", ".."))
SAMPLES = st.text(LETTERS | st.just("/"), max_size=40)
# An example takes a second or more: raise max_examples to look further.
NUMBER = itertools.count()


@settings(
    max_examples=4, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(name=NAMES, sample=SAMPLES)
@example("%2F..%2f", "a/b")
@example("file:", "sample=é&x")
@example("~", "\u202etooth")
def test_a_run_reads_back(tmp_path: Path, record_run: Any, name: str, sample: str) -> None:
    around = tmp_path / f"{next(NUMBER)}"
    root = around / name
    frames = {
        kind: record_run(root / kind, format=kind, sample=sample) for kind in ("tiff", "hdf5")
    }
    with Catalog.open(root) as catalog:
        assert len(catalog.search(sample=sample)) == 2
        for kind, stored in frames.items():
            run = open_run(kind, root)
            assert run.start["sample"] == sample
            np.testing.assert_array_equal(run.frames("projections").read(), stored["projections"])
            read = catalog[kind]["projections"].read()["camera"]
            np.testing.assert_array_equal(read, stored["projections"])
            assert catalog[kind].metadata["start"]["sample"] == sample
    assert [path.name for path in around.iterdir()] == [name]  # nothing was made beside it
