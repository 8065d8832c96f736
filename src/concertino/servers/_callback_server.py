"""Tango servers that host a callback: it takes the frames by itself, the session only its documents."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tango import AttrWriteType, DevState
from tango.server import attribute, command, device_property

from concertino import SessionError
from concertino.callbacks import (
    AbandonsStreams,
    Benchmarker,
    Closes,
    Consumer,
    ImageWriter,
    SettlesStreams,
    StoredStreamFrames,
)
from concertino.storage import (
    Recorder,
    RunDirectories,
    check_place,
    find_runs,
    open_run,
    stop_of_unfinished,
)

from ._remote_replay import RemoteReplay
from ._served import Served, json_command
from ._undocumented_frames import UndocumentedFrames

LOG = logging.getLogger(__name__)


class CallbackServer(Served):
    """Gives the documents of a run to a callback and keeps them with what the callback stores."""

    directory = device_property(
        dtype=str, default_value="data", doc="Data directory on the server's computer."
    )
    roots = device_property(
        dtype=(str,),
        default_value=[],
        doc="Directories that a session may have used beside the data directory.",
    )
    host = device_property(
        dtype=str, default_value="127.0.0.1", doc="Where stored frames are served for read-back."
    )

    def init_device(self) -> None:
        """Open the data directory; say what an earlier server left unfinished."""
        super().init_device()
        self._directories = RunDirectories(self.directory)
        self._recorder = Recorder(self._directories)
        self._open: dict[str, dict[str, Any]] = {}  # start documents of open runs
        self._replay: RemoteReplay | None = None
        self._last = ""
        self._undescribed = UndocumentedFrames()
        self._newest: tuple[tuple[str, int | None], dict[str, int]] = (("", None), {})
        self._failures: list[Exception] = []  # of documents whose answer nobody fetches
        stored = find_runs(self._directories.root)
        for run in stored:
            if run.exit_status == "damaged":
                LOG.warning("%s is damaged: %s", run.directory, run.reason)
        unfinished = [run for run in stored if run.exit_status in ("incomplete", "running")]
        for run in unfinished:
            LOG.warning("%s was not finished: %s", run.directory, run.reason)
        self._unfinished = [run.directory.name for run in unfinished]
        self._callback = self.make_callback({})

    def make_callback(self, configuration: Mapping[str, Any]) -> Any:
        """Return the callback for what a session asks."""
        raise NotImplementedError

    def allowed(self, place: Any) -> Path:
        """Return the place on this computer that a session asks for.

        Raises
        ------
        StorageError
            If it is in none of the directories that this server may use.
        """
        return check_place(
            str(place),
            [self._directories.root, *self.roots],
            f"the {self.KIND} server uses other places only if it was started with --root DIR",
        )

    @attribute(dtype=str, access=AttrWriteType.READ, doc="Data directory on this computer.")
    def data_directory(self) -> str:
        """Data directory."""
        return str(self._directories.root)

    @attribute(dtype=str, access=AttrWriteType.READ, doc="Directory of the last run.")
    def run_directory(self) -> str:
        """Directory of the last run."""
        return self._last

    @attribute(dtype=(str,), max_dim_x=10_000, doc="Runs that an earlier server did not finish.")
    def unfinished_runs(self) -> list[str]:
        """Runs that an earlier server did not finish."""
        return self._unfinished

    @json_command
    def Configure(self, asked: dict[str, Any]) -> None:
        """Make the callback anew, with other parameters; refused during a run."""
        self.take_lease(asked["session"])
        if self._open:
            raise SessionError(f"The {self.KIND} server is in a run; configure it before or after.")
        try:
            made = self.make_callback(asked["configuration"])
        finally:
            self.lease.release(asked["session"])
        if isinstance(self._callback, Closes):
            self._callback.close()
        self._callback = made

    @json_command
    def Document(self, asked: dict[str, Any]) -> Any:
        """Give one document to the callback; the ticket's answer is the run's directory here.

        One that came before, by session and number, is one whose answer got lost.
        """
        name, document = asked["name"], asked["document"]
        which = (asked["session"], asked.get("number"))
        if which[1] is not None and self._newest[0] == which:
            return self._newest[1]
        if name == "start":
            self.take_lease(asked["session"])
        elif self.lease.holder != asked["session"]:
            raise SessionError(
                f"The {self.KIND} server serves {self.lease.holder or 'nobody'}, and got a {name} "
                "document of another session, whose run was given up or never begun. Wait until it "
                "is free, or start the run again."
            )
        else:
            self.lease.renew(asked["session"])
        if name == "start":
            self._failures.clear()  # of a run that was given up
        failed = self._failures.pop(0) if self._failures else None
        ticket = self.submit(lambda: self._take(asked["session"], name, document, failed))
        self._newest = (which, ticket)
        if failed is not None and name not in Consumer.WAITED_FOR:
            raise failed
        return ticket

    @json_command
    def Wait(self, asked: dict[str, Any]) -> Any:
        """Wait for the callback's work on the last run; the answer is a summary."""
        return self.submit_aside(self.summary)

    @json_command
    def Runs(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """List the stored runs, the newest first."""
        return [
            {
                "name": run.directory.name, "uid": run.uid, "time": run.start["time"],
                "plan": run.start.get("plan_name", ""), "status": run.exit_status,
            }
            for run in find_runs(self._directories.root)
        ]  # fmt: skip

    @json_command
    def Replay(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Begin to hand a stored run to the session: documents here, frames on frame streams."""
        if self._replay is not None:
            self._replay.end()
        run = open_run(asked["run"], self._directories.root)
        self.allowed(run.directory)
        self._replay = RemoteReplay(run, f"tcp://{self.host}:0", asked.get("streams"))
        return {"uid": run.uid}

    @json_command
    def NextDocument(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the document of a replay after number ``seen``, nothing yet, or the end."""
        if self._replay is None:
            raise SessionError(f"The {self.KIND} server replays nothing; ask for a replay first.")
        return self._replay.next(int(asked["seen"]))

    @command
    def Abort(self) -> None:
        """Give up the run that is open."""
        self.submit(lambda: self._give_up("it was aborted at the server"))

    def summary(self) -> dict[str, Any]:
        """Return what is to be said of the last run."""
        return {"run_directory": self._last, "error": self._error}

    def stored(self) -> tuple[StoredStreamFrames, ...]:
        """Return what the callback stored of the run, when it is a writer."""
        return ()

    def session_lost(self, session: str) -> None:
        """Close the files of the run and say in its record why it ended."""
        self._give_up(f"the session was not heard of for {self.lease_seconds:g} s: {session}")

    def hurry(self, reason: str) -> None:
        """Have the callback leave its streams: their publishers are told, and their runs fail."""
        if isinstance(self._callback, AbandonsStreams):
            self._callback.abandon(reason)

    def ended(self, reason: str) -> None:
        """Close the files of the run and say in its record why it ended."""
        self._give_up(reason)

    def _take(
        self, session: str, name: str, document: dict[str, Any], failed: Exception | None
    ) -> Any:
        """Give a document to the callback; then tell what failed before and was told nobody."""
        if name == "start":
            return self._begin(document)
        run = ""
        try:
            run = self._recorder.run_of(name, document)
            self._give_to_all(name, document)
        except Exception as error:
            if name in Consumer.WAITED_FOR:
                raise
            self._failures.append(error)
        finally:
            if name == "stop" and run:
                self._end(run, session)
        if name == "stop" and failed is None and self._failures:
            failed = self._failures.pop(0)
        if failed is not None and name in Consumer.WAITED_FOR:
            raise failed
        return None

    def _give_to_all(self, name: str, document: dict[str, Any]) -> None:
        """Give a document to everybody here, whatever one of them raises, and then raise it."""
        errors: list[Exception] = []
        for taker in (self._recorder, self._undescribed, self._callback):
            try:
                taker(name, document)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _begin(self, document: dict[str, Any]) -> dict[str, Any]:
        self._error = ""
        made = self._directories.new()
        document |= {"scan_name": made.name, "run_directory": str(made.path)}
        self._last = str(made.path)
        uid = document["uid"]
        self._open[uid] = document
        self._undescribed = UndocumentedFrames()
        self.set_state(DevState.RUNNING)
        self.set_status(f"The {self.KIND} server takes {made.name}.")
        try:
            self._recorder("start", document)
            self._callback("start", document)
        except Exception as error:
            # The session's run does not begin: it will never say that it ended.
            self._give_up(f"it could not begin: {error}")
            raise
        return {"run_directory": str(made.path)}

    def _end(self, run: str, session: str) -> None:
        self._open.pop(run, None)
        self._recorder.flush()
        if not self._open:
            self.lease.release(session)
            self.set_state(DevState.STANDBY)
            self.set_status(f"The {self.KIND} server is ready.")

    def _give_up(self, reason: str) -> None:
        if isinstance(self._callback, SettlesStreams):
            self._callback.settle()
        for uid in list(self._open):
            for name, document in self._undescribed.documents(uid, self.stored()):
                self._recorder(name, document)
            stop = stop_of_unfinished(uid, reason)
            self._error = reason
            for taker in (self._recorder, self._callback):
                try:
                    taker("stop", stop)
                except Exception as error:
                    LOG.warning("at the end of %s: %s", uid, error)
            self._end(uid, self.lease.holder)


class Writer(CallbackServer):
    """Stores the frames of runs on this computer."""

    KIND = "writer"

    def make_callback(self, configuration: Mapping[str, Any]) -> ImageWriter:
        """Return an image writer."""
        how = dict(configuration)
        if how.get("directory") is not None:
            how["directory"] = self.allowed(how["directory"])
        return ImageWriter(**how)

    def stored(self) -> tuple[StoredStreamFrames, ...]:
        """Return what was stored of the run."""
        return tuple(self._callback.stored)

    @attribute(dtype=int, access=AttrWriteType.READ, unit="frame", doc="Files of the last run.")
    def files(self) -> int:
        """Image files of the last run."""
        return sum(1 for _ in Path(self._last).rglob("*.tif")) if self._last else 0


class Benchmark(CallbackServer):
    """Measures how fast frames arrive on this computer."""

    KIND = "benchmark"

    def make_callback(self, configuration: Mapping[str, Any]) -> Benchmarker:
        """Return a benchmarker."""
        return Benchmarker(**configuration)

    def summary(self) -> dict[str, Any]:
        """Return frames, bytes and seconds of each stream."""
        return {"streams": [asdict(result) for result in self._callback.results]}
