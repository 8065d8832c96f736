"""A queue of short plans that meet faults, in bluesky's queue server with a real Redis, and what it leaves behind.

``python benchmarks/queue_of_plans.py --plans 200`` adds them at once and lets the server run them: radiography, stepped and continuous tomography,
of which some go well, and of others the camera dies, the stage fails, the disk is full, the beam is dumped, or the parameters are refused
when the plan begins. As many again with parameters that are refused when they are added are not in the queue. Every plan has to end in the history as is
due to its fault, its run with the same in its stop document, and the beam off. The worker's threads, open files, sockets, processes and shared memory
at the end are those after the first twenty plans; what it and the manager gained in memory is printed. A full disk is a limit on the size of files
(RLIMIT_FSIZE): the write fails in the system's call, as on a disk that is full.
"""

import argparse
import collections
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import concertino  # noqa: F401

# isort: split
import psutil

from concertino.storage import open_run

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.endurance.mixed_runs import GAIN_BYTES, check_gain
from tests.queue_servers import Manager, served_queue

#: How an item and its run end, by what goes wrong; a refused plan has no run.
ENDS = {
    "none": ("completed", "success"),
    "camera dies": ("failed", "fail"),
    "stage fails": ("failed", "fail"),
    "disk full": ("failed", "fail"),
    "beam dump": ("failed", "abort"),
    "bad parameters": ("failed", ""),
}
SAYS = {
    "camera dies": "was told to die",
    "stage fails": "was told to fail",
    "disk full": "",
    "beam dump": "Interlock ring",
    "bad parameters": "was asked to move at",
}
PROJECTIONS = {"radiography": 300, "continuous_tomography": 300, "step_tomography": 12}
WARM = 20
PATIENCE_S = 900.0
#: What the worker may gain for each plan, besides; the same runs in a session gain 30 KiB each.
GAIN_PLAN_BYTES = 256 * 2**10


def item(number: int, chance: random.Random, faults: list[str]) -> dict[str, Any]:
    """Return a plan of the queue and its fault, each of which comes in turn."""
    fault = faults[number % len(faults)]
    # What takes enough for a disk to fill, and what can be too fast.
    plans = {"disk full": ["radiography"], "bad parameters": ["continuous_tomography"]}
    name = chance.choice(plans.get(fault, list(PROJECTIONS)))
    given: dict[str, Any] = {
        "camera": "camera", "beam": "shutter", "sample_stage": "stage", "radio_position": "0 mm",
        "flat_position": "1 mm", "num_darks": 3, "num_flats": 3, "num_projections": PROJECTIONS[name],
    }  # fmt: skip
    if name == "continuous_tomography":
        given["on_lost"] = "flag"  # A busy computer is no fault here.
    if name != "radiography":
        given |= {"rotation": "rotation", "angular_range": "30 deg"}
    if fault == "bad parameters":
        given["angular_range"] = "100000 deg"
    return {"item_type": "plan", "name": "experiment", "args": [fault, name, given]}


def refused(manager: Manager, number: int) -> None:
    """Add a plan that cannot work, and see it refused with the sentence."""
    wrong = [
        ("flat_position", "1 s", "a length in mm"),
        ("camera", "nobody", "camera"),
        ("num_darks", 0, "out of range"),
    ]
    name, value, sentence = wrong[number % len(wrong)]
    given = {"radio_position": 0, "flat_position": "1 mm", name: value}
    devices = {"camera": "camera", "beam": "shutter", "sample_stage": "stage"}
    bad = {"item_type": "plan", "name": "radiography", "kwargs": {**devices, **given}}
    said = manager.ask("queue_item_add", item=bad, user="bench", user_group="primary")
    assert not said["success"], said
    assert sentence in said["msg"], said


