"""The documents that a detector writes of its own files, held back until their frames are safe."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
from event_model import DataKey
from ophyd_async.core import StandardDetector

from concertino import CameraError

LOG = logging.getLogger(__name__)

Document = tuple[str, Any]


class DetectorDocuments:
    """The stream_resource and stream_datum documents of a detector, and the flush that comes with them.

    Parameters
    ----------
    detector : StandardDetector
        The detector.
    within_s : float
        How long it may take to give them, in s. Of one that is dead they are made here, of what is known.
    """

    def __init__(self, detector: StandardDetector, within_s: float) -> None:
        self._detector = detector
        self._within_s = within_s
        self.begin("", {})

    def begin(self, key: str, data_keys: Mapping[str, DataKey]) -> None:
        """Forget the last stream.

        Parameters
        ----------
        key : str
            Of the frames.
        data_keys : mapping of str to DataKey
            What is described; other documents of the detector are left out.
        """
        self._key, self._data_keys = key, data_keys
        self._held: list[Document] = []
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._described = 0
        self._dead = False

    async def flush(self) -> Mapping[str, Any] | None:
        """Have the detector flush what it has counted; return the resource of its frames when that is known."""
        # With the frames described already it emits nothing, and flushes.
        for document in await self._collected(max(1, self._described)):
            self._held.append(document)
        return next((r for r in self._resources.values() if r["data_key"] == self._key), None)

    async def up_to(self, safe: int) -> AsyncIterator[Document]:
        """Yield what has not been yielded of the first `safe` frames."""
        if safe < 1 or not self._resources:
            return
        new, self._held = self._held, []
        first, self._described = max(1, self._described), max(1, safe, self._described)
        if self._described > first:
            new = new + await self._rest(first, self._described)
        for document in _one_datum_each(new):
            yield document

    async def _rest(self, first: int, stop: int) -> list[Document]:
        if not self._dead:
            try:
                return await asyncio.wait_for(self._collected(stop), self._within_s)
            except Exception as error:
                self._dead = True
                LOG.warning(
                    "Camera %s does not give the documents of its frames (%s: %s); those of frames %d to %d are "
                    "made of what it said before.",
                    self._detector.name, type(error).__name__, error, first, stop,
                )  # fmt: skip
        return [
            ("stream_datum", {
                "uid": f"{uid}/{first}-{stop}", "stream_resource": uid, "descriptor": "",
                "indices": {"start": first, "stop": stop}, "seq_nums": {"start": 0, "stop": 0},
            })
            for uid in self._resources
        ]  # fmt: skip

    async def _collected(self, index: int) -> list[Document]:
        documents: list[Document] = []
        async for said in self._detector.collect_asset_docs(index):
            name: str = said[0]
            document: Any = said[1]
            if name == "stream_resource" and document["data_key"] in self._data_keys:
                self._resources[document["uid"]] = document
            # What is not described, such as the frames of a second writer, is left out.
            if document.get("stream_resource", document["uid"]) in self._resources:
                documents.append((name, document))
        return documents


def _one_datum_each(documents: list[Document]) -> list[Document]:
    """Join what is said of the frames of each resource: bluesky wants one width of all that is collected at once."""
    resources = [each for each in documents if each[0] == "stream_resource"]
    datums: dict[str, dict[str, Any]] = {}
    for name, document in documents:
        if name == "stream_datum":
            before: dict[str, Any] = datums.get(document["stream_resource"]) or document
            stop = max(before["indices"]["stop"], document["indices"]["stop"])
            indices = {"start": before["indices"]["start"], "stop": stop}
            datums[document["stream_resource"]] = {**before, "indices": indices}
    return resources + [("stream_datum", document) for document in datums.values()]


def frames_key(
    camera: str, described: Mapping[str, DataKey], chosen: str = ""
) -> tuple[str, tuple[int, int], np.dtype[Any]]:
    """Return which of a detector's data keys are its frames, their shape (height, width) and type.

    Parameters
    ----------
    camera : str
        Name of the camera, and of its detector.
    described : mapping of str to DataKey
        What the detector writes.
    chosen : str
        The data key, or what follows the detector's name in it; empty when there is one only.

    Raises
    ------
    CameraError
        If none are grey images, one a frame; or several are, and none of them was chosen.
    """
    images = {key: what for key, what in described.items() if _is_grey(what)}
    wanted = [key for key in images if not chosen or chosen in (key, _suffix(camera, key))]
    if len(wanted) == 1:
        height, width = images[wanted[0]]["shape"][1:]
        dtype = np.dtype(str(images[wanted[0]].get("dtype_numpy")))
        return wanted[0], (int(height or 0), int(width or 0)), dtype
    found = ", ".join(f"{key} of shape {what['shape']}" for key, what in described.items())
    asked = f"the frames {chosen!r}" if chosen else "frames"
    says = f"Camera {camera} was asked for {asked}, and its detector describes {found or 'nothing that it writes'}"
    if images:
        raise CameraError(
            f"{says}. Choose one writer's images: DetectorCamera(detector, data_key={next(reversed(images))!r})."
        )
    raise CameraError(
        f"{says}; grey images are needed, (1, height, width), one a frame. Give it a writer, and the colour mode "
        "Mono."
    )


def _is_grey(what: DataKey) -> bool:
    shape = what["shape"]
    return len(shape) == 3 and shape[0] == 1 and isinstance(what.get("dtype_numpy"), str)


def _suffix(camera: str, key: str) -> str:
    return key.removeprefix(camera).lstrip("-_")
