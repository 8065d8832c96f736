"""Reconstruction on a dask cluster: the local bits, whatever becomes of workers and scheduler."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import psutil
import pytest

from concertino import ParameterError, ReconstructionError, StorageError
from concertino.batch import reconstruct_run
from concertino.batch._dask_parts import cluster
from concertino.batch._parts import reconstruct_part
from concertino.batch._shared_slices import SharedSlices
from concertino.callbacks import ImageWriter
from concertino.cli._batch_command import reconstruct_command
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.processing._scan_frames import ScanFrames
from concertino.reconstruction import ReconstructionSettings
from concertino.session import open_session
from concertino.storage import Run, open_run

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.disturbed_by_load(
        "dask's workers are processes that must join, and end, within its time-outs and ours"
    ),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("cluster")
    beamline = SimulatedBeamline(shape=(52, 64), exposure=0.002, frame_rate=200.0)
    with open_session(directory, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter(bytes_per_file=2**24))
        session.RE(
            continuous_tomography(
                beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
                radio_position=0, flat_position=20, num_darks=2, num_flats=2,
                num_projections=60, angular_range="180 deg",
            )
        )  # fmt: skip
    return open_run("scan_0001", directory)


@pytest.fixture(scope="module")
def expected(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The slices that this process makes."""
    return slices(reconstruct_run(run, directory=tmp_path_factory.mktemp("here")).directory)


def slices(directory: Path) -> Any:
    return open_run(directory).frames("slices").read()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler in this process, without workers."""
    with distributed.LocalCluster(
        n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as here:
        yield here.scheduler_address


@pytest.fixture
def start_worker(scheduler: str) -> Iterator[Callable[[], psutil.Process]]:
    """Give a function that starts a worker process which nobody restarts."""
    workers: list[subprocess.Popen[bytes]] = []

    def start() -> psutil.Process:
        workers.append(
            subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny",
                 "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"],
                stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        return psutil.Process(workers[-1].pid)

    yield start
    for worker in workers:
        with suppress(ProcessLookupError):
            worker.kill()
        worker.wait()


@pytest.fixture
def threads() -> Iterator[distributed.Client]:
    """A client of a cluster whose worker is a thread of this process."""
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as here,
        distributed.Client(here) as client,
    ):  # fmt: skip
        yield client


def test_a_killed_worker_loses_nothing(
    run: Run, expected: Any, scheduler: str, start_worker: Callable[[], psutil.Process],
    tmp_path: Path,
) -> None:  # fmt: skip
    victim, other = start_worker(), start_worker()
    with distributed.Client(scheduler) as client:
        client.wait_for_workers(2, timeout=60)
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done > total // 5 and victim.is_running():
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait(60)

    settings = ReconstructionSettings(memory_gib=8e-4)  # eight rows a part
    result = reconstruct_run(
        run, settings, directory=tmp_path, scheduler=scheduler, progress=progress
    )
    assert not victim.is_running()
    assert other.is_running()
    np.testing.assert_array_equal(slices(result.directory), expected)
    assert (result.parts, result.workers) == (7, 2)
    assert seen[-1] == (8 * 64, 8 * 64)
    assert seen == sorted(seen)


def test_without_workers_it_gives_up(
    run: Run, scheduler: str, start_worker: Callable[[], psutil.Process]
) -> None:
    only = start_worker()
    with cluster(scheduler, patience_s=30) as on:
        on._patience_s = 1.0
        answers = on.in_order(die, [(only.pid,), (0,)])
        with pytest.raises(ReconstructionError) as caught:
            next(answers)
    message = str(caught.value)
    assert f"The dask cluster at {scheduler} has had no worker for 1 s" in message
    assert "0 of 2 parts are done" in message
    assert f"Start workers with: dask worker {scheduler}" in message


def test_a_scheduler_without_workers(scheduler: str) -> None:
    with (
        pytest.raises(ReconstructionError, match=r"has had no worker for 0\.5 s; none of its work"),
        cluster(scheduler, patience_s=0.5),
    ):
        pass


def die(pid: int, step: Callable[[int], Any]) -> None:
    os.kill(pid, signal.SIGKILL)
    time.sleep(60)


def test_a_client_gives_the_local_bits_with_shared_memory_and_without(
    run: Run, expected: Any, threads: distributed.Client, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    result = reconstruct_run(run, directory=tmp_path, scheduler=threads)
    np.testing.assert_array_equal(slices(result.directory), expected)
    assert threads.status == "running"
    assert (result.parts, result.workers) == (1, 1)
    assert result.start_s < result.duration_s
    monkeypatch.delattr(os, "memfd_create")  # as on a system that has none
    result = reconstruct_run(run, directory=tmp_path, scheduler=threads)
    np.testing.assert_array_equal(slices(result.directory), expected)


def test_a_worker_that_sees_the_memory_leaves_its_slices_there(run: Run) -> None:
    settings = ReconstructionSettings(slices=(8, 9), center=31.5)
    camera = run.start["tomo"]["camera"]
    shared = SharedSlices([(2, 64, 64)])
    for place in (shared.place(0), None):
        result, is_shared = reconstruct_part(
            str(run.directory),
            settings.model_dump_json(),
            camera,
            None,
            (0, 2),
            place,
            lambda count: None,
        )
        assert is_shared == (place is not None)
        assert len(result.volume) == (0 if is_shared else 2)
    np.testing.assert_array_equal(shared.slices(0), result.volume)


def test_workers_are_started_ready_and_said_apart(
    run: Run, expected: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reconstruct_command(
        run.directory.parent, "1", settings=None, changes=[], rows="", output=tmp_path,
        format="hdf5", scheduler="local", camera="", tomogram=None, progress=False,
    )  # fmt: skip
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    cores = len(os.sched_getaffinity(0))
    assert re.fullmatch(rf"{cores}, ready in \d+\.\d s", said["workers"]), said
    assert re.fullmatch(r"\d+\.\d s", said["time"]), said
    directory = Path(said["slices"].partition(":")[0]).parent
    np.testing.assert_array_equal(slices(directory), expected)
    # Nothing of the shared memory is left, neither open nor mapped.
    files = [os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
    assert not [name for name in files if "concertino-slices" in name]
    assert "concertino-slices" not in Path("/proc/self/maps").read_text()


def test_the_memory_of_a_worker_bounds_its_parts(
    run: Run, threads: distributed.Client, tmp_path: Path
) -> None:
    settings = ReconstructionSettings(center=31.5, memory_gib=8e-4)  # eight rows
    result = reconstruct_run(run, settings, directory=tmp_path, scheduler=threads)
    assert result.parts == 7
    with cluster(threads) as on:
        assert on.memory_bytes is not None
        assert 0 < on.memory_bytes <= psutil.virtual_memory().total


def test_a_part_that_fails_says_why_and_where(
    run: Run, threads: distributed.Client, tmp_path: Path
) -> None:
    damaged = next((run.directory / "projections").glob("*.tif"))
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-100] + bytes(100))
    try:
        with pytest.raises(StorageError, match=r"Frame 59 of .*checksum") as caught:
            reconstruct_run(
                open_run(run.directory), ReconstructionSettings(center=31.5),
                directory=tmp_path, scheduler=threads,
            )  # fmt: skip
        # Of parts each reads a share of the projections whole, and of the others its rows only.
        scan = ScanFrames(open_run(run.directory))
        for share in ((0, 2), (2, 2), (1, 2)):
            one = scan.reconstructor(ReconstructionSettings(center=31.5, slices=(8,)))
            with pytest.raises(StorageError) if share == (1, 2) else contextlib.nullcontext():
                assert sum(scan.feeding(one, share)) == scan.num_frames
    finally:
        # In one step: other parts may still have the file mapped.
        whole = damaged.with_suffix(".whole")
        whole.write_bytes(content)
        whole.replace(damaged)
    assert "on the dask worker inproc://" in caught.value.__notes__[0]
    with (
        cluster(threads) as on,
        pytest.raises(
            ReconstructionError, match=r"A part .* failed on .*: ZeroDivisionError: divi"
        ),
    ):
        list(on.in_order(divide, [(1,), (0,)]))


def divide(number: int, step: Callable[[int], Any]) -> float:
    return 1 / number


def test_what_is_no_scheduler_is_refused_in_a_sentence() -> None:
    with pytest.raises(ParameterError, match="scheduler: 5 was given; give 'local', the address"):
        cluster(5).__enter__()
    with pytest.raises(
        ReconstructionError, match=r"No dask scheduler answers at 'tcp://127\.0\.0\.1:9'"
    ):
        cluster("tcp://127.0.0.1:9").__enter__()


def test_a_scheduler_that_dies_is_noticed(threads: distributed.Client) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCHEDULER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with cluster(address) as on:
            on._patience_s = 2.0
            answers = on.in_order(wait_for, [(0.0,), (120.0,)])
            assert next(answers) is None
            process.kill()
            with pytest.raises(ReconstructionError, match=f"at {address} "):
                next(answers)
    finally:
        process.kill()
        process.wait()


SCHEDULER = """
import distributed, time
with distributed.LocalCluster(n_workers=1, processes=False, host="127.0.0.1", protocol="tcp",
                              dashboard_address="127.0.0.1:0") as here:
    print(here.scheduler_address, flush=True)
    time.sleep(600)
