"""The camera server of ``benchmarks/remote.py``: serves frames made beforehand.

Run ``python remote_camera.py PORT STREAM_ADDRESS SIZE DISTINCT [HOST]``.
"""

import sys

import numpy as np
from concertino_scan import PreparedSource

from concertino.servers import serve_camera


def main() -> None:
    """Serve until ended."""
    port, address, size, distinct = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    host = sys.argv[5] if len(sys.argv) > 5 else "127.0.0.1"
    frames = np.random.default_rng(1).integers(0, 4096, (distinct, size, size), np.uint16)
    serve_camera(
        lambda: PreparedSource(frames), port=int(port), host=host, stream_address=address,
        lease_s=30.0, log=None,
    )  # fmt: skip


if __name__ == "__main__":
    main()
