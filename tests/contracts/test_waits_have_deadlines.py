"""No wait in the source goes on for ever, or it stands here with the reason why it ends."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("plans", "devices", "callbacks", "src/concertino")

#: Methods that wait for ever when they are given neither a time nor anything else.
WAITING = ("wait", "join", "result", "get", "acquire", "communicate")

_DONE = "the future is done: this takes its result, and waits for nothing"
_BOUNDED = "what is awaited has a deadline of its own"
_WORKER = "a thread that is there to wait for work; it keeps no process alive, or is told to end"
_KILLED = "the process was killed: the system ends it"
_COMPUTES = "waits for a computation or a disk, not for a device; its end is the end of the work"
_USER = (
    "the user decides when it ends; the RunEngine hears an abort meanwhile, and there is no beam"
)

JUSTIFIED: dict[str, str] = {
    "plans/series/_for_each.py::_iterate": _USER,
    "plans/run/_pause_request.py::PauseRequest.wait": _USER,
    "plans/imaging/_take_scan.py::_heard": _USER,
    "plans/run/_interruptible.py::Interruptible._wait": _USER,
    "plans/core/_awaited.py::Awaited._do": _DONE,
    "plans/safety/_stopping.py::StopsInTime.stop": _DONE,
    "plans/core/_awaited.py::Awaited.result": _DONE,
    "plans/core/_device_queries.py::DeviceQuery.unasked": _DONE,
    "plans/core/_device_queries.py::outcome": _BOUNDED,
    "plans/core/_device_queries.py::in_some_loop": _BOUNDED,
    "devices/camera/_async_source.py::LoopSource._wait": "looked at in slices; `stop` cancels it",
    "src/concertino/twin/_host.py::TwinHost._go": _DONE,
    "src/concertino/twin/_axis.py::Axis.move": "a motor that was made to stall, until it is told to stop",
    "src/concertino/twin/_camera.py::CameraDriver._acquire": "a client's put, done when it acquires no more, as a busy record's",
    "src/concertino/twin/_hdf_records.py::HdfWriter._capture": "a client's put, done when it captures no more, as a busy record's",
    "src/concertino/twin/_hdf_file.py::HdfFile._run": _WORKER,
    "devices/camera/_file_source.py::FileSource._due": "`stop` releases it",
    "devices/vendors/_micro_manager_source.py::MicroManagerSource._single": "`stop` releases it",
    "devices/simulated/_simulated_source.py::SimulatedSource._next_exposure": "`stop` releases it",
    "callbacks/hosting/_child_main.py::_Host._take": _WORKER,
    "callbacks/hosting/_child_process.py::ChildProcess._result": _DONE,
    "callbacks/hosting/_child_process.py::ChildProcess.take_document": _DONE,
    "src/concertino/consumers/_consumer.py::Consumer._wait": _DONE,
    "src/concertino/consumers/_consumer.py::_Desk._work": _WORKER,
    "src/concertino/consumers/_image_writer.py::_sync": _DONE,
    "callbacks/reconstruction/_online_reconstruction.py::OnlineReconstruction.rereconstruct": _COMPUTES,
    "callbacks/reconstruction/_online_reconstruction.py::OnlineReconstruction.result": _DONE,
    "callbacks/reconstruction/_previews.py::Previews.stop": _COMPUTES,
    "callbacks/reconstruction/_previews.py::Previews._look_again": _WORKER,
    "callbacks/reconstruction/_run_jobs.py::OfRun.wait": _DONE,
    "callbacks/alarms/_scan_alarms.py::ScanAlarms.wait": _DONE,
    "callbacks/reconstruction/_series_job.py::SeriesJob.finish": _COMPUTES,
    "callbacks/remote.py::RemoteCallback._send": _WORKER,
    "src/concertino/batch/_dask_parts.py::Cluster._result": _DONE,
    "src/concertino/cli/_demo.py::run_demo": _COMPUTES,
    "src/concertino/session/_run_start_suspender.py::RunStartSuspender._wait_and": _USER,
    "src/concertino/session/_beam_guard.py::SessionGuard._wait_and": _BOUNDED,
    "src/concertino/session/prompt/_at_prompt.py::_mv": "run_safely around it gives each wait a deadline",
    "src/concertino/guard/_holder.py::Holder.so_far": _DONE,
    "src/concertino/guard/_watch.py::Watch._finished": _DONE,
    "src/concertino/frames/_direct.py::DirectChannel._copy_newest": "a lock that is held for microseconds",
    "src/concertino/reconstruction/engines/_lanes.py::LaneSlices.slices": _COMPUTES,
    "src/concertino/reconstruction/backends/_ufo_child.py::main": _WORKER,
    "src/concertino/reconstruction/backends/_ufo_process.py::_end": _KILLED,
    "src/concertino/servers/_reconstruction_server.py::Reconstruction.summary": _COMPUTES,
    "src/concertino/servers/_served.py::Served._do_work": _WORKER,
    "src/concertino/storage/catalog/_catalog_tree.py::prepare_database": _COMPUTES,
    "src/concertino/storage/catalog/_catalog_writer.py::CatalogWriter._next": _WORKER,
    "src/concertino/storage/record/_recorder.py::Recorder._check_closed": _DONE,
    "src/concertino/storage/formats/_tiff_sequence.py::TiffSequenceSink._write_together": _COMPUTES,
    "src/concertino/viewers/_page.py::LivePage.close": _KILLED,
}


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(part.is_symlink() for part in path.parents) and "testing" not in path.parts:
                yield path


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _timed(call: ast.Call) -> bool:
    return any(
        word.arg is None or "timeout" in word.arg or "within" in word.arg for word in call.keywords
    )


class Waits(ast.NodeVisitor):
    """Finds calls that may wait for ever, by the function that they stand in."""

    def __init__(self, messages: bool) -> None:
        self.messages = (
            messages  # Whether messages to the RunEngine count: a plan's are bounded at its run.
        )
        self.found: list[tuple[str, int, str]] = []
        self._where: list[str] = []
        self._bounded: set[int] = set()

    def _enter(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._where.append(node.name)
        self.generic_visit(node)
        self._where.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _enter  # noqa: N815

    def visit_Call(self, node: ast.Call) -> None:
        name = _name(node.func)
        if name == "wait_for" and len(node.args) == 2:  # asyncio's, or a condition's with a time
            self._bounded.add(id(node.args[0]))
        if self._waits(node, name):
            self.found.append((".".join(self._where), node.lineno, ast.unparse(node)[:60]))
        self.generic_visit(node)

    def _waits(self, node: ast.Call, name: str) -> bool:
        if id(node) in self._bounded or _timed(node):
            return False
        if name == "to_thread":
            return len(node.args) == 1 and _name(node.args[0]) in WAITING
        if name == "Msg":
            kind = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            return kind == "wait_for" or (self.messages and kind == "wait")
        if isinstance(node.func, ast.Attribute) and _name(node.func.value) == "bps":
            waits = any(
                w.arg == "wait" and getattr(w.value, "value", 0) is True for w in node.keywords
            )
            return name == "wait_for" or (self.messages and (waits or name in ("mv", "wait")))
        if isinstance(node.func, ast.Attribute) and _name(node.func.value) == "asyncio":
            return name == "wait"
        if name == "wait_for":
            return len(node.args) < 2
        if ast.unparse(node.func) in ("LEARNT.get",):  # A value, behind a lock.
            return False
        # A lock that is only tried does not wait.
        tried = any(word.arg == "blocking" for word in node.keywords)
        return isinstance(node.func, ast.Attribute) and name in WAITING and not (node.args or tried)


def waits_of(source: str, messages: bool = True) -> list[tuple[str, int, str]]:
    visitor = Waits(messages)
    visitor.visit(ast.parse(source))
    return visitor.found


def test_no_wait_without_a_deadline() -> None:
    found, seen = [], set()
    for path in sources():
        short = path.relative_to(ROOT).as_posix()
        for where, line, call in waits_of(
            path.read_text(), messages=not short.startswith("plans/")
        ):
            key = f"{short}::{where}"
            seen.add(key)
            if key not in JUSTIFIED:
                found.append(f"{short}:{line} in {where}: {call}")
    assert not found, "These may wait for ever:\n" + "\n".join(found)
    assert not set(JUSTIFIED) - seen, "These do not wait any more; strike them from the list."


@pytest.mark.parametrize(
    "line",
    [
        "event.wait()", "thread.join()", "future.result()", "items.get()", "lock.acquire()",
        "await event.wait()", "await asyncio.to_thread(event.wait)", "await asyncio.wait(tasks)",
        "changed.wait_for(ready)", "process.communicate()", "process.wait()",
        "yield from bps.mv(motor, 1)", "yield from bps.stage(camera, wait=True)", "bps.wait('group')",
        "yield Msg('wait', None, group=g)", "yield Msg('wait_for', None, [f])",
    ],
)  # fmt: skip
def test_what_would_wait_for_ever_is_found(line: str) -> None:
    assert waits_of(f"async def f():\n    {line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "event.wait(1)", "thread.join(timeout=2)", "future.result(3)", "mapping.get(key)",
        "await asyncio.wait_for(event.wait(), 1)", "await asyncio.to_thread(event.wait, 1)",
        "await asyncio.wait(tasks, timeout=1)", "changed.wait_for(ready, 1)", "', '.join(names)",
        "items.get(timeout=1)", "yield Msg('wait', None, group=g, timeout=1)",
        "bps.stage(camera, wait=False)",
    ],
)  # fmt: skip
def test_what_ends_is_not(line: str) -> None:
    assert not waits_of(f"async def f():\n    {line}\n")
