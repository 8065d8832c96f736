"""A server starts whatever lies in its data directory."""

import json
from pathlib import Path

import pytest

from concertino._tango_client import TangoClient

from .conftest import Start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.disturbed_by_load(
        "servers are processes; one that does not answer within its time-out is given up"
    ),
]


def test_a_server_starts_beside_damaged_runs(tmp_path: Path, start: Start) -> None:
    root = tmp_path / "writer"
    begun = ["start", {"uid": "u" * 36, "time": 1.8e9, "scan_id": 1, "plan_name": "radiography"}]
    records = {
        "scan_0001": [begun],  # its process died
        "scan_0002": [["start", {"uid": "v" * 36}]],  # without a time
        "scan_0003": [begun, ["event", {"descriptor": "nobody's"}]],
        "scan_0004": [begun, ["stop", {"exit_status": "success"}]],
    }
    for name, documents in records.items():
        (root / name).mkdir(parents=True)
        lines = "".join(json.dumps(pair) + "\n" for pair in documents)
        (root / name / "documents.jsonl").write_text(lines)
    server = start("writer", "-d", str(root))
    client = TangoClient(server.address, "writer")
    assert list(client.attribute("unfinished_runs")) == ["scan_0001"]
    listed = {run["name"]: run["status"] for run in client.call("Runs")}
    assert listed == {
        "scan_0001": "incomplete",
        "scan_0002": "damaged",
        "scan_0003": "damaged",
        "scan_0004": "success",
    }
