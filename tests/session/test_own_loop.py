"""A plan that is given in the loop that would run it is refused: it would wait for itself for ever."""

import asyncio
from pathlib import Path

import bluesky.plans as bp
import pytest
from ophyd_async.core import soft_signal_rw

from concertino import SessionError
from concertino.session import open_session


def test_a_plan_in_its_own_loop_is_refused_and_the_next_one_runs(tmp_path: Path) -> None:
    with open_session(tmp_path, progress=False, catalog=False) as session:
        signal = soft_signal_rw(float, name="signal")

        async def line() -> None:
            await signal.connect()
            session.RE(bp.count([signal]))

        refused = asyncio.run_coroutine_threadsafe(line(), session.RE.loop)
        with pytest.raises(SessionError, match=r"inside its own loop, in which it would wait for itself for ever\. Give it"):  # fmt: skip
            refused.result(60)
        assert len(session.RE(bp.count([signal]))) == 1