def play(manager: Manager, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Have the server run a queue, and return what its history says of it."""
    before = manager.ask("status")["items_in_history"]
    for each in items:
        added = manager.ask("queue_item_add", item=each, user="bench", user_group="primary")
        assert added["success"], added
    assert manager.ask("queue_start")["success"]
    until_s = time.monotonic() + PATIENCE_S
    while (status := manager.ask("status"))["items_in_history"] < before + len(items):
        assert time.monotonic() < until_s, status
        assert status["manager_state"] != "idle" or not status["items_in_queue"], status
        time.sleep(0.5)
    manager.wait_for("manager_state", "idle")
    return list(manager.ask("history_get")["items"][before:])


def check(manager: Manager, items: list[dict[str, Any]], history: list[dict[str, Any]]) -> None:
    """See that each ended as is due, and said so."""
    assert len(history) == len(items)
    for asked, ended in zip(items, history, strict=True):
        fault, result = asked["args"][0], ended["result"]
        assert ended["args"] == asked["args"]
        due, run_due = ENDS[fault]
        assert result["exit_status"] == due, (fault, result)
        if fault != "none":
            assert SAYS[fault] in result["msg"], (fault, result["msg"])
        if not run_due:
            assert not result["run_uids"], (fault, result)
            continue
        (scan,) = result["scan_ids"]
        run = open_run(int(scan), manager.data)
        assert [run.uid] == result["run_uids"]
        assert run.exit_status == run_due, (fault, run.exit_status, run.reason)
        run.close()


def main() -> None:
    """Run the queue and print the figures before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=200)
    parser.add_argument("--warm", type=int, default=WARM, help="plans before the first look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", default=",".join(ENDS), help="some of them, parted by commas")
    asked = parser.parse_args()
    faults = asked.faults.split(",")
    chance = random.Random(asked.seed)
    with (
        tempfile.TemporaryDirectory(prefix="queue_of_plans_") as place,
        served_queue(Path(place), "--startup-module", "tests.endurance.queue_startup") as manager,
    ):
        assert manager.ask("queue_mode_set", mode={"ignore_failures": True})["success"]
        managers = [
            p
            for p in psutil.Process().children(recursive=True)
            if "concertino" in " ".join(p.cmdline())
        ]
        begun = manager.call("figures")
        warm = [item(number, chance, faults) for number in range(asked.warm)]
        check(manager, warm, play(manager, warm))
        before, manager_before = (
            manager.call("figures"),
            [p.memory_full_info().uss for p in managers],
        )
        items = [item(number, chance, faults) for number in range(asked.plans)]
        for number in range(asked.plans):
            refused(manager, number)
        begin_s = time.monotonic()
        history = play(manager, items)
        took_s = time.monotonic() - begin_s
        after, manager_after = (
            manager.call("figures"),
            [p.memory_full_info().uss for p in managers],
        )
        check(manager, items, history)
    counts = collections.Counter(each["args"][0] for each in items)
    print(
        f"{asked.plans} plans in {took_s:.0f} s, and {asked.plans} refused when added: {dict(counts)}"
    )
    for name, found in (
        ("at the start", begun),
        (f"after {asked.warm}", before),
        ("at the end", after),
    ):
        used = {what: len(names) for what, names in found["in use"].items()}
        print(
            f"{name:12} {found['memory'] / 2**20:7.1f} MiB, beam {'on' if found['beam'] else 'off'}, {json.dumps(used)}"
        )
    gained = [f"{(b - a) / 2**20:+.1f}" for a, b in zip(manager_before, manager_after, strict=True)]
    print(f"the server's processes gained {', '.join(gained)} MiB")
    assert not after["beam"], "the beam is on"
    check_gain(before["in use"], after["in use"])
    gain, allowed = after["memory"] - before["memory"], GAIN_BYTES + GAIN_PLAN_BYTES * asked.plans
    print(
        f"the worker gained {gain / 2**20:+.1f} MiB; threads, files, sockets, processes, shared memory as after {asked.warm}"
    )
    assert gain <= allowed, f"more than {allowed / 2**20:.1f} MiB"


if __name__ == "__main__":
    main()
