"""What holds for all tests."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A shared or busy machine makes no example wrong.
settings.register_profile("concertino", deadline=None)
settings.load_profile("concertino")

# A job in the background ignores Ctrl-C, and one of nohup a lost terminal; so would the programs that tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _data_directories() -> set[Path]:
    checkout = Path(__file__).parents[1]
    return {*checkout.glob(".scan_id"), *checkout.glob("*/.scan_id")}


@pytest.fixture(scope="session", autouse=True)
def nothing_is_stored_in_the_checkout() -> Iterator[None]:
    """Have tests, and the programs that they start, leave no runs where the sources are."""
    before = _data_directories()
    yield
    assert _data_directories() <= before
