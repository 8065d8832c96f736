"""Control of a DECTRIS detector by its SIMPLON API: HTTP with values as JSON, each call with a deadline.

References
----------
DECTRIS, SIMPLON API reference; EIGER2 user manual, chapters 7 and 9 (trigger modes);
https://github.com/dectris/documentation/blob/main/stream_v2/README.md (its stream).
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from concertino import CameraError


class Simplon:
    """Speaks to the server of a detector.

    Parameters
    ----------
    url : str
        Where it is, such as ``"http://dcu.facility"``.
    version : str
        Of its API.
    within_s : float
        How long an answer may take, in seconds.
    """

    def __init__(self, url: str, *, version: str = "1.8.0", within_s: float = 5.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise CameraError(
                f"The detector's control was to be at {url!r}, which is no address of HTTP. Give one such as "
                "'http://dcu.facility' or 'http://192.168.0.10:80'."
            )
        self.url = url
        self._host, self._port = parts.hostname, parts.port or 80
        self._version = version
        self._within_s = within_s

    def value(self, key: str, module: str = "detector") -> float:
        """Return a number of the configuration."""
        return float(self.entry(key, module)["value"])

    def entry(self, key: str, module: str = "detector") -> Mapping[str, Any]:
        """Return what the server tells of a parameter: its value, and its limits where it has some."""
        return self._object("GET", f"{module}/api/{self._version}/config/{key}")

    @property
    def state(self) -> str:
        """What the detector does, such as ``"idle"``, ``"ready"`` or ``"acquire"``."""
        return str(self._object("GET", f"detector/api/{self._version}/status/state")["value"])

    def set(self, key: str, value: float | str, module: str = "detector") -> None:
        """Set a parameter.

        Raises
        ------
        CameraError
            If the server does not take it.
        """
        path = f"{module}/api/{self._version}/config/{key}"
        self._ask("PUT", path, {"value": value}, self._within_s)

    def command(self, name: str, *, takes_s: float = 0.0) -> Mapping[str, Any]:
        """Give a command, and wait until it is done.

        Parameters
        ----------
        name : str
            ``"arm"``, ``"trigger"``, ``"disarm"``, ``"abort"``, …
        takes_s : float
            How long it may take besides the answer, in seconds.

        Returns
        -------
        mapping
            What the server answered; the number of the series for ``"arm"``.

        Raises
        ------
        CameraError
            If the server refuses, or does not answer in time.
        """
        path = f"detector/api/{self._version}/command/{name}"
        answer = self._ask("PUT", path, None, self._within_s + takes_s)
        return answer if isinstance(answer, Mapping) else {}

    def _object(self, method: str, path: str) -> Mapping[str, Any]:
        answer = self._ask(method, path, None, self._within_s)
        if not isinstance(answer, Mapping) or "value" not in answer:
            raise CameraError(
                f"The detector's control at {self.url} answered {str(answer)[:80]!r} to {path}, which tells no value. "
                "Check that a SIMPLON API is there."
            )
        return answer

    def _ask(
        self, method: str, path: str, body: Mapping[str, float | str] | None, within_s: float
    ) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=within_s)
        asked = f"The detector's control at {self.url} was asked to {method} {path}"
        try:
            headers = {"Content-Type": "application/json"}
            sent = b"" if body is None else json.dumps(body).encode()
            connection.request(method, f"/{path}", sent, headers)
            response = connection.getresponse()
            text = response.read(2**20).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise CameraError(
                f"{asked} and did not answer within {within_s:g} s ({type(error).__name__}: {error}). Check the "
                "address, and that the detector's server runs."
            ) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            given = "" if body is None else f" {json.dumps(body)}"
            text = text.strip().strip('"')  # A server may answer in JSON.
            raise CameraError(
                f"{asked}{given} and refused with {response.status} ({text[:200] or response.reason}). Look up in "
                "its SIMPLON API which values and states it takes."
            )
        try:
            return json.loads(text) if text.strip() else None
        except ValueError as error:
            raise CameraError(
                f"{asked} and answered {text[:80]!r}, which is no JSON. Check that a SIMPLON API is there."
            ) from error
