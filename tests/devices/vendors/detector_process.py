"""A detector that streams, as a process of its own: written from the public descriptions, not from our receiver.

It is told what to do as JSON on its command line, prints where it listens as one line of JSON, and what it lost
as another when its input ends. Messages are encoded by cbor2 and json, frames compressed by hdf5plugin as
chunks of HDF5 and by lz4.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cbor2
import h5py
import hdf5plugin
import lz4.block
import numpy as np
import zmq
from numpy.typing import NDArray
from zmq.utils.monitor import recv_monitor_message

#: How long a queue that is full is waited for, in ms.
_WAITS_MS = 20_000
_TAGS = {"uint8": 64, "uint16": 69, "uint32": 70, "uint16-big": 65, "float32": 85}


@dataclass
class Behaviour:
    """How the detector is, and what goes wrong with it.

    `lose`, `die` and `say` are of a series: a dict with ``series`` and ``image`` (-1: the last one). Instead of
    the image, `say` sends the bytes ``hex``, or ``parts`` as JSON, and ``like`` changes fields of the image's message.
    """

    protocol: str = "v2"
    algorithm: str = "bslz4"
    shape: tuple[int, int] = (16, 24)
    dtype: str = "uint16"
    pattern: str = "push"
    channels: tuple[str, ...] = ("threshold_1",)
    controlled: bool = True
    counts: tuple[
        int, ...
    ] = ()  # of the series of one without control: the next begins with each connection
    period_s: float = 0.002
    waits: bool = True
    hwm: int = 1000
    first_series: int = 1
    ends_itself: bool = True
    lose: dict[str, int] = field(default_factory=dict)
    die: dict[str, int] = field(default_factory=dict)
    say: dict[str, Any] = field(default_factory=dict)
    busy: str = ""
    refuse: str = ""


def picture(series: int, number: int, shape: tuple[int, int], dtype: str) -> NDArray[Any]:
    """Return image `number` of a series: counts that no other image has."""
    ramp = np.arange(shape[0] * shape[1]).reshape(shape)
    return ((7 * ramp + 13 * number + 101 * series) % 251).astype(dtype.removesuffix("-big"))


def compressed(image: NDArray[Any], algorithm: str) -> bytes:
    """Return an image as HDF5's filters would store it in a chunk."""
    if algorithm == "none":
        return image.tobytes()
    if algorithm == "lz4-block":
        packed: bytes = lz4.block.compress(image.tobytes(), store_size=False)
        return packed
    filters = {
        "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
        "lz4": hdf5plugin.LZ4(nbytes=256),
    }
    with h5py.File("frame.h5", "w", driver="core", backing_store=False) as file:
        kept = file.create_dataset(
            "image", data=image, chunks=image.shape, compression=filters[algorithm]
        )
        _, chunk = kept.id.read_direct_chunk((0, 0))
    return bytes(chunk)


