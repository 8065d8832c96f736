"""Progress bars of the RunEngine's waits, of which one may stand within another."""

from typing import Any

from bluesky.utils import ProgressBarManager


class ProgressBars:
    """Shows a bar for the newest wait; a RunEngine's ``waiting_hook``.

    A plan that looks again and again whether frames have come waits for other things meanwhile, such as
    the beam; bluesky's own manager warns of each of these waits.
    """

    def __init__(self) -> None:
        self._bars: Any = ProgressBarManager()

    @property
    def shown(self) -> bool:
        """Whether there is a bar."""
        return self._bars.pbar is not None

    def __call__(self, statuses: Any) -> None:
        """Show a bar for what is waited for; none for None."""
        if self.shown:
            self._bars(None)
        if statuses is not None:
            self._bars(statuses)
