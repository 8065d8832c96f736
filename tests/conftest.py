"""What holds for all tests."""

import logging
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# First of all: who imports jsonschema before it reads a grammar for five seconds, in each of the tests' processes.
import concertino  # noqa: F401
from tests.channel_access import look_on_this_computer_only

# Before any test makes a client: those of a file that comes later would be looked for where the first one's IOC was.
look_on_this_computer_only()

# A shared or busy machine makes no example wrong.
settings.register_profile("concertino", deadline=None)
settings.load_profile("concertino")

# A job in the background ignores Ctrl-C, and one of nohup a lost terminal; so would the programs that tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


#: Files whose tests wait for processes and deadlines: begun first, so that none is left alone at the end.
LONG = (
    "plans/test_lost_servers.py", "cli/beamline/test_start.py", "plans/safety/test_plan_faults.py", "signals/test_signals.py", "guard/test_guard_process.py",
    "batch/test_batch_memory.py", "callbacks/reconstruction/test_live_reconstruction.py", "endurance/test_endurance.py",
    "plans/safety/test_endless_waits.py", "servers/test_remote_session.py", "session/test_queueserver.py",
    "servers/test_remote_consumers.py", "cli/test_cli.py", "batch/test_batch_cluster.py",
    "plans/safety/test_process_faults.py", "callbacks/test_what_only_looks.py", "guard/test_guard_elsewhere.py",
    "servers/test_network.py", "plans/stubs/test_triggers.py", "plans/test_several_cameras.py",
    "session/test_pause_belongs.py", "plans/stubs/test_retrospective.py", "plans/geometry/test_spiral_tomography.py",
    "plans/stubs/test_readout_later.py", "plans/test_grating_stepping.py", "session/test_one_directory.py",
    "plans/run/test_interrupts.py", "reconstruction/kernels/test_start.py", "reconstruction/kernels/test_arm.py",
    "storage/test_any_name.py",
)  # fmt: skip


#: How often a test that a busy machine disturbs is done again when it fails.
TIMES_AGAIN = 2


def _complaint(item: pytest.Item) -> str | None:
    """Say what is wrong with how a test is marked as one to be done again."""
    if any(item.iter_markers("flaky")):
        return f"{item.nodeid} is marked flaky, which needs no reason; mark it disturbed_by_load."
    for mark in item.iter_markers("disturbed_by_load"):
        reason = mark.args[0] if len(mark.args) == 1 and not mark.kwargs else None
        if not (isinstance(reason, str) and len(reason.split()) > 2):
            return (
                f"{item.nodeid} is marked disturbed_by_load with {mark.args or 'nothing'}; say in a sentence "
                "what a busy machine does to it: disturbed_by_load('…')."
            )
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have what a busy machine disturbs done again; order files: the long ones, then those of many tests."""
    if complaints := [said for item in items if (said := _complaint(item))]:
        raise pytest.UsageError(*complaints)
    for item in items:
        if item.get_closest_marker("disturbed_by_load"):
            item.add_marker(pytest.mark.flaky(reruns=TIMES_AGAIN))
    ranks = {Path(__file__).parent / name: rank for rank, name in enumerate(LONG)}
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (ranks.get(item.path, len(LONG)), -counts[item.path]))


#: A test that takes longer is told when it ends, in seconds.
SLOW_S = 100

#: Where a run that has a terminal writes; xdist's workers have none.
_terminal: pytest.TerminalReporter | None = None

#: What runs, in all of xdist's workers, and since when, by time.monotonic().
_running: dict[str, float] = {}


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Find the terminal, which is there when all plugins are."""
    global _terminal
    if not hasattr(config, "workerinput"):
        _terminal = config.pluginmanager.get_plugin("terminalreporter")


def _say(line: str) -> None:
    if _terminal is not None:
        _terminal.write_line("")
        _terminal.write_line(line, flush=True)


def pytest_runtest_logstart(nodeid: str) -> None:
    """Keep what runs."""
    _running[nodeid] = time.monotonic()


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Forget what has run; say what took long."""
    took_s = time.monotonic() - _running.pop(nodeid, time.monotonic())
    if took_s > SLOW_S:
        _say(f"slow {nodeid} ({took_s:.0f} s)")


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once what failed, or is done again, and on what: a run that is ended from outside shows no summary."""
    if report.outcome not in ("failed", "rerun"):
        return
    reasons = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
    reason = reasons[0] if reasons else report.longreprtext[-300:]
    _say(
        f"{report.outcome} {report.when} {report.nodeid} ({report.duration:.0f} s): {reason[:300]}"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_keyboard_interrupt() -> None:
    """Say what runs when the run is ended from outside: one of these hangs."""
    now = time.monotonic()
    for nodeid, since in _running.items():
        _say(f"interrupted {nodeid}, after {now - since:.0f} s")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let what tests have left in a worker be silent at its end: nobody's, it would hide the summary."""
    if hasattr(config, "workerinput"):
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def _data_directories() -> set[Path]:
    checkout = Path(__file__).parents[1]
    return {*checkout.glob(".scan_id"), *checkout.glob("*/.scan_id")}


@pytest.fixture(scope="session", autouse=True)
def nothing_is_stored_in_the_checkout() -> Iterator[None]:
    """Have tests, and the programs that they start, leave no runs where the sources are."""
    before = _data_directories()
    yield
    assert _data_directories() <= before
