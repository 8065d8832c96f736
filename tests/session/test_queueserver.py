"""The start-up module in a real queue server."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concertino.storage import StoredScan, open_run
from tests.queue_servers import WAIT_S, Manager, served_queue

pytestmark = pytest.mark.disturbed_by_load(
    "the queue's server, its worker and Redis are processes that answer within time-outs"
)

pytest.importorskip("bluesky_queueserver")


SCAN: dict[str, Any] = {
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


EVERYTHING = {"allowed_plans": [None], "allowed_devices": [None], "allowed_functions": [None]}
GROUPS = {
    "root": EVERYTHING,
    "primary": EVERYTHING,
    "students": {"allowed_plans": [":^radiography$"], "allowed_devices": [":^(?!detail)"]},
}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    directory = tmp_path_factory.mktemp("queue")
    (directory / "groups.yaml").write_text(json.dumps({"user_groups": GROUPS}))
    given = ("--startup-module", "tests.session.queue_startup", "--permissions", "groups.yaml")
    with served_queue(directory, *given) as served:
        yield served


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
        ({"kwargs": {**SCAN["kwargs"], "num_darks": "many"}}, "num_darks"),
        ({"kwargs": {**SCAN["kwargs"], "on_lost": "shrug"}}, "on_lost"),
        (
            {"kwargs": {**SCAN["kwargs"], "flat_position": "1 kg"}},
            "flat_position: a length in mm is wanted",
        ),
        (
            {"kwargs": {**SCAN["kwargs"], "flat_position": "20 cm"}},
            "its limits are -100 to 100 mm.",
        ),
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
        "args": ["continuous_tomography", {**devices, **SCAN["kwargs"]}],
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
    scan = {**SCAN, "kwargs": {**SCAN["kwargs"], "num_projections": 500}}
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


def by_requests(manager: Manager, method: str, **params: Any) -> dict[str, Any]:
    """Ask as any client may."""
    return manager.ask(method, **params)


def by_command(manager: Manager, method: str, **params: Any) -> dict[str, Any]:
    """Ask by bluesky's command ``qserver``; its answer is not JSON."""
    words = method.split("_")
    if method == "queue_item_add":
        item = {key: value for key, value in params["item"].items() if key != "item_type"}
        words = ["queue", "add", "plan", json.dumps(item)]
    program = Path(sys.executable).with_name("qserver")
    said = subprocess.run(
        [program, "--zmq-control-addr", manager.address, *words, *filter(None, [params.get("option")])],
        capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    return {"success": "'success': True" in said.stdout, "msg": said.stdout}


#: Asks by bluesky-queueserver-api, in a process of its own: it leaves sockets open.
API = """
import json, sys
from bluesky_queueserver_api import BPlan
from bluesky_queueserver_api.zmq import REManagerAPI
control, info, method, given = sys.argv[1:]
given = json.loads(given)
client = REManagerAPI(zmq_control_addr=control, zmq_info_addr=info, timeout_recv=60)
if method == "queue_item_add":
    item = given["item"]
    plan = BPlan(item["name"], *item.get("args", ()), **item.get("kwargs", {}))
    answer = client.item_add(plan, user=given["user"], user_group=given["user_group"])
else:
    answer = getattr(client, method)(**given)
print("\\n" + json.dumps(answer))
client.close()
"""


def by_api(manager: Manager, method: str, **params: Any) -> dict[str, Any]:
    """Ask by bluesky-queueserver-api."""
    said = subprocess.run(
        [sys.executable, "-c", API, manager.address, manager.info_address, method, json.dumps(params)],
        capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    return dict(json.loads(said.stdout.splitlines()[-1]))


def begun(manager: Manager, ask: Any) -> Path:
    """Begin a scan that takes long, and return its directory when its projections are taken with beam."""
    known = set(manager.data.glob("scan_*"))
    scan = {**SCAN, "kwargs": {**SCAN["kwargs"], "num_projections": 3000}}
    added = ask(manager, "queue_item_add", item=scan, user="test", user_group="primary")
    assert added["success"], added
    assert ask(manager, "queue_start")["success"]
    manager.until(lambda: any(
        (made / "projections").is_dir() and len(list((made / "projections").iterdir())) > 5
        for made in set(manager.data.glob("scan_*")) - known
    ), "projections are stored")  # fmt: skip
    assert beam(manager) == "on"
    (directory,) = (d for d in set(manager.data.glob("scan_*")) - known if d.name.count("_") == 1)
    return directory


def beam(manager: Manager) -> str:
    """Return what the beam did last."""
    return (manager.data / "beam.log").read_text().split()[-1]


def documents(directory: Path) -> list[Any]:
    return [json.loads(line) for line in (directory / "documents.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("ask", "pause", "end", "item_says", "run_says"),
    [
        (by_requests, "immediate", "re_halt", "halted", "abort"),
        (by_requests, "immediate", "re_abort", "aborted", "abort"),
        (by_command, "deferred", "re_stop", "stopped", "success"),
        (by_api, "deferred", "re_abort", "aborted", "abort"),
    ],
)
def test_each_end_leaves_the_beam_off_and_the_run_says_how_it_ended(
    manager: Manager, ask: Any, pause: str, end: str, item_says: str, run_says: str
) -> None:
    if ask is by_api:
        pytest.importorskip("bluesky_queueserver_api")
    before = manager.wait_for("manager_state", "idle")["items_in_history"]
    directory = begun(manager, ask)
    paused = ask(manager, "re_pause", option=pause)
    assert paused["success"], paused
    manager.wait_for("manager_state", "paused")
    assert beam(manager) == "off"
    ended = ask(manager, end)
    assert ended["success"], ended
    manager.wait_for("items_in_history", before + 1)
    manager.wait_for("manager_state", "idle")
    assert beam(manager) == "off"
    (name, stop) = documents(directory)[-1]
    assert (name, stop["exit_status"]) == ("stop", run_says)
    last = manager.ask("history_get")["items"][-1]
    assert last["result"]["exit_status"] == item_says, last["result"]
    assert last["result"]["run_uids"] == [documents(directory)[0][1]["uid"]]
    assert manager.ask("queue_clear")["success"]


def test_a_plan_that_fails_leaves_the_beam_off_and_says_why(manager: Manager) -> None:
    before = manager.wait_for("manager_state", "idle")["items_in_history"]
    manager.call("camera_dies_at", 100)
    try:
        directory = begun(manager, by_requests)
        manager.wait_for("items_in_history", before + 1)
    finally:
        manager.wait_for("manager_state", "idle")
        manager.call("camera_dies_at", -1)
    assert beam(manager) == "off"
    (name, stop) = documents(directory)[-1]
    assert (name, stop["exit_status"]) == ("stop", "fail")
    assert "Camera camera died" in stop["reason"]
    result = manager.ask("history_get")["items"][-1]["result"]
    assert result["exit_status"] == "failed"
    assert "Camera camera died" in result["msg"]
    # What failed is the next one in the queue again: bluesky's server keeps it for who mends the cause.
    assert manager.ask("queue_get")["items"][0]["name"] == "continuous_tomography"
    assert manager.ask("queue_clear")["success"]


def test_groups_of_users_may_do_what_the_file_says(manager: Manager) -> None:
    given = {key: value for key, value in SCAN["kwargs"].items() if key != "md"}
    item: dict[str, Any] = {
        "item_type": "plan",
        "name": "radiography",
        "args": ["camera", "shutter", "sample_stage"],
    }
    added = manager.ask(
        "queue_item_add", item={**item, "kwargs": given}, user="ann", user_group="students"
    )
    assert added["success"], added
    item["args"] = [["camera", "detail"], "shutter", "sample_stage"]
    for wrong in (SCAN, {**item, "kwargs": given}):
        refused = manager.ask("queue_item_add", item=wrong, user="ann", user_group="students")
        assert not refused["success"]
    assert manager.ask("queue_clear")["success"]


def test_a_director_runs_a_plan_at_each_place(manager: Manager) -> None:
    before = manager.wait_for("manager_state", "idle")["items_in_history"]
    known = set(manager.data.glob("scan_*"))
    devices = {"camera": "camera", "beam": "shutter", "sample_stage": "sample_stage"}
    given = {
        **devices, "radio_position": 0, "flat_position": "10 mm",
        "num_darks": 1, "num_flats": 1, "num_projections": 2,
    }  # fmt: skip
    item = {
        "item_type": "plan", "name": "change_samples",
        "kwargs": {
            "sample_changer": "vertical_stage", "samples": {"tooth": 0, "bone": "0.1 cm"},
            "plan": "radiography", "parameters": given,
        },
    }  # fmt: skip
    added = manager.ask("queue_item_add", item=item, user="test", user_group="primary")
    assert added["success"], added
    assert manager.ask("queue_start")["success"]
    manager.wait_for("items_in_history", before + 1)
    result = manager.ask("history_get")["items"][-1]["result"]
    assert result["exit_status"] == "completed", result
    starts = [documents(made)[0][1] for made in sorted(set(manager.data.glob("scan_*")) - known)]
    assert [start["uid"] for start in starts] == result["run_uids"]
    assert [start["sample"] for start in starts] == ["tooth", "bone"]


def test_a_worker_that_tells_its_plans_late_is_waited_for(tmp_path: Path) -> None:
    # Bluesky's manager waits for half a second, once, and would refuse every plan from then on.
    with served_queue(tmp_path, "--startup-module", "tests.session.slow_startup") as manager:
        added = manager.ask("queue_item_add", item=SCAN, user="test", user_group="primary")
        assert added["success"], added
