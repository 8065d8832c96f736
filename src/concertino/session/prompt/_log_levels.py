"""Levels by logger: what is shown at the prompt, and what stands in the logs of runs."""

import difflib
import importlib.util
import logging
from contextlib import suppress

from concertino import ParameterError, ParameterTypeError
from concertino.callbacks import RunLog
from concertino.runtime._last_words import say
from concertino.runtime._log_levels import ChosenLevels

_LEVELS = {
    "debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR,
    "critical": logging.CRITICAL,
}  # fmt: skip
_FORMAT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"


class _AtPrompt(logging.Handler):
    """Shows records where somebody types."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        say(self.format(record))


class LogLevels:
    """What a session's user chose to hear of which logger; `undo` leaves logging as it was.

    Parameters
    ----------
    run_log : RunLog
        The session's.
    """

    def __init__(self, run_log: RunLog) -> None:
        self._levels = run_log.levels
        self._before: dict[str, int] = {}
        self._shown: set[str] = set()
        self._handler = _AtPrompt()
        self._handler.setFormatter(logging.Formatter(_FORMAT))
        self._handler.addFilter(ChosenLevels(logging.WARNING, self._levels))

    def choose(self, name: str, level: str) -> None:
        """Have a logger say what is as severe as that, from now on."""
        for what, given in (("name", name), ("level", level)):
            if not isinstance(given, str):
                raise ParameterTypeError(
                    f"{what}: {given!r} was given; give text, as in session.log_level('concertino.frames', 'debug')."
                )
        number = _LEVELS.get(level.lower())
        if number is None:
            raise ParameterError(f"level: {level!r} was given; give one of {', '.join(_LEVELS)}.")
        _check_logger(name)
        logger = logging.getLogger(name)
        self._before.setdefault(name, logger.level)
        self._levels[name] = number
        logger.setLevel(number)
        root = name.partition(".")[0]
        # Who has set logging up has said where everything goes.
        if root not in self._shown and not logging.getLogger().handlers:
            self._shown.add(root)
            logging.getLogger(root).addHandler(self._handler)

    def undo(self) -> None:
        """Leave the loggers as they were."""
        for name, level in self._before.items():
            logging.getLogger(name).setLevel(level)
        for root in self._shown:
            logging.getLogger(root).removeHandler(self._handler)
        self._before.clear()
        self._shown.clear()


def _check_logger(name: str) -> None:
    """Refuse a name that is nobody's: of a mistyped one nothing would ever be heard."""
    known = [each for each in logging.root.manager.loggerDict if isinstance(each, str)]
    if name in known:
        return
    with suppress(ImportError, ValueError, AttributeError):
        if importlib.util.find_spec(name) is not None:
            return
    near = difflib.get_close_matches(name, known, 3)
    raise ParameterError(
        f"name: there is no logger {name!r}; give the name of a package or module, such as "
        f"{' or '.join(near) or 'concertino.frames, bluesky or ophyd_async'}."
    )
