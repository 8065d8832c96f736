"""Puts the ledgers of a camera's frame streams into a run."""

import time
from collections.abc import Iterator
from typing import Any

from bluesky.protocols import Collectable, Stageable
from event_model import DataKey, PartialEvent

from concertino.documents import check_device_name
from concertino.frames import ledger_records

from ._remote_acquisition import AnyAcquisition

_SUFFIX = "-ledger"
_COLUMNS: dict[str, tuple[Any, str]] = {
    "stream": ("string", "<U64"),
    "party": ("string", "<U64"),
    "role": ("string", "<U16"),
    "triggered": ("integer", "<i8"),
    "exposed": ("integer", "<i8"),
    "recorded": ("integer", "<i8"),
    "frames": ("integer", "<i8"),
    "acknowledged": ("integer", "<i8"),
    "dropped": ("integer", "<i8"),
    "discarded": ("integer", "<i8"),
    "digest": ("string", "<U16"),
    "state": ("string", "<U16"),
    "reason": ("string", "<U512"),
    "necessary": ("boolean", "|b1"),
}


class LedgerCollector(Collectable, Stageable):
    """Collects one event for each party of each frame stream that ended since the last time."""

    parent = None

    def __init__(self, name: str) -> None:
        self.set_name(name)
        #: Whether the camera stores what it exposes, whoever else does.
        self.self_stored = False
        self._pending: list[AnyAcquisition] = []
        self._unstored: dict[str, None] = {}
        self._stored = False
        self._slowest = ""

    @property
    def slowest(self) -> str:
        """Whom the camera waited for in the stream collected last, in words; empty if for nobody."""
        return self._slowest

    @property
    def unstored(self) -> tuple[str, ...]:
        """Streams with frames that nobody stored, of those collected since this was staged."""
        return tuple(self._unstored)

    @property
    def stored(self) -> bool:
        """Whether frames of any stream were stored, of those collected since this was staged."""
        return self._stored

    @property
    def name(self) -> str:
        """Prefix of its data keys."""
        return self._name

    def set_name(self, name: str) -> None:
        """Name the device after its camera.

        Raises
        ------
        ParameterError
            If nothing of a run can be named after that.
        """
        # Here, as each camera has one: when it is made, long before a run fails with it.
        if name != _SUFFIX:  # A part of another device is named later.
            check_device_name(name.removesuffix(_SUFFIX), "camera", in_files=True)
        self._name = name

    def watch(self, acquisition: AnyAcquisition) -> None:
        """Have the ledger of an acquisition among those that are collected next."""
        self._pending.append(acquisition)

    def stage(self) -> list[Any]:
        """Forget what a run left that could not collect it."""
        self._pending = []
        self._unstored.clear()
        self._stored = False
        return [self]

    def unstage(self) -> list[Any]:
        """Do nothing."""
        return [self]

    def describe_collect(self) -> dict[str, DataKey]:
        """Describe the columns of the ledger."""
        return {
            f"{self.name}-{column}": DataKey(
                source="frame stream", shape=[], dtype=dtype, dtype_numpy=dtype_numpy
            )
            for column, (dtype, dtype_numpy) in _COLUMNS.items()
        }

    def collect(self) -> Iterator[PartialEvent]:
        """Yield the lines of the ledger that have not been collected."""
        pending, self._pending = self._pending, []
        now_s = time.time()
        for acquisition in pending:
            if not acquisition.started:
                continue
            ledger = acquisition.ledger or acquisition.stream.ledger()
            self._slowest = ledger.slowest
            if acquisition.stream.claims or self.self_stored:
                self._stored = True
            elif ledger.published:
                self._unstored[acquisition.request.stream_name] = None
            for record in ledger_records(ledger, acquisition.request.stream_name):
                record["reason"] = record["reason"][:512]
                data = {f"{self.name}-{column}": record[column] for column in _COLUMNS}
                yield PartialEvent(data=data, timestamps=dict.fromkeys(data, now_s), time=now_s)
