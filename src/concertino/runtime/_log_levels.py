"""How severe a record must be to be kept or shown, by its logger."""

import logging
from collections.abc import MutableMapping


class ChosenLevels(logging.Filter):
    """Lets records pass that are as severe as was chosen for their logger, or for the nearest one above it.

    Parameters
    ----------
    otherwise : int
        The level of all loggers for which none was chosen.
    levels : mutable mapping of str to int
        What was chosen, by logger; may change at any time.
    """

    def __init__(self, otherwise: int, levels: MutableMapping[str, int]) -> None:
        super().__init__()
        self._otherwise = otherwise
        self._levels = levels

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record passes."""
        return record.levelno >= self.level_of(record.name)

    def level_of(self, name: str) -> int:
        """Return the level of a logger."""
        while name and name not in self._levels:
            name = name.rpartition(".")[0]
        return self._levels.get(name, self._otherwise)
