"""Shows the run in a browser while it goes on."""

from __future__ import annotations

import logging
import webbrowser
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from concertino.consumers._capabilities import TakesChanges
from concertino.consumers._consumer import Consumer
from concertino.consumers._frame_callback import AnnouncedStream, announced_streams
from concertino.documents import device_configuration
from concertino.viewers import (
    ColourMap,
    FrameFollower,
    LimitsMode,
    LivePage,
    LiveState,
    PageSettings,
)

_LOG = logging.getLogger(__name__)


class LiveView(Consumer):
    """A page in the browser with the newest frame, the progress of the run, and the newest slices.

    It takes documents, live or replayed, and subscribes to the ``latest`` frames of the streams
    that they announce, so it never slows a scan. Slices come from the frame stream of a
    processing run.

    Nothing that happens to the page reaches the RunEngine: see `error`.

    Parameters
    ----------
    port : int
        Port of the page; 0 takes a free one.
    host : str
        Address to listen on. Everyone who reaches it sees the page: there is no password.
    open_browser : bool
        Whether to open the page in the user's browser.
    refresh_hz : float
        Pictures a second at most.
    limits : {"auto", "fixed", "full", "stream"} or tuple of float
        Values with the darkest and the brightest colour; see `PageSettings`.
    percentiles : tuple of float
        For ``limits="auto"``, in percent.
    colour_map : {"gray", "inverted", "viridis", "inferno", "magma", "cividis", "turbo"}
        Colours from low to high.

    Attributes
    ----------
    state : LiveState
        What the page shows.
    url : str
        Of the page.

    Raises
    ------
    ParameterError
        If a setting cannot work.
    MissingExtraError
        If Bokeh is not installed.
    SessionError
        If the port is in use.

    Examples
    --------
    ::

        with LiveView(open_browser=True) as view:
            token = session.subscribe(view)
            session.RE(plan)
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        open_browser: bool = False,
        refresh_hz: float = 10.0,
        limits: LimitsMode | tuple[float, float] = "auto",
        percentiles: tuple[float, float] = (0.5, 99.5),
        colour_map: ColourMap = "gray",
    ) -> None:
        super().__init__("live view")
        settings = PageSettings(limits, percentiles, colour_map, refresh_hz)
        self.state = LiveState()
        self._page = LivePage(self.state, host=host, port=port, settings=settings)
        self.url = self._page.url
        self.name = f"live view {self.url}"
        self._follower = FrameFollower(self.state, name=self.name, refresh_hz=refresh_hz)
        self._error: BaseException | None = None
        if open_browser:
            webbrowser.open(self.url)

    @property
    def error(self) -> BaseException | None:
        """Why the page shows nothing more, or not all; None while all is well."""
        return self._page.error or self._error or super().error

    def take_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document; never raises."""
        try:
            self.state.document(name, document)
            if name == "descriptor":
                self._follow(document)
        except Exception as error:
            self._error = error
            _LOG.warning("The live view could not use a document %r: %s", name, error)

    def control(self, reconstruction: TakesChanges | None) -> None:
        """Let viewers of the page set the rotation axis of a reconstruction.

        Parameters
        ----------
        reconstruction : OnlineReconstruction, ChildProcess or RemoteOnlineReconstruction
            What has an `update` method; None: nothing any more.
        """
        self.state.control(None if reconstruction is None else reconstruction.update)

    def close(self) -> None:
        """Take the page away; idempotent."""
        self._follower.close()
        self._page.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _follow(self, descriptor: Mapping[str, Any]) -> None:
        for stream in announced_streams({}, descriptor):
            processed = self.state.processes(descriptor["run_start"])
            self._follower.follow(
                stream.address,
                camera=stream.data_key,
                stream=stream.name,
                panel="slices" if processed else "frames",
                labels=_labels(stream),
            )
            if stream.preview:
                self._follower.follow(
                    stream.preview, camera=stream.data_key, stream=f"{stream.name} (waiting)"
                )


def _labels(stream: AnnouncedStream) -> list[str]:
    """What pictures are called on the page: by the detector rows that a reconstruction tells, or by name."""
    rows = device_configuration(stream.descriptor, stream.data_key).get("rows", ())
    return [f"slice {row:g}" for row in rows] or [stream.data_key.replace("_", " ")]
