"""What those who serve a frame stream need of it, be they in this process or reached from others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from ._flow import Flow
    from ._ring import Ring


class PublishedStream(Protocol):
    """A frame stream, as whoever gives its frames to subscribers sees it.

    Attributes
    ----------
    address : str
        Where subscribers find it.
    name : str
        Name in messages.
    timeout_s : float
        How long a subscriber may give no sign of life, in seconds.
    ring : Ring
        Where its frames are.
    flow : Flow
        Who has had which; only with `changed` held.
    changed : Condition
        Is notified when a subscriber did something.
    """

    address: str
    name: str
    timeout_s: float
    ring: Ring
    flow: Flow
    changed: threading.Condition

    @property
    def shape(self) -> tuple[int, int]:
        """Frame shape (height, width) in pixels."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def notify(self) -> None:
        """Tell the listeners that a subscriber did something."""

    def fail(self, error: BaseException) -> None:
        """End the stream with an error."""

    def close(self) -> None:
        """Make the stream unreachable."""
