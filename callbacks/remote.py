"""Callbacks that work on other computers: the session gives them documents, the camera the frames.

Each has a Tango server, started there with ``concertino tango writer --port 7001`` and so on.
"""

import json
import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Self

from concertino import ConcertinoError, DeviceError, SessionError
from concertino._tango_client import LOST_S, TangoClient
from concertino.callbacks import Consumer
from concertino.documents import DocumentCallback
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import encode_document

__all__ = ["RemoteBenchmarker", "RemoteCallback", "RemoteImageWriter", "RemoteOnlineReconstruction"]

LOG = logging.getLogger(__name__)

_SIGN_S = 2.0
_AGAIN_S = 0.2
_MARGIN_S = 2.0
_FETCH_S = 0.2


class RemoteCallback(Consumer):
    """Hands the documents of runs to a server that hosts a callback.

    Parameters
    ----------
    address : str
        ``host:port`` of the server, or a whole Tango address.
    kind : {"writer", "reconstruction", "benchmark"}
        What the server is.
    configuration : mapping, optional
        Parameters of the server's callback; those it has by default.
    timeout_s : float
        How long the server may take for a start, descriptor or stop document, in seconds; one that is
        not necessary has 10 s at most.
    necessary : bool
        Whether a run fails with it; otherwise it goes on without it, and `error` tells why.

    Attributes
    ----------
    run_directory : str
        Directory of the last run on the server's computer.

    Raises
    ------
    DeviceError
        If the server does not answer.
    SessionError
        If it serves another session; with who.
    """

    def __init__(
        self,
        address: str,
        kind: str,
        configuration: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 60.0,
        necessary: bool = False,
    ) -> None:
        super().__init__(kind, necessary=necessary)
        self.patience_s = min(self.patience_s, timeout_s) + _MARGIN_S
        self.run_directory = ""
        self._timeout_s = timeout_s
        self._client = TangoClient(address, kind)
        if configuration is not None:
            self._client.call("Configure", configuration=dict(configuration))
        self._documents: queue.SimpleQueue[tuple[str, Any, Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._errors: list[BaseException] = []
        self._lost = False  # Not heard of in this run; then only its end is told once more.
        self._number = 0
        self._closed = threading.Event()
        self._in_run = threading.Event()
        for target in (self._send, self._show_signs):
            threading.Thread(target=target, name=f"remote {kind}", daemon=True).start()

    def take_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Hand on one document; for a start, descriptor or stop wait until the server has taken it.

        Raises
        ------
        ConcertinoError
            What the callback raised at the server, or that the server does not answer.
        """
        try:
            self._hand_on(name, document)
        except ConcertinoError as error:
            if name == "start":
                self._in_run.clear()  # It does not begin, and its end is never told.
            if name != "stop" or document["exit_status"] == "success":
                raise
            # The run tells why it failed, and the callbacks after this one must hear of its end, too.
            LOG.warning("The %s server did not take the end of the run: %s", self.name, error)
        finally:
            if name == "stop":
                self._in_run.clear()
                self._errors.clear()

    def detached(self, error: BaseException) -> None:
        """Let the server hear no more of the run: after its lease it closes its files."""
        self._in_run.clear()
        self._errors.clear()

    def _hand_on(self, name: str, document: Mapping[str, Any]) -> None:
        if self._errors and name != "stop":
            raise self._errors.pop(0)
        taken: Future[Any] = Future()
        if name == "start":
            self._in_run.set()
        self._documents.put((name, document, taken))
        if name in self.WAITED_FOR:
            answer = taken.result(self._timeout_s + _MARGIN_S)
            if name == "start":
                self.run_directory = answer["run_directory"]
        if self._errors:
            raise self._errors.pop(0)

    def wait(self, timeout_s: float | None = None) -> dict[str, Any]:
        """Wait for the server's work on the last run, and return its summary.

        Raises
        ------
        ConcertinoError
            What went wrong there.
        """
        summary: dict[str, Any] = self._client.ask("Wait", timeout_s)
        return summary

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs that the server has stored: name, uid, time, plan and status of each."""
        found: list[dict[str, Any]] = self._client.call("Runs")
        return found

    def replay(
        self,
        run: str,
        callbacks: DocumentCallback | Iterable[DocumentCallback],
        *,
        streams: Iterable[str] | None = None,
    ) -> int:
        """Give a run that the server has stored to callbacks here.

        Documents and frames are those of `concertino.storage.replay`; the frames come over the network,
        and no file is shared.

        Parameters
        ----------
        run : str
            Name of the run's directory, or its uid.
        callbacks : callable or iterable of callable
            Take the documents.
        streams : iterable of str, optional
            Streams to replay; all by default.

        Returns
        -------
        int
            Number of documents.

        Raises
        ------
        ConcertinoError
            If there is no such run, or it cannot be read.
        """
        takers = [callbacks] if callable(callbacks) else list(callbacks)
        wanted = None if streams is None else list(streams)
        self._client.call("Replay", run=run, streams=wanted)
        seen = 0
        while True:
            said = self._client.call("NextDocument", seen=seen)
            if "document" in said:
                for taker in takers:
                    taker(said["name"], said["document"])
                seen = said["number"]
            elif "ended" in said:
                return seen

    def close(self) -> None:
        """Let the server serve others; idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._documents.put(None)
        try:
            self._client.call("Release")
        except ConcertinoError:
            return  # A server that is gone serves nobody.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._client.address}>"

    def _send(self) -> None:
        while (item := self._documents.get()) is not None:
            name, document, taken = item
            try:
                # As the recorder writes it: without arrays, quantities and the like.
                plain = json.loads(encode_document(name, document))[1]
                ticket = self._deliver(name, plain)
                answer = None
                if name in self.WAITED_FOR:
                    answer = self._client.answer("Document", ticket, self._timeout_s)
                taken.set_result(answer)
            except Exception as error:
                if name not in self.WAITED_FOR:
                    self._errors.append(error)
                taken.set_exception(error)

    def _deliver(self, name: str, document: Mapping[str, Any]) -> int:
        """Give a document to the server, again if it did not answer; return its ticket."""
        self._number += 1
        if name == "start":
            self._lost = False
        elif self._lost and name != "stop":
            raise DeviceError(
                f"The {self.name} was lost during the run and is given no more of it. Start it "
                "again for the next run."
            )
        began_s = time.monotonic()
        while True:
            try:
                said = self._client.call(
                    "Document", name=name, document=document, number=self._number
                )
                return int(said["ticket"])
            except DeviceError:
                late = time.monotonic() - began_s > LOST_S
                self._lost = self._lost or late
                if self._closed.is_set() or self._lost:
                    raise
                time.sleep(_AGAIN_S)

    def _show_signs(self) -> None:
        heard_s = time.monotonic()
        while not self._closed.wait(_SIGN_S):
            if not self._in_run.is_set():
                heard_s = time.monotonic()
                continue
            try:
                self._client.call("KeepAlive")
                heard_s = time.monotonic()
            except ConcertinoError as error:
                # One that is missed, of a server that is busy or a line that is full, is no loss.
                if time.monotonic() - heard_s > LOST_S:
                    self._lost = True
                    self._errors.append(
                        SessionError(f"The {self.name} was lost during the run: {error}")
                    )
                    self._in_run.clear()


class RemoteImageWriter(RemoteCallback):
    """Has every frame stored on another computer, by ``concertino tango writer``.

    Parameters
    ----------
    address : str
        ``host:port`` of the server, or a whole Tango address.
    bytes_per_file : int
        As for `ImageWriter`.
    durability : {"written", "synced"}
        As for `ImageWriter`.
    timeout_s : float
        How long the server may take for a start, descriptor or stop document, in seconds.
    necessary : bool
        As for `ImageWriter`.
    """

    stores_frames = True

    def __init__(
        self,
        address: str,
        *,
        bytes_per_file: int = 0,
        durability: str = "written",
        timeout_s: float = 60.0,
        necessary: bool = True,
    ) -> None:
        how = {"bytes_per_file": bytes_per_file, "durability": durability}
        super().__init__(address, "writer", how, timeout_s=timeout_s, necessary=necessary)


class RemoteOnlineReconstruction(RemoteCallback):
    """Has runs reconstructed on another computer, by ``concertino tango reconstruction``.

    Parameters
    ----------
    address : str
        ``host:port`` of the server, or a whole Tango address.
    settings : ReconstructionSettings, optional
        Which slices, and how.
    timeout_s : float
        How long the server may take for a start, descriptor or stop document, in seconds.
    **how
        Parameters of the server's `OnlineReconstruction`: ``planes``, ``preview_s``,
        ``preview_slices``, ``keep_rows``, ``resolution``.
    """

    def __init__(
        self,
        address: str,
        settings: ReconstructionSettings | None = None,
        *,
        timeout_s: float = 60.0,
        **how: Any,
    ) -> None:
        chosen = (settings or ReconstructionSettings()).model_dump(mode="json")
        self._callbacks: list[DocumentCallback] = []
        self._fetching: threading.Thread | None = None
        super().__init__(
            address, "reconstruction", {"settings": chosen, **how}, timeout_s=timeout_s
        )

    def add_callback(self, callback: DocumentCallback) -> None:
        """Give the documents of processing runs there to a callback here, in a thread.

        They tell where slices can be seen while the scan goes on, for a `LiveView` here.
        """
        self._callbacks.append(callback)
        if self._fetching is None:
            self._fetching = threading.Thread(target=self._fetch, name="remote slices", daemon=True)
            self._fetching.start()

    def update(self, changes: Mapping[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
        """Change settings of the reconstruction that goes on there; return all of them.

        Raises
        ------
        ConcertinoError
            If one cannot change any more, with the reason.
        """
        asked = {**(changes or {}), **more}
        settings: dict[str, Any] = self._client.ask("Update", self._timeout_s, changes=asked)
        return settings

    def rereconstruct(self, timeout_s: float | None = None, **changes: Any) -> dict[str, Any]:
        """Reconstruct the last run again there, with other settings; return its summary.

        Raises
        ------
        ConcertinoError
            What went wrong there.
        """
        summary: dict[str, Any] = self._client.ask("Rereconstruct", timeout_s, changes=changes)
        return summary

    def _fetch(self) -> None:
        seen: int | None = None
        while not self._closed.wait(_FETCH_S):
            try:
                if seen is None:  # what was before is of others
                    last = self._client.call("Emitted", seen=0)
                    seen = last[-1][0] if last else 0
                for number, name, document in self._client.call("Emitted", seen=seen):
                    seen = number
                    for callback in self._callbacks:
                        callback(name, document)
            except Exception as error:
                LOG.warning("a document of the remote reconstruction was not used: %s", error)


class RemoteBenchmarker(RemoteCallback):
    """Has the frame rate measured on another computer, by ``concertino tango benchmark``.

    Parameters
    ----------
    address : str
        ``host:port`` of the server, or a whole Tango address.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address, "benchmark", {})
