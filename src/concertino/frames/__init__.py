"""The data plane: streams of camera frames that account for every frame.

A `FrameStream` publishes frames through a preallocated ring; `subscribe` reads them, each one in
order (``every``) or only the newest (``latest``).
"""

from ._direct import is_published_here
from ._pre_trigger_buffer import PreTriggerBuffer
from ._stream import FrameStream
from ._subscription import Subscription, subscribe
from .core._assets import StreamAssets
from .core._batch import Claim, FrameBatch
from .core._ledger import Ledger, SubscriberLedger, ledger_records
from .core._request import FrameRequest, PulseTrain
from .core._retrospective import Recording, RecordingTrigger, Retrospective, TriggerEvent
from .core._ring import Ring, frame_checksum
from .sockets._addresses import address_beside
from .sockets._keys import KEYS_VARIABLE, Keys, allow_key, key_fingerprint, load_keys, make_keys
from .sockets._routes import add_route

__all__ = [
    "KEYS_VARIABLE",
    "Claim",
    "FrameBatch",
    "FrameRequest",
    "FrameStream",
    "Keys",
    "Ledger",
    "PreTriggerBuffer",
    "PulseTrain",
    "Recording",
    "RecordingTrigger",
    "Retrospective",
    "Ring",
    "StreamAssets",
    "SubscriberLedger",
    "Subscription",
    "TriggerEvent",
    "add_route",
    "address_beside",
    "allow_key",
    "frame_checksum",
    "is_published_here",
    "key_fingerprint",
    "ledger_records",
    "load_keys",
    "make_keys",
    "subscribe",
]

for _name in __all__:
    if callable(globals()[_name]):
        globals()[_name].__module__ = __name__
del _name
