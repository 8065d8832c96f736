"""A log file in the directory of each run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from concertino.consumers._consumer import Consumer
from concertino.documents import OpenRuns
from concertino.runtime._log_levels import ChosenLevels

_LOGGERS = ("concertino", "bluesky", "ophyd_async", "ophyd")
_LEVEL = logging.INFO  # least severity that is written where no other was chosen
_OWN = "concertino.run"
_FORMAT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"


class RunLog(Consumer):
    """Writes what the libraries log during a run, and a line for each document, to ``run.log``.

    Parameters
    ----------
    necessary : bool
        Whether a run fails with it.

    Attributes
    ----------
    levels : dict of str to int
        Least severity by logger; `logging.INFO` for all others.

    Examples
    --------
    >>> from concertino.callbacks import RunLog
    >>> log = RunLog()
    """

    def __init__(self, *, necessary: bool = False) -> None:
        super().__init__("run log", necessary=necessary)
        self.levels: dict[str, int] = {}
        self._handlers: dict[str, logging.Handler] = {}
        self._given: dict[str, set[str]] = {}  # by run, the loggers that have its handler
        self._runs = OpenRuns()

    def take_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document."""
        run = self._runs.note(name, document)
        if name == "start":
            self._open_file(document)
        elif name == "descriptor":
            keys = ", ".join(document["data_keys"])
            self._write(run, f"stream {document.get('name')} has {keys}")
        elif name == "stream_resource":
            self._write(run, f"{document['data_key']} in {document['uri']}")
        elif name == "stop":
            self._close(document)

    def detached(self, error: BaseException) -> None:
        """Take the log files away."""
        for run in list(self._handlers):
            self._let_go(run)

    def _open_file(self, start: Mapping[str, Any]) -> None:
        if "run_directory" not in start:
            return
        handler = logging.FileHandler(Path(start["run_directory"]) / "run.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter(_FORMAT))
        chosen = ChosenLevels(_LEVEL, self.levels)
        handler.addFilter(lambda record: record.name == _OWN or chosen.filter(record))
        self._handlers[start["uid"]] = handler
        self._given[start["uid"]] = {*_LOGGERS, *(name.partition(".")[0] for name in self.levels)}
        for name in self._given[start["uid"]]:
            logger = logging.getLogger(name)
            logger.addHandler(handler)
            if logger.getEffectiveLevel() > _LEVEL and name not in self.levels:
                logger.setLevel(_LEVEL)
        self._write(
            start["uid"], f"run {start['uid']} of {start.get('plan_name', 'a plan')} starts"
        )

    def _write(self, run: str, message: str, level: int = _LEVEL) -> None:
        handler = self._handlers.get(run)
        if handler is not None:
            handler.handle(logging.LogRecord(_OWN, level, "", 0, message, None, None))

    def _close(self, stop: Mapping[str, Any]) -> None:
        run = stop["run_start"]
        self._runs.forget(run)
        failed = stop["exit_status"] != "success"
        self._write(
            run,
            f"run ends with {stop['exit_status']}" + (f": {stop['reason']}" if failed else ""),
            logging.ERROR if failed else _LEVEL,
        )
        self._let_go(run)

    def _let_go(self, run: str) -> None:
        handler = self._handlers.pop(run, None)
        if handler is None:
            return
        for name in self._given.pop(run):
            logging.getLogger(name).removeHandler(handler)
        handler.close()