class Detector:
    """Arms, exposes and streams."""

    def __init__(self, how: Behaviour) -> None:
        self.how = how
        self.series = how.first_series - 1
        self.state = how.busy or "idle"
        self.lost: list[tuple[int, int]] = []
        self.settings: dict[str, dict[str, Any]] = {
            "count_time": {"value": 0.5, "min": 1e-6, "max": 3600.0},
            "frame_time": {"value": 1.0, "min": 1e-6, "max": 3600.0},
            "detector_readout_time": {"value": 1e-7},
            "nimages": {"value": 1, "min": 1, "max": 1_000_000},
            "ntrigger": {"value": 1, "min": 1, "max": 1_000_000},
            "trigger_mode": {"value": "ints"},
            "x_pixels_in_detector": {"value": how.shape[1]},
            "y_pixels_in_detector": {"value": how.shape[0]},
            "bit_depth_image": {"value": 8 * np.dtype(how.dtype.removesuffix("-big")).itemsize},
            "x_pixel_size": {"value": 75e-6},
        }
        self.stream = {"mode": "disabled", "format": "legacy"}
        kind = zmq.PUSH if how.pattern == "push" else zmq.PUB
        self._socket: zmq.Socket[bytes] = zmq.Socket(zmq.Context.instance(), kind)
        self._socket.linger = 0
        self._socket.sndhwm = how.hwm
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._sending = threading.Lock()
        self._triggering = threading.Lock()
        self._aborted = threading.Event()
        self._open = False
        self._triggers = self._images = self._messages = 0

    def value(self, key: str) -> Any:
        return self.settings[key]["value"]

    @property
    def count(self) -> int:
        return int(self.value("nimages") * self.value("ntrigger"))

    def arm(self) -> int:
        self.series += 1
        self._triggers = self._images = 0
        self._aborted.clear()
        self._open = True
        self.state = "ready"
        self._began_s = time.monotonic()
        self._send(self._start())
        return self.series

    def trigger(self) -> None:
        """Expose; the answer comes when that is done."""
        with self._triggering:
            self.state = "acquire"
            for _ in range(int(self.value("nimages"))):
                if self._aborted.wait(float(self.value("frame_time"))):
                    return
                self.image()
            self._triggers += 1
            self.state = "ready"
            if self._triggers == self.value("ntrigger") and self.how.ends_itself:
                self.disarm()

    def disarm(self) -> None:
        with self._sending:
            ended, self._open = self._open, False
        self.state = "idle"
        if ended:
            self._send(self._end())

    def abort(self) -> None:
        self._aborted.set()
        self.disarm()

    def series_by_itself(self, count: int) -> None:
        """Take a series that somebody else wanted."""
        self.settings["nimages"]["value"] = count
        self.settings["count_time"]["value"] = self.how.period_s
        self.arm()
        for _ in range(count):
            time.sleep(self.how.period_s)
            self.image()
        self.disarm()

    def serve_connections(self) -> None:
        """Begin a series with each connection."""
        for count in self.how.counts:
            self._monitor.poll()
            recv_monitor_message(self._monitor)
            self.series_by_itself(count)

    def image(self) -> None:
        number = self._images
        self._images += 1
        if self._is_at(self.how.die, number):
            time.sleep(0.2)  # what was sent is on its way
            os.kill(os.getpid(), signal.SIGKILL)
        if self._is_at(self.how.lose, number):
            self.lost.append((self.series, number))
            self._messages += 1
        elif self._is_at(self.how.say, number) and "like" not in self.how.say:
            say = self.how.say
            self._send(
                [bytes.fromhex(say["hex"])]
                if "hex" in say
                else [json.dumps(part).encode() for part in say["parts"]]
            )
        elif not self._send(self._image(number), waits=self.how.waits):
            self.lost.append((self.series, number))

    def _is_at(self, what: dict[str, Any], number: int) -> bool:
        place = self.count - 1 if what and what["image"] == -1 else what.get("image")
        return bool(what) and what["series"] == self.series and place == number

    def _send(self, parts: list[bytes], *, waits: bool = True) -> bool:
        """Send a message; one that may be lost, as an image, does not wait for a queue that is full."""
        if parts == [b""]:
            return True  # The protocol has no such message.
        with self._sending:
            self._socket.sndtimeo = _WAITS_MS if waits else 0
            try:
                self._socket.send_multipart(parts)
            except zmq.Again:
                return False
        return True

    def _number(self) -> int:
        self._messages += 1
        return self._messages - 1

    def _start(self) -> list[bytes]:
        exposure_s = self.value("count_time")
        if self.how.protocol == "v2":
            date = cbor2.CBORTag(0, "2026-12-01T12:00:00Z")
            return [
                cbor2.dumps(
                    {
                        "type": "start", "series_id": self.series, "series_unique_id": f"unique {self.series}", "arm_date": date,
                        "channels": list(self.how.channels), "count_time": exposure_s, "frame_time": self.value("frame_time"),
                        "image_size_x": self.how.shape[1], "image_size_y": self.how.shape[0], "number_of_images": self.count,
                    }
                )
            ]  # fmt: skip
        if self.how.protocol == "v1":
            header = {"htype": "dheader-1.0", "series": self.series, "header_detail": "basic"}
            settings = {key: self.value(key) for key in ("nimages", "ntrigger", "count_time")}
            return [json.dumps(header).encode(), json.dumps(settings).encode()]
        if self.how.protocol == "maxiv":
            header = {"htype": "header", "msg_number": self._number(), "filename": "/data/a.h5"}
            return [json.dumps(header).encode()]
        return [b""]

    def _end(self) -> list[bytes]:
        if self.how.protocol == "v2":
            return [cbor2.dumps({"type": "end", "series_id": self.series})]
        if self.how.protocol == "v1":
            return [json.dumps({"htype": "dseries_end-1.0", "series": self.series}).encode()]
        return [json.dumps({"htype": "series_end", "msg_number": self._number()}).encode()]

    def _image(self, number: int) -> list[bytes]:
        how = self.how
        image = picture(self.series, number, how.shape, how.dtype)
        if how.dtype.endswith("-big"):
            image = image.astype(">u2")
        stop_s = time.monotonic() - self._began_s
        begin_s = stop_s - float(self.value("count_time"))
        like = how.say.get("like", {}) if self._is_at(how.say, number) else {}
        if how.protocol == "v2":
            data: Any = compressed(image, how.algorithm)
            if how.algorithm != "none":
                data = cbor2.CBORTag(
                    56500, [how.algorithm, image.itemsize if how.algorithm == "bslz4" else 0, data]
                )
            array = cbor2.CBORTag(40, [list(how.shape), cbor2.CBORTag(_TAGS[how.dtype], data)])
            message = {
                "type": "image", "series_id": self.series, "image_id": number,
                "data": dict.fromkeys(how.channels, array),
                "start_time": [round(begin_s * 1e9), 10**9], "stop_time": [round(stop_s * 1e9), 10**9],
            }  # fmt: skip
            return [cbor2.dumps({**message, **like})]
        if how.protocol == "v1":
            encoding = {"none": "<", "lz4": "lz4<", "bslz4": f"bs{8 * image.itemsize}-lz4<"}[
                how.algorithm
            ]
            packed = compressed(
                image,
                how.algorithm.replace("lz4", "lz4-block")
                if how.algorithm == "lz4"
                else how.algorithm,
            )
            header = {
                "htype": "dimage-1.0",
                "series": self.series,
                "frame": number,
                "hash": "none",
                **like,
            }
            layout = {
                "htype": "dimage_d-1.0",
                "shape": how.shape[::-1],
                "type": how.dtype,
                "encoding": encoding,
                "size": len(packed),
            }
            times = {
                "htype": "dconfig-1.0",
                "start_time": round(begin_s * 1e9),
                "stop_time": round(stop_s * 1e9),
                "real_time": 1000,
            }
            return [
                json.dumps(header).encode(),
                json.dumps(layout).encode(),
                packed,
                json.dumps(times).encode(),
            ]
        if how.protocol == "maxiv":
            header = {
                "htype": "image", "msg_number": self._number(), "frame": number, "shape": how.shape, "type": how.dtype, "compression": how.algorithm,
            }  # fmt: skip
        else:
            header = {
                "htype": "array-1.0",
                "type": how.dtype,
                "shape": how.shape,
                "frame": number,
                "pulse_id": 10_000 + number,
            }
        return [json.dumps({**header, **like}).encode(), compressed(image, how.algorithm)]


