"""Addresses that are none, that others have, and that lead elsewhere than they say."""

import logging
import socket
from typing import Any

import numpy as np
import pytest

from concertino import FrameStreamError, ParameterError
from concertino.frames import FrameStream, address_beside, subscribe


def published(address: str) -> FrameStream:
    return FrameStream(address, shape=(4, 4), dtype=np.uint16, ring_bytes=1 << 16)


@pytest.mark.parametrize("port", [65536, 70536, 99999])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(FrameStreamError, match=rf"has the port {port}; give one from 1 to 65535"):
        published(f"tcp://127.0.0.1:{port}/x")


def test_another_program_s_port() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(
            FrameStreamError, match="another frame stream or program listens at that port"
        ):
            published(f"tcp://127.0.0.1:{other.getsockname()[1]}/x")


def test_a_host_that_nobody_knows() -> None:
    with pytest.raises(FrameStreamError, match=r"knows no host nobody\.invalid"):
        subscribe("tcp://nobody.invalid:5000/x", name="viewer", timeout_s=0.5)


@pytest.mark.parametrize("address", [None, 5000, b"tcp://127.0.0.1:5000/x"])
def test_what_is_no_text(address: Any) -> None:
    with pytest.raises(FrameStreamError, match=r"is no text; write tcp://host:port/name"):
        subscribe(address, name="viewer")


@pytest.mark.parametrize("refresh_hz", ["fast", float("nan"), 0, -1, [25]])
def test_a_rate_that_is_none(refresh_hz: Any) -> None:
    with (
        published("tcp://") as stream,
        pytest.raises(ParameterError, match="give more than 0 frames a second"),
    ):
        subscribe(stream.address, name="viewer", delivery="latest", refresh_hz=refresh_hz)


def test_a_name_that_leads_to_this_computer_only_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = socket.getaddrinfo

    def own_name(host: Any, *how: Any, **more: Any) -> Any:  # as Debian has it in /etc/hosts
        return asked("127.0.1.1" if host == "beamline-pc" else host, *how, **more)

    monkeypatch.setattr(socket, "getaddrinfo", own_name)
    caplog.set_level(logging.WARNING)
    with pytest.raises(FrameStreamError, match="beamline-pc"):
        published("tcp://beamline-pc:0")  # ZeroMQ asks the system, which does not know it
    assert "are reached from this computer only" in caplog.text
    assert "can be read by anybody" not in caplog.text


def test_several_at_once_have_the_next_ports() -> None:
    assert address_beside("tcp://detector:5555/*", 2) == "tcp://detector:5557/*"
    assert address_beside("tcp://detector:0", 2) == "tcp://detector:0"
    with pytest.raises(FrameStreamError, match="has the port 65536"):
        address_beside("tcp://detector:65535/*", 1)
