"""The start-up module in a real queue server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concertino.storage import StoredScan, open_run
from tests.ports import free_port
from tests.queue_servers import Requests, redis

pytestmark = pytest.mark.disturbed_by_load(
    "the queue's server, its worker and Redis are processes that answer within time-outs"
)

pytest.importorskip("bluesky_queueserver")


WAIT_S = 240.0
SCAN = {
    "item_type": "plan",
    "name": "continuous_tomography",
    "args": ["camera", "rotation", "shutter", "sample_stage"],
    "kwargs": {
        "radio_position": "0 mm",
        "flat_position": {"value": 1, "unit": "cm"},
        "num_darks": 3,
        "num_flats": 3,
        "num_projections": 60,
        "md": {"sample": "queued"},
    },
}


class Manager(Requests):
    """A start-re-manager process and the requests to it."""

    def __init__(self, port: int, directory: Path) -> None:
        super().__init__(port, (directory / "manager.log").read_text)
        self.data = directory / "data"

    def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} within {WAIT_S:g} s: {self._log()}"
            time.sleep(0.1)

    def wait_for(self, key: str, value: Any) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while (status := self.ask("status"))[key] != value:
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
        return status


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    directory = tmp_path_factory.mktemp("queue")
    control, info = free_port(), free_port()
    with redis() as address, (directory / "manager.log").open("w") as log:
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("concertino")), "queueserver",
                "--directory", str(directory / "data"), "--redis", address,
                "--control-port", str(control), "--info-port", str(info),
            ],
            cwd=directory, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        try:
            with Manager(control, directory) as served:
                served.until(
                    lambda: process.poll() is not None or served.ask("status", quietly=True),
                    "it answers",
                )
                assert process.poll() is None, (directory / "manager.log").read_text()
                assert served.ask("environment_open")["success"]
                served.wait_for("worker_environment_exists", True)
                served.wait_for("manager_state", "idle")
                yield served
                served.ask("environment_close")
                served.wait_for("worker_environment_exists", False)
                served.ask("manager_stop")
                process.wait(WAIT_S)
        finally:
            process.kill()
            process.wait()


def test_a_plan_runs_and_lands_in_the_data_directory(manager: Manager) -> None:
    added = manager.ask("queue_item_add", item=SCAN, user="test", user_group="primary")
    assert added["success"], added
    assert manager.ask("queue_start")["success"]
    manager.wait_for("items_in_history", 1)
    (item,) = manager.ask("history_get")["items"]
    assert item["result"]["exit_status"] == "completed", item["result"]
    lines = (manager.data / "scan_0001" / "documents.jsonl").read_text().splitlines()
    start, stop = json.loads(lines[0])[1], json.loads(lines[-1])[1]
    assert [start["uid"]] == item["result"]["run_uids"]
    assert stop["exit_status"] == "success"
    assert start["sample"] == "queued"
    assert start["plan_args"]["flat_position"] == {"value": 10.0, "unit": "mm"}


def test_devices_that_must_not_have_moved_are_devices(manager: Manager) -> None:
    devices = {"camera": "camera", "beam": "shutter", "sample_stage": "sample_stage",
               "rotation": "rotation"}  # fmt: skip
    item = {"item_type": "plan", "name": "resume", "kwargs": {"run": "scan_0001", **devices}}
    item["kwargs"]["unmoved"] = ["nobody"]  # type: ignore[index]
    refused = manager.ask("queue_item_add", item=item, user="test", user_group="primary")
    assert not refused["success"]
    assert "unmoved" in refused["msg"]
    allowed = manager.ask("plans_allowed", user_group="primary")["plans_allowed"]["resume"]
    unmoved = next(one for one in allowed["parameters"] if one["name"] == "unmoved")
    # What is named there the server turns into devices.
    assert "vertical_stage" in unmoved["annotation"]["devices"]["Unmoved"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"args": ["camera", "ring", "shutter", "sample_stage"]}, "rotation"),
        ({"kwargs": {"radio_position": "0 mm", "num_darks": 3}}, "flat_position"),
        ({"kwargs": {**SCAN["kwargs"], "num_darks": "many"}}, "num_darks"),  # type: ignore[dict-item]
        ({"kwargs": {**SCAN["kwargs"], "on_lost": "shrug"}}, "on_lost"),  # type: ignore[dict-item]
    ],
)
def test_a_plan_that_cannot_work_is_refused_when_it_is_submitted(
    manager: Manager, change: dict[str, Any], message: str
) -> None:
    answer = manager.ask("queue_item_add", item=SCAN | change, user="test", user_group="primary")
    assert not answer["success"]
    assert message in answer["msg"]


@pytest.mark.parametrize(
    "item",
    [
        {
            "name": "dscan",
            "args": [["sharpness", "ring"], "sample_stage", "-0.1 mm", 0.1],
            "kwargs": {"num": 3, "beam": "shutter"},
        },
        {
            "name": "find_rotation_axis",
            "args": ["camera", "rotation", "shutter", "sample_stage"],
            "kwargs": {"radio_position": "0 mm", "flat_position": "10 mm", "num_views": 1},
        },
    ],
    ids=["dscan", "find_rotation_axis"],
)
def test_scans_and_alignments_run(manager: Manager, item: dict[str, Any]) -> None:
    before = manager.wait_for("manager_state", "idle")["items_in_history"]
    added = manager.ask(
        "queue_item_add", item={"item_type": "plan", **item}, user="test", user_group="primary"
    )
    assert added["success"], added
    assert manager.ask("queue_start")["success"]
    manager.wait_for("items_in_history", before + 1)
    last = manager.ask("history_get")["items"][-1]
    assert last["result"]["exit_status"] == "completed", last["result"]
    assert len(last["result"]["run_uids"]) == 1


def test_preflight_moves_nothing(manager: Manager) -> None:
    runs = sorted(path.name for path in manager.data.glob("scan_*"))
    devices = dict(zip(("camera", "rotation", "beam", "sample_stage"), SCAN["args"], strict=True))
    item = {
        "item_type": "function",
        "name": "preflight",
        "args": ["continuous_tomography", {**devices, **SCAN["kwargs"]}],  # type: ignore[dict-item]
    }
    answer = manager.ask("function_execute", item=item, user="test", user_group="primary")
    assert answer["success"], answer
    deadline = time.monotonic() + WAIT_S
    result: dict[str, Any] = {"status": "running"}
    while result["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
        result = manager.ask("task_result", task_uid=answer["task_uid"])
    assert result["result"]["success"], result
    figures = result["result"]["return_value"]
    assert figures["plan"] == "continuous_tomography"
    assert [row["frames"] for row in figures["streams"]] == [3, 3, 60]
    assert figures["disk_free_bytes"] > figures["disk_bytes"]
    assert sorted(path.name for path in manager.data.glob("scan_*")) == runs


@pytest.mark.parametrize("option", ["deferred", "immediate"])
def test_a_scan_is_paused_and_resumed(manager: Manager, option: str) -> None:
    before = manager.wait_for("manager_state", "idle")["items_in_history"]
    scan = {**SCAN, "kwargs": {**SCAN["kwargs"], "num_projections": 500}}  # type: ignore[dict-item]
    added = manager.ask("queue_item_add", item=scan, user="test", user_group="primary")
    assert added["success"], added
    known = set(manager.data.glob("scan_*"))
    assert manager.ask("queue_start")["success"]
    manager.until(lambda: any(
        (made / "projections").is_dir() and len(list((made / "projections").iterdir())) > 5
        for made in set(manager.data.glob("scan_*")) - known
    ), "projections are stored")  # fmt: skip
    answer = manager.ask("re_pause", option=option)
    assert answer["success"], answer
    status = manager.wait_for("manager_state", "paused")
    assert status["re_state"] == "paused"
    assert status["items_in_history"] == before
    # What was paused is half a run, and says so: it is neither over nor is the beam on.
    (directory,) = (d for d in set(manager.data.glob("scan_*")) - known if d.name.count("_") == 1)
    lines = [json.loads(line) for line in (directory / "documents.jsonl").read_text().splitlines()]
    assert lines[-1][0] != "stop"
    assert manager.ask("re_resume")["success"]
    manager.wait_for("items_in_history", before + 1)
    last = manager.ask("history_get")["items"][-1]
    assert last["result"]["exit_status"] == "completed", last["result"]
    manager.wait_for("manager_state", "idle")
    run = open_run(directory)
    assert run.exit_status == "success"
    stored = StoredScan(run)
    assert stored.missing("projections") == ()
    assert len([name for name in run.streams if name.startswith("projections_from_")]) == 1
    assert run["pauses"].events[0]["data"]["pause-state"] == "paused"


def test_a_scan_that_is_paused_is_aborted(manager: Manager) -> None:
    before = manager.wait_for("manager_state", "idle")["items_in_history"]
    scan = {**SCAN, "kwargs": {**SCAN["kwargs"], "num_projections": 1500}}  # type: ignore[dict-item]
    assert manager.ask("queue_item_add", item=scan, user="test", user_group="primary")["success"]
    assert manager.ask("queue_start")["success"]
    manager.until(lambda: manager.ask("re_runs")["run_list"], "a run is open")
    assert manager.ask("re_pause", option="immediate")["success"]
    manager.wait_for("manager_state", "paused")
    assert manager.ask("re_abort")["success"]
    manager.wait_for("items_in_history", before + 1)
    last = manager.ask("history_get")["items"][-1]
    assert last["result"]["exit_status"] == "aborted", last["result"]
    manager.wait_for("manager_state", "idle")
    assert manager.ask("queue_clear")["success"]
