"""A Tango server that reconstructs: it hands back the documents of the slices, and takes new settings."""

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from tango import AttrWriteType
from tango.server import attribute

from concertino import SessionError
from concertino.callbacks import OnlineReconstruction
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import encode_document

from ._callback_server import CallbackServer
from ._served import json_command

_KEPT_DOCUMENTS = 10_000


class Reconstruction(CallbackServer):
    """Reconstructs runs while they are taken; stores the slices on this computer."""

    KIND = "reconstruction"

    def init_device(self) -> None:
        """Become ready to hand back the documents of processing runs."""
        self._emitted: deque[tuple[int, str, dict[str, Any]]] = deque(maxlen=_KEPT_DOCUMENTS)
        self._emitted_count = 0
        super().init_device()

    def make_callback(self, configuration: Mapping[str, Any]) -> OnlineReconstruction:
        """Return an online reconstruction, whose slices can be seen from elsewhere."""
        how = dict(configuration)
        settings = ReconstructionSettings.model_validate(how.pop("settings", {}))
        if isinstance(how.get("planes"), list):
            how["planes"] = tuple(how["planes"])
        return OnlineReconstruction(
            settings,
            directory=self.allowed(how.pop("directory", None) or self.directory),
            callbacks=[self._keep],
            stream_address=f"tcp://{self.host}:0",
            **how,
        )

    def _keep(self, name: str, document: Mapping[str, Any]) -> None:
        plain = json.loads(encode_document(name, document))[1]
        self._emitted_count += 1
        self._emitted.append((self._emitted_count, name, plain))

    @json_command
    def Emitted(self, asked: dict[str, Any]) -> list[Any]:
        """Return documents of processing runs after number ``seen``; 0 is before the first."""
        return [entry for entry in list(self._emitted) if entry[0] > int(asked["seen"])]

    @json_command
    def Update(self, asked: dict[str, Any]) -> Any:
        """Change settings of the reconstruction; the ticket's answer is all settings from now on."""
        self._check_session(asked["session"])
        return self.submit_aside(
            lambda: self._callback.update(asked["changes"]).model_dump(mode="json")
        )

    @json_command
    def Rereconstruct(self, asked: dict[str, Any]) -> Any:
        """Reconstruct the last run again with other settings; the ticket's answer is a summary."""
        self._check_session(asked["session"])

        def again() -> dict[str, Any]:
            self._callback.rereconstruct(**asked["changes"])
            return self.summary()

        return self.submit_aside(again)

    def _check_session(self, session: str) -> None:
        if self.lease.holder not in ("", session):
            raise SessionError(
                f"The {self.KIND} server takes no changes from {session}, as it serves "
                f"{self.lease.holder}; wait until that session's run is over."
            )

    @attribute(dtype=bool, access=AttrWriteType.READ, doc="Whether it reconstructs.")
    def busy(self) -> bool:
        """Whether it reconstructs."""
        return bool(self._callback.busy)

    def summary(self) -> dict[str, Any]:
        """Return where the slices are and how the axis was found."""
        result = self._callback.wait()
        told = result.resolution
        return {
            "run_directory": str(self._callback.run_directory),
            "center_px": float(result.center_px),
            "confidence": float(result.confidence),
            "missing": list(result.missing),
            "settings": result.settings.model_dump(mode="json"),
            "resolution_px": None if told is None else float(told.resolution_px),
            "signal_to_noise": None if told is None else float(told.signal_to_noise),
        }
