"""Publishers that are reached by way of another place, as through a tunnel."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from concertino import FrameStreamError
from concertino.frames import KEYS_VARIABLE, FrameStream, add_route, make_keys, subscribe
from concertino.frames.sockets import _routes as routes
from tests.frames.line import Line

SHAPE = (16, 32)


@pytest.fixture(autouse=True)
def _no_routes_are_left() -> Iterator[None]:
    yield
    routes._routes.clear()


def place_of(address: str) -> str:
    return address.rpartition("/")[0]


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_route_is_taken_and_what_is_encrypted_passes_as_it_is(
    encrypted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if encrypted:
        monkeypatch.setenv(KEYS_VARIABLE, str(make_keys(tmp_path / "keys", "detector").folder))
    with FrameStream("tcp://", shape=SHAPE, dtype="u2", timeout_s=30.0) as stream:
        tunnel = Line(stream.address)
        add_route(place_of(stream.address), place_of(tunnel.address))
        with subscribe(stream.address, name="reader", resume=True) as subscription:
            assert tunnel.carried > 0
            stream.publish(np.full(SHAPE, 7, np.uint16))
            batch = subscription.read(timeout_s=30)
            assert batch is not None
            assert (batch.frames == 7).all()
            subscription.acknowledge(1)
            subscription.finish()
            stream.end().check()
        tunnel.close()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("udp://camera:1", "is of no known kind"),
        ("tcp://camera", "is malformed; write tcp://host:port"),
        ("tcp://camera:0", "names no place to go"),
    ],
)
def test_what_is_no_place_of_a_network_has_no_route(address: str, sentence: str) -> None:
    for places in ((address, "tcp://gateway:1"), ("tcp://camera:1", address)):
        with pytest.raises(FrameStreamError, match=f"'{re.escape(address)}' {sentence}"):
            add_route(*places)
