"""Hosts of one's own on one computer: network namespaces around a switch, made and removed here.

Linux, root and ``ip`` (Debian's iproute2) are needed. Nothing leaves the computer.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator

_NETWORK = "10.77.0"


class Hosts:
    """Some hosts, each with an address on one network.

    Parameters
    ----------
    names : tuple of str
        Of the hosts.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._tag = secrets.token_hex(2)
        self._names = names

    def address(self, name: str) -> str:
        """Return a host's address."""
        return f"{_NETWORK}.{1 + self._names.index(name)}"

    def command(self, name: str, *command: str) -> list[str]:
        """Return what runs a command on a host."""
        return ["ip", "netns", "exec", self._space(name), *command]

    def set_link(self, name: str, *, up: bool) -> None:
        """Plug a host's cable in, or pull it out."""
        _ip("-n", self._space("switch"), "link", "set", f"p-{name}", "up" if up else "down")

    def delay(self, name: str, delay_ms: float, loss_percent: float) -> bool:
        """Make a host's line slow and lossy; tell whether this kernel can."""
        done = subprocess.run(
            ["ip", "netns", "exec", self._space(name), "tc", "qdisc", "add", "dev", "eth0", "root",
             "netem", "delay", f"{delay_ms:g}ms", "loss", f"{loss_percent:g}%"],
            capture_output=True,
        )  # fmt: skip
        return done.returncode == 0

    def make(self) -> None:
        """Make them."""
        switch = self._space("switch")
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for name in self._names:
            space = self._space(name)
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "add", "eth0", "type", "veth",
                "peer", "name", f"p-{name}", "netns", switch)  # fmt: skip
            _ip("-n", switch, "link", "set", f"p-{name}", "master", "bridge", "up")
            _ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")

    def remove(self) -> None:
        """Remove what there is of them."""
        for name in ("switch", *self._names):
            subprocess.run(["ip", "netns", "del", self._space(name)], capture_output=True)

    def _space(self, name: str) -> str:
        return f"concertino-{self._tag}-{name}"


@contextlib.contextmanager
def hosts(*names: str) -> Iterator[Hosts]:
    """Have hosts as long as the block lasts."""
    made = Hosts(names)
    try:
        made.make()
        yield made
    finally:
        made.remove()


def why_not() -> str:
    """Return why there can be no hosts here; empty when there can."""
    if os.geteuid() or not shutil.which("ip"):
        return "network namespaces need root and Debian's iproute2"
    try:
        with hosts("one", "other"):
            return ""
    except subprocess.CalledProcessError as error:
        return f"this kernel has no network namespaces or bridges: {error.stderr.decode().strip()}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
