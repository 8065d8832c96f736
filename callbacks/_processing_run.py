"""A run of its own for what was computed from another run."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from event_model import compose_run
from numpy.typing import NDArray

from concertino import StorageError
from concertino.frames import FrameStream, StreamAssets
from concertino.storage import Recorder

from ._image_writer import ImageWriter

DocumentCallback = Callable[[str, Mapping[str, Any]], None]

_SOFTWARE = ("concertino", "numpy", "scipy", "numba")


def derived_directory(root: Path, name: str) -> Path:
    """Make the next free directory ``<name>_01``, ``<name>_02``, … in `root`.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    for number in range(1, 10_000):
        path = root / f"{name}_{number:02d}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(f"Cannot make the directory {path}: {error.strerror}.") from error
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
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        kind: str,
        parameters: Mapping[str, Any],
        *,
        directory: Path | None,
        callbacks: Sequence[DocumentCallback],
    ) -> None:
        self.directory = directory
        self._callbacks = list(callbacks)
        self._count: dict[str, int] = {}
        metadata: dict[str, Any] = {
            "plan_name": kind,
            "derived_from": raw["uid"],
            "processing": {
                "kind": kind,
                "parameters": dict(parameters),
                "software": {name: version(name) for name in _SOFTWARE},
            },
            "hints": {},
        }
        if "sample" in raw:
            metadata["sample"] = raw["sample"]
        if directory is not None:
            metadata |= {"scan_name": directory.name, "run_directory": str(directory)}
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
        configuration : mapping of str to float, int or str
            What the images were made with.

        Raises
        ------
        ConcertinoError
            If a callback that stores them failed.
        """
        height, width = images.shape[1:]
        with FrameStream(shape=(height, width), dtype=images.dtype, name=data_key) as frames:
            self._emit("descriptor", self._describe(frames, stream, data_key, configuration))
            frames.publish(np.ascontiguousarray(images))
            frames.end().check()
            assets = StreamAssets(data_key, frames)
            for name, document in assets.documents():
                if name == "stream_resource":
                    document["run_start"] = self.uid
                else:
                    document["descriptor"] = self._descriptor["uid"]
                    document["seq_nums"] = {"start": 1, "stop": len(images) + 1}
                self._emit(name, document)
        self._count[stream] = len(images)

    def stop(self, error: BaseException | None = None) -> None:
        """End the run, with an error when there was one."""
        document = self._bundle.compose_stop(
            exit_status="success" if error is None else "fail",
            reason="" if error is None else str(error),
        )
        document["num_events"] = dict(self._count)
        self._emit("stop", document)

    def _describe(
        self,
        frames: FrameStream,
        stream: str,
        data_key: str,
        configuration: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        now_s = time.time()
        kinds = {str: "string", float: "number", int: "integer"}
        data = {f"{data_key}-{name}": value for name, value in configuration.items()}
        data[f"{data_key}-frames"] = frames.address
        bundle = self._bundle.compose_descriptor(
            name=stream,
            data_keys={
                data_key: {
                    "source": frames.address,
                    "shape": [1, *frames.shape],
                    "dtype": "array",
                    "dtype_numpy": frames.dtype.str,
                    "external": "STREAM:",
                    "object_name": data_key,
                }
            },
            object_keys={data_key: [data_key]},
            configuration={
                data_key: {
                    "data": data,
                    "timestamps": dict.fromkeys(data, now_s),
                    "data_keys": {
                        name: {"source": "processing", "shape": [], "dtype": kinds[type(value)]}
                        for name, value in data.items()
                    },
                }
            },
            hints={},
        )
        self._descriptor = bundle.descriptor_doc
        return self._descriptor

    def _emit(self, name: str, document: Mapping[str, Any]) -> None:
        for callback in self._callbacks:
            callback(name, document)


@contextmanager
def stored_processing_run(
    raw: Mapping[str, Any],
    kind: str,
    parameters: Mapping[str, Any],
    *,
    name: str,
    directory: Path | None = None,
    callbacks: Sequence[DocumentCallback] = (),
) -> Iterator[ProcessingRun | None]:
    """Open a processing run with a directory, a record and its images stored; end it as it goes.

    Parameters
    ----------
    raw, kind, parameters
        As for `ProcessingRun`.
    name : str
        The directory is ``<scan>_<name>_01``, beside the raw run's.
    directory : Path, optional
        Where it is made instead.
    callbacks : sequence of callable
        Take the documents, too.

    Yields
    ------
    ProcessingRun or None
        None if there is neither a place to store it nor a callback.
    """
    root = directory
    if root is None and "run_directory" in raw:
        root = Path(raw["run_directory"]).parent
    if root is None and not callbacks:
        yield None
        return
    scan = raw.get("scan_name") or raw["uid"]
    own = None if root is None else derived_directory(root, f"{scan}_{name}")
    recorder = Recorder() if own is not None else None
    storing: list[DocumentCallback] = [] if recorder is None else [recorder, ImageWriter()]
    try:
        run = ProcessingRun(raw, kind, parameters, directory=own, callbacks=[*storing, *callbacks])
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
