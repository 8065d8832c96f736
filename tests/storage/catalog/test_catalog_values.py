"""What the catalogue gives of values that are no frames of ours: of events, and of other programs' files."""

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from event_model import compose_run

from concertino.storage import Catalog, Recorder

pytestmark = pytest.mark.slow  # tiled takes seconds to import


def test_arrays_lists_and_odd_values_of_events(tmp_path: Path, catalog: Catalog) -> None:
    values: dict[str, list[Any]] = {
        "short": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
        "ragged": [[1], [2, 3]],
        "empty": [[], []],
        "huge": [2**70, 1],
        "mixed": [1, "two"],
        "nothing": [None, None],
        "_hidden": [1, 2],
        "rate": [0.5, float("inf")],
        "word": ["a", "b"],
    }
    run = compose_run(
        metadata={"scan_name": "scan_0001", "run_directory": str(tmp_path / "scan_0001")}
    )
    recorder = Recorder()
    recorder("start", run.start_doc)
    keys: Any = {name: {"source": "sim", "dtype": "array", "shape": []} for name in values}
    stream = run.compose_descriptor(name="baseline", data_keys=keys)
    recorder("descriptor", stream.descriptor_doc)
    for row in range(2):
        data = {name: both[row] for name, both in values.items()}
        times = dict.fromkeys(values, 1.0)
        document = stream.compose_event(data=data, timestamps=times, validate=False)
        recorder("event", document)
    recorder("stop", run.compose_stop())
    recorder.close()
    read = catalog[-1]["baseline"].read()
    np.testing.assert_array_equal(read["short"], values["short"])
    np.testing.assert_array_equal(read["rate"], values["rate"])
    assert list(read["ragged"].values) == ["[1]", "[2, 3]"]
    assert list(read["empty"].values) == ["[]", "[]"]
    assert list(read["huge"].values) == [str(2**70), "1"]
    assert list(read["mixed"].values) == ["1", "two"]
    assert list(read["word"].values) == ["a", "b"]
    assert catalog.missing() == []


def test_what_another_program_stored_is_read_wherever_the_run_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    directory = data / "scan_0001"
    run: Any = compose_run(metadata={"scan_name": "scan_0001", "run_directory": str(directory)})
    recorder = Recorder()
    recorder("start", run.start_doc)
    counts = np.arange(5, dtype="<f8") ** 2
    keys: Any = {
        key: {
            "source": "sim", "dtype": "number", "shape": [1], "dtype_numpy": "<f8",
            "external": "STREAM:",
        }
        for key in ("counts", "charge", "lost")
    }  # fmt: skip
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    recorder("descriptor", stream.descriptor_doc)
    with h5py.File(directory / "counter.h5", "w") as file:
        file["entry/counts"] = counts
    (directory / "charge.csv").write_text("0.5\n")
    stored: list[tuple[str, str, str, dict[str, Any], list[int]]] = [
        (
            "counts",
            "counter.h5",
            "application/x-hdf5",
            {"dataset": "/entry/counts", "chunk_shape": [5]},
            [0, 3, 5],
        ),
        ("charge", "charge.csv", "text/csv;header=absent", {}, [0, 1]),
    ]
    for key, name, mimetype, parameters, stops in stored:
        resource = run.compose_stream_resource(
            data_key=key, mimetype=mimetype, uri=f"file://localhost{directory / name}",
            parameters=parameters,
        )  # fmt: skip
        recorder("stream_resource", resource.stream_resource_doc)
        for start, stop in pairwise(stops):
            datum = {
                **resource.compose_stream_datum({"start": start, "stop": stop}),
                "descriptor": stream.descriptor_doc["uid"],
                "seq_nums": {"start": start + 1, "stop": stop + 1},
            }
            recorder("stream_datum", datum)
    recorder("stop", run.compose_stop())
    recorder.close()
    with Catalog.open(data) as catalog:
        read = catalog[-1]
        assert read.metadata["notes"] == [
            "lost of primary is not readable here: nothing says where it is stored"
        ]
        np.testing.assert_array_equal(read["primary"]["counts"].read(), counts)
        assert read["primary"]["charge"].read().tolist() == [0.5]
    shutil.move(data, tmp_path / "archive")
    with Catalog.open(tmp_path / "archive") as catalog:
        read = catalog[-1]
        np.testing.assert_array_equal(read["primary"]["counts"].read(), counts)
        assert read["primary"]["charge"].read().tolist() == [0.5]
