"""What ``concertino relay`` does."""

import logging
import signal
import threading
from types import FrameType

import typer

from concertino.frames import Relay


def relay_streams(publisher: str, address: str) -> None:
    """Relay until SIGINT, SIGTERM or SIGHUP."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, end)
    with Relay(publisher, address) as relay:
        typer.echo(f"Streams of {publisher} are reached at {relay.address}; Ctrl-C ends it.")
        ended.wait()
        typer.echo(f"{relay.carried / 1e6:.1f} MB were carried.")