"""


def wait_for(seconds: float, step: Callable[[int], Any]) -> None:
    time.sleep(seconds)


def test_workers_that_do_not_start_are_told() -> None:
    with (
        pytest.raises(ReconstructionError, match=r"dask workers .* did not start: .* failed"),
        cluster("local", preload="1/0"),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("used_s", "times"),
    [(0.0, 1), (0.0, 3), (0.5, 1), (2.0, 1), (2.0, 3)],
    ids=["as they start", "again and again", "as they load", "at work", "again and again at work"],
)
def test_ctrl_c_ends_the_workers(run: Run, tmp_path: Path, used_s: float, times: int) -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", "import concertino.cli; concertino.cli.main()", "reconstruct",
         str(run.directory), "--scheduler", "local", "--output", str(tmp_path), "--quiet",
         # half a minute of work
         *("--set", "axis_angle_x=0.01"), *("--set", "x_region=[-32, 32, 0.02]"),
         *("--set", "y_region=[-32, 32, 0.02]")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    me = psutil.Process(command.pid)
    until = time.monotonic() + 240
    while not any(is_worker(child, used_s) for child in me.children(recursive=True)):
        assert time.monotonic() < until
        assert command.poll() is None, command.communicate()
        time.sleep(0.05)
    children = me.children(recursive=True)
    for _ in range(times):
        os.killpg(command.pid, signal.SIGINT)  # as a terminal does
        time.sleep(0.01)
    _, printed = command.communicate(timeout=20)  # of half a minute that it would take
    late = {-signal.SIGINT} if times > 1 else set()  # one came when all was done and said
    assert command.returncode in {130} | late, printed
    *before, last = printed.splitlines()
    assert last == "concertino: interrupted."
    assert all(line.startswith("Compiling the reconstruction") for line in before), printed
    _, alive = psutil.wait_procs(children, 10)
    assert not alive


def is_worker(process: psutil.Process, used_s: float) -> bool:
    """Whether it is a worker that has used some processor time."""
    with suppress(psutil.NoSuchProcess):  # others come and go
        return "spawn_main" in str(process.cmdline()) and process.cpu_times().user >= used_s
    return False
