"""The frames that a plan itself wants to see, while it goes on."""

import asyncio
import threading
from collections import deque
from typing import Any

import numpy as np
from bluesky import Msg
from bluesky.utils import MsgGenerator, maybe_await
from numpy.typing import NDArray

from concertino import CameraError
from concertino.frames import Subscription, subscribe
from concertino.plans.core._awaited import Awaited, OfARun
from concertino.plans.core._device_queries import outcome
from concertino.plans.core._passed_on import passed_on

_PATIENCE_S = 30.0


class FrameTap:
    """Copies the frames of a camera, each stream in a thread of its own, for a plan.

    Parameters
    ----------
    camera : FrameCamera
        The camera.
    name : str
        Name as a subscriber.
    keep : int, optional
        How many of the newest frames to keep; all by default.
    """

    def __init__(self, camera: Any, name: str, *, keep: int | None = None) -> None:
        self.camera = camera
        self.name = name
        self._keep = keep
        self._address = ""
        self._changed = threading.Condition()
        self._frames: deque[NDArray[Any]] = deque(maxlen=keep)
        self._received = 0
        self._ended = False
        self._error: BaseException | None = None

    async def attach(self) -> None:
        """Begin to copy the stream that the camera is prepared for, and forget the one before."""
        configuration = await maybe_await(self.camera.read_configuration())
        address = configuration.get(f"{self.camera.name}-frames", {}).get("value", "")
        if not address:
            raise CameraError(
                f"{self.name} wants frames of camera {self.camera.name}, which has no frame stream. "
                "Prepare it before, or name it among the detectors and set BLUESKY_PREDECLARE=1 for "
                "plans of bluesky itself."
            )
        if address == self._address:
            return
        subscription = await asyncio.to_thread(subscribe, address, name=self.name)
        with self._changed:
            self._address, self._frames = address, deque(maxlen=self._keep)
            self._received, self._ended, self._error = 0, False, None
        threading.Thread(
            target=self._collect, args=(subscription, address), name=self.name, daemon=True
        ).start()

    def _collect(self, subscription: Subscription, address: str) -> None:
        error: BaseException | None = None
        try:
            with subscription:
                for batch in subscription:
                    with self._changed:
                        if address != self._address:
                            return
                        self._frames.extend(np.array(batch.frames))
                        self._received = batch.stop
                        self._changed.notify_all()
                    subscription.acknowledge(batch.stop)
        except BaseException as caught:
            error = caught
        with self._changed:
            if address == self._address:
                self._ended, self._error = True, error
                self._changed.notify_all()

    def newest(self, received: int) -> NDArray[Any]:
        """Return the frames kept, when so many have come since `attach`; for a thread.

        Parameters
        ----------
        received : int
            Number of frames to wait for.

        Returns
        -------
        ndarray, shape (n, height, width)
            In order.

        Raises
        ------
        CameraError
            If they do not come.
        FrameStreamError
            If the stream failed.
        """
        with self._changed:
            came = self._changed.wait_for(
                lambda: self._received >= received or self._ended, _PATIENCE_S
            )
            if self._error is not None:
                raise self._error
            if self._received >= received:
                return np.stack(self._frames)
            state = "its stream ended" if came else f"nothing came for {_PATIENCE_S:g} s"
            raise CameraError(
                f"{self.name} wants frame {received} of camera {self.camera.name}, which gave "
                f"{self._received}: {state}. Trigger the camera before each reading, and check that "
                "it exposes."
            )

    def listening(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Pass a plan's messages on; copy each stream of the camera that it declares."""

        def declared(message: Msg) -> MsgGenerator[Any]:
            response = yield message
            yield from outcome(Awaited(self.attach, f"{self.camera.name} was asked for its frames"))
            return response

        def do(message: Msg) -> MsgGenerator[Any] | None:
            declares = message.command == "declare_stream" and self.camera in message.args
            return declared(message) if declares else None

        return passed_on(plan, do)

    def taken(self, count: int) -> MsgGenerator[NDArray[Any]]:
        """Return the messages that wait for the frames of the stream, and give them."""
        newest = OfARun(
            lambda: asyncio.to_thread(self.newest, count),
            f"{self.camera.name} was asked for its newest frames",
        )
        frames: NDArray[Any] = yield from outcome(newest)
        return frames
