"""Frame streams to wherever the subscriber is: shared memory on the same computer, TCP from elsewhere."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from numpy.typing import DTypeLike

from ._ring import Ring
from ._shared_ring import SharedRing
from ._tcp import TcpTransport
from ._transport import register_transport


class AnyTransport(TcpTransport):
    """Serves ``any://host:port`` as `TcpTransport` does, but lends its memory to its own computer."""

    def ring(
        self, shape: tuple[int, int], dtype: DTypeLike, max_bytes: int, old: Ring | None = None
    ) -> Ring:
        if isinstance(old, SharedRing) and old.fits(shape, dtype, max_bytes):
            return old
        return SharedRing(shape, dtype, max_bytes)

    def computer(self) -> str:
        """Return what tells this computer from others, and a container or namespace from its host."""
        found = []
        with suppress(OSError):
            found.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
            found += [str(os.stat(f"/proc/self/ns/{kind}").st_ino) for kind in ("pid", "net")]
        return "/".join(found)


register_transport("any", AnyTransport())
