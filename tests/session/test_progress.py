"""A wait within a wait has a progress bar as any other, and nobody is warned of it."""

from pathlib import Path

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator

from concertino._progress import ProgressBars
from concertino.devices import SimulatedShutter
from concertino.session import open_session


def looking_again() -> MsgGenerator[None]:
    slow = SimulatedShutter(delay_s=1.0, name="slow")
    fast = SimulatedShutter(delay_s=0.3, name="fast")
    yield from bps.abs_set(slow, True, group="frames")
    done = False
    while not done:
        done = yield from bps.wait("frames", timeout=0.1, error_on_timeout=False)
        yield from bps.mv(fast, not fast.is_open)


def test_no_warning_of_a_wait_within_a_wait(tmp_path: Path) -> None:
    with open_session(tmp_path, catalog=False, progress=True) as session:
        session.RE(looking_again())
        bars = session.RE.waiting_hook
        assert isinstance(bars, ProgressBars)
        assert not bars.shown
