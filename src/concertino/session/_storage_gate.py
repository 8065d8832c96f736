"""Tells before a scan that nothing will store its frames, and refuses it when that is not wanted."""

import logging
from collections.abc import Mapping
from typing import Any

from bluesky import Msg, RunEngine
from bluesky.utils import MsgGenerator

from concertino import SessionError
from concertino._bluesky_private import callbacks_of
from concertino.callbacks import stores_frames
from concertino.plans import ClaimedCamera, outcome_of, passed_on

LOG = logging.getLogger(__name__)

_EXPOSES = ("kickoff", "trigger")
_WHAT_TO_DO = (
    "Subscribe an ImageWriter(), or a RemoteImageWriter(…), with session.subscribe(…); if the frames "
    "are only to be looked at, set session.require_storage = False."
)


class StorageGate:
    """A preprocessor that looks who stores the frames of a run, before they are exposed.

    Twice: before the run begins, by what is subscribed, and before the first exposure of each stream, by
    who has claimed it.

    Parameters
    ----------
    run_engine : bluesky.RunEngine
        Whose callbacks are looked at.

    Attributes
    ----------
    required : bool
        Refuse runs whose frames nobody stores, instead of a warning.
    """

    def __init__(self, run_engine: RunEngine) -> None:
        self.required = False
        self._run_engine = run_engine

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Pass a plan's messages on."""
        seen: set[str] = set()
        described: set[Any] = set()

        def look(message: Msg) -> MsgGenerator[Any] | None:
            if message.command == "open_run":
                seen.clear()
                described.clear()
                self._look_at_callbacks(message.kwargs)
            elif message.command == "declare_stream":
                described.update(message.args)
            elif message.command in _EXPOSES and isinstance(message.obj, ClaimedCamera):
                return self._expose_if_stored(message, seen, message.obj in described)
            return None

        return passed_on(plan, look)

    def _look_at_callbacks(self, start: Mapping[str, Any]) -> None:
        frames = start.get("frames") or {}
        own = set(start.get("own_files", ()))
        if own and set(start.get("detectors", ())) <= own:
            return  # Its detectors do.
        if not frames or any(stores_frames(one) is not False for one in self._callbacks()):
            return
        shown = ", ".join(f"{count} {stream}" for stream, count in frames.items())
        what = f"{start.get('plan_name', 'The plan')} is to take {shown}, and nothing stores them"
        if self.required:
            raise SessionError(f"{what}: nothing was moved. {_WHAT_TO_DO}")
        LOG.warning("%s: they will be lost. %s", what, _WHAT_TO_DO)

    def _expose_if_stored(self, message: Msg, seen: set[str], described: bool) -> MsgGenerator[Any]:
        camera: Any = message.obj
        # A camera that has its frames stored by itself says so.
        if self.required and not stores_frames(camera):
            where = yield from outcome_of(camera.frames.get_value)
            if where not in seen:
                # A plan of bluesky itself describes a camera's frames after the first was taken.
                stored = any(stores_frames(one) is not False for one in self._callbacks())
                if described:
                    stored = bool((yield from outcome_of(camera.stored_by)))
                if not stored:
                    raise SessionError(
                        f"Camera {camera.name} is about to expose, and nothing stores its frames. "
                        f"{_WHAT_TO_DO}"
                    )
                seen.add(where)
        return (yield message)

    def _callbacks(self) -> list[Any]:
        """Return what is subscribed to the documents that announce frames."""
        return callbacks_of(self._run_engine.dispatcher, "descriptor")
