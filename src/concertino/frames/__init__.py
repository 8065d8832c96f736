"""The data plane: streams of camera frames that account for every frame.

A `FrameStream` publishes frames through a preallocated ring; `subscribe` reads them, each one in
order (``every``) or only the newest (``latest``).
"""

from ._assets import StreamAssets
from ._batch import Claim, FrameBatch
from ._ledger import Ledger, SubscriberLedger, ledger_records
from ._request import FrameRequest
from ._ring import Ring, frame_checksum
from ._stream import FrameStream
from ._subscription import Subscription, subscribe
from ._transport import Channel, Endpoint, Transport, register_transport

__all__ = [
    "Channel",
    "Claim",
    "Endpoint",
    "FrameBatch",
    "FrameRequest",
    "FrameStream",
    "Ledger",
    "Ring",
    "StreamAssets",
    "SubscriberLedger",
    "Subscription",
    "Transport",
    "frame_checksum",
    "ledger_records",
    "register_transport",
    "subscribe",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