class Api(BaseHTTPRequestHandler):
    """SIMPLON, as far as it is documented and used."""

    detector: Detector

    def do_GET(self) -> None:
        module, _, _, kind, key = self.path.strip("/").split("/")
        if (module, kind, key) == ("detector", "status", "state"):
            self._answer(200, {"value": self.detector.state})
        elif module == "detector" and key in self.detector.settings:
            self._answer(200, self.detector.settings[key])
        else:
            self._answer(404, f"Parameter {key} does not exist")

    def do_PUT(self) -> None:
        module, _, _, kind, key = self.path.strip("/").split("/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        detector = self.detector
        if key == detector.how.refuse:
            self._answer(400, f"{key} is not possible now")
        elif kind == "command":
            answer = {
                "arm": detector.arm,
                "trigger": detector.trigger,
                "disarm": detector.disarm,
                "abort": detector.abort,
            }[key]()
            self._answer(200, {"sequence id": answer} if answer is not None else None)
        elif module == "stream":
            detector.stream[key] = json.loads(body)["value"]
            self._answer(200, [])
        elif detector.state != "idle":
            self._answer(400, f"{key} cannot be set in state {detector.state}")
        else:
            detector.settings[key]["value"] = json.loads(body)["value"]
            self._answer(200, [key])

    def log_message(self, format: str, *values: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, value: Any) -> None:
        text = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def main() -> None:
    """Run until the input ends."""
    told: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in json.loads(sys.argv[1]).items()
    }
    detector = Detector(Behaviour(**told))
    Api.detector = detector
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    work = server.serve_forever if detector.how.controlled else detector.serve_connections
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    print(json.dumps({"stream": detector.port, "control": server.server_port}), flush=True)
    sys.stdin.read()
    state = {"lost": detector.lost, "state": detector.state, "stream": detector.stream}
    print(
        json.dumps({**state, "settings": {k: v["value"] for k, v in detector.settings.items()}}),
        flush=True,
    )
    os._exit(0)


if __name__ == "__main__":
    main()
