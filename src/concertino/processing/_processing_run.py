"""A run of its own for what was computed from another run."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from event_model import compose_run
from numpy.typing import DTypeLike, NDArray

from concertino import StorageError
from concertino.consumers._image_writer import ImageWriter
from concertino.documents import DocumentCallback
from concertino.frames import FrameStream, StreamAssets
from concertino.storage import Recorder, check_image_format, place_in

RING_BYTES = 256 * 2**20
_SOFTWARE = ("concertino", "numpy", "scipy", "numba")


def derived_directory(root: Path, name: str) -> Path:
    """Make the next free directory ``<name>_01``, ``<name>_02``, … in `root`.

    Raises
    ------
    StorageError
        If it cannot be made, or its name would lead out of `root`.
    """
    for number in range(1, 10_000):
        path = place_in(root, f"{name}_{number:02d}", what="scan name")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(
                f"Cannot make the directory {path}: {error.strerror}. Give another directory, or "
                "change the permissions of its parent."
            ) from error
        return path
    raise StorageError(f"{root} holds 9,999 directories {name}_…; move some of them away.")


class ProcessingRun:
    """Emits the documents of a processing run to callbacks and publishes its frames to them.

    Parameters
    ----------
    raw : mapping
        Start document of the run that was processed.
    kind : str
        What was done, as in ``reconstruction``.
    parameters : mapping
        How, JSON-safe.
    directory : Path, optional
        The run directory, for callbacks that write.
    callbacks : sequence of callable
        Take the documents.
    more : mapping, optional
        More of the start document.
    stream_address : str
        Where subscribers find the frames, as for a camera.
    backend : mapping, optional
        Who computed, its name and the reason why it was chosen; JSON-safe.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        kind: str,
        parameters: Mapping[str, Any],
        *,
        directory: Path | None,
        callbacks: Sequence[DocumentCallback],
        more: Mapping[str, Any] | None = None,
        stream_address: str = "tcp://127.0.0.1:0",
        backend: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self._callbacks = list(callbacks)
        self._count: dict[str, int] = {}
        self._recorded: dict[str, Any] = {}
        self.stream_address = stream_address
        metadata: dict[str, Any] = {
            "plan_name": kind,
            "derived_from": raw["uid"],
            "processing": {
                "kind": kind,
                "parameters": dict(parameters),
                "software": {name: version(name) for name in _SOFTWARE},
            },
            "hints": {},
            **(more or {}),
        }
        if backend is not None:
            metadata["processing"]["backend"] = dict(backend)
        if "sample" in raw:
            metadata["sample"] = raw["sample"]
        if directory is not None:
            metadata |= {"scan_name": directory.name, "run_directory": str(directory)}
        #: Why what it was made of is not all; then it is no success.
        self.cut_short = ""
        self._bundle = compose_run(metadata=metadata)
        self.uid: str = self._bundle.start_doc["uid"]
        self._emit("start", self._bundle.start_doc)

    def publish(
        self, images: NDArray[Any], *, stream: str, data_key: str, configuration: Mapping[str, Any]
    ) -> None:
        """Publish images as a stream of the run.

        Parameters
        ----------
        images : ndarray, shape (n, height, width)
            For instance slices.
        stream, data_key : str
            Names of the document stream and of its data key.
        configuration : mapping of str to float, int, str or list of float
            What the images were made with, and where they are: see `slices_configuration`.

        Raises
        ------
        ConcertinoError
            If a callback that stores them failed.
        """
        self.publish_parts(
            [images], images.shape[1:], images.dtype,
            stream=stream, data_key=data_key, configuration=configuration,
            ring_bytes=min(RING_BYTES, images.nbytes),
        )  # fmt: skip

    def publish_parts(
        self,
        parts: Iterable[NDArray[Any]],
        shape: tuple[int, ...],
        dtype: DTypeLike,
        *,
        stream: str,
        data_key: str,
        configuration: Mapping[str, Any],
        ring_bytes: int = RING_BYTES,
    ) -> None:
        """Publish images that come in parts, so that they need not all be in memory.

        Parameters
        ----------
        parts : iterable of ndarray, shape (n, height, width)
            The images, in order.
        shape : tuple of int
            Of an image, (height, width).
        dtype
            Of a pixel.
        stream, data_key, configuration
            As for `publish`.
        ring_bytes : int
            Memory for images that wait to be stored.

        Raises
        ------
        ConcertinoError
            If a callback that stores them failed.
        """
        height, width = shape
        with FrameStream(
            self.stream_address,
            shape=(height, width),
            dtype=dtype,
            name=data_key,
            ring_bytes=ring_bytes,
        ) as frames:
            descriptor = self.announce({data_key: frames}, stream, {data_key: configuration})
            for part in parts:
                frames.publish(np.ascontiguousarray(part))
                del part  # its memory is for the next one
            count = frames.published
            frames.end().check()
            assets = StreamAssets(data_key, frames)
            for name, document in assets.documents():
                if name == "stream_resource":
                    document["run_start"] = self.uid
                else:
                    document["descriptor"] = descriptor["uid"]
                    document["seq_nums"] = {"start": 1, "stop": count + 1}
                self._emit(name, document)
        self._count[stream] = count

    def record(self, stream: str, data: Mapping[str, Any]) -> None:
        """Put one event into a stream of the run.

        Parameters
        ----------
        stream : str
            Name of the document stream.
        data : mapping of str to float, int, str or list of float
            The same names each time.
        """
        if stream not in self._recorded:
            self._recorded[stream] = self._bundle.compose_descriptor(
                name=stream, data_keys=_data_keys(data), hints={}
            )
            self._emit("descriptor", self._recorded[stream].descriptor_doc)
        now_s = time.time()
        event = self._recorded[stream].compose_event(
            data=dict(data), timestamps=dict.fromkeys(data, now_s)
        )
        self._count[stream] = event["seq_num"]
        self._emit("event", event)

    def stop(self, error: BaseException | None = None) -> None:
        """End the run, with an error when there was one."""
        document = self._bundle.compose_stop(
            exit_status="fail" if error is not None else "abort" if self.cut_short else "success",
            reason=self.cut_short if error is None else str(error),
        )
        document["num_events"] = dict(self._count)
        self._emit("stop", document)

    def announce(
        self,
        frames: Mapping[str, FrameStream],
        stream: str,
        configuration: Mapping[str, Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """Emit a descriptor that tells where frames are published, and return it.

        Parameters
        ----------
        frames : mapping of str to FrameStream
            By data key.
        stream : str
            Name of the document stream.
        configuration : mapping
            For each data key, what its images are made with.
        """
        now_s = time.time()
        described = {}
        for key, source in frames.items():
            data = {f"{key}-{name}": value for name, value in configuration[key].items()}
            data[f"{key}-frames"] = source.address
            described[key] = {
                "data": data,
                "timestamps": dict.fromkeys(data, now_s),
                "data_keys": _data_keys(data),
            }
        bundle = self._bundle.compose_descriptor(
            name=stream,
            data_keys={
                key: {
                    "source": source.address,
                    "shape": [1, *source.shape],
                    "dtype": "array",
                    "dtype_numpy": source.dtype.str,
                    "external": "STREAM:",
                    "object_name": key,
                }
                for key, source in frames.items()
            },
            object_keys={key: [key] for key in frames},
            configuration=described,
            hints={},
        )
        descriptor: Mapping[str, Any] = bundle.descriptor_doc
        self._emit("descriptor", descriptor)
        return descriptor

    def _emit(self, name: str, document: Mapping[str, Any]) -> None:
        for callback in self._callbacks:
            callback(name, document)


def _data_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {str: "string", float: "number", int: "integer", list: "array"}
    return {
        name: {
            "source": "processing",
            "shape": [len(value)] if isinstance(value, list) else [],
            "dtype": kinds[type(value)],
        }
        for name, value in data.items()
    }


@contextmanager
def stored_processing_run(
    raw: Mapping[str, Any],
    kind: str,
    parameters: Mapping[str, Any],
    *,
    name: str,
    output: str = "tiff",
    directory: Path | None = None,
    callbacks: Sequence[DocumentCallback] = (),
    more: Mapping[str, Any] | None = None,
    stream_address: str = "tcp://127.0.0.1:0",
    backend: Mapping[str, str] | None = None,
) -> Iterator[ProcessingRun | None]:
    """Open a processing run with a directory, a record and its images stored; end it as it goes.

    Parameters
    ----------
    raw, kind, parameters, backend
        As for `ProcessingRun`.
    name : str
        The directory is ``<scan>_<name>_01``, beside the raw run's.
    output : str
        Format of the images, see `concertino.storage.open_sink`.
    directory : Path, optional
        Where it is made instead.
    callbacks : sequence of callable
        Take the documents, too.
    more, stream_address
        As for `ProcessingRun`.

    Yields
    ------
    ProcessingRun or None
        None if there is neither a place to store it nor a callback.

    Raises
    ------
    ParameterError
        If there is no such format.
    """
    check_image_format(output, "output")
    root = directory
    if root is None and "run_directory" in raw:
        root = Path(raw["run_directory"]).parent
    if root is None and not callbacks:
        yield None
        return
    scan = raw.get("scan_name") or raw["uid"]
    own = None if root is None else derived_directory(root, f"{scan}_{name}")
    recorder = Recorder() if own is not None else None
    storing: list[DocumentCallback] = (
        [] if recorder is None else [recorder, ImageWriter(format=output)]
    )
    try:
        run = ProcessingRun(
            raw, kind, parameters, directory=own, callbacks=[*storing, *callbacks],
            more=more, stream_address=stream_address, backend=backend,
        )  # fmt: skip
        try:
            yield run
        except BaseException as error:
            run.stop(error)
            raise
        else:
            run.stop()
    finally:
        if recorder is not None:
            recorder.close()
