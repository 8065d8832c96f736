"""Images in an OME-Zarr directory."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._extras import extra
from concertino.storage.disk._disk import sync_file_system, sync_path
from concertino.storage.disk._space import storage_error
from concertino.storage.disk._uris import file_uri

from ._image_axes import ImageAxes, ImageAxis
from ._image_sink import ClaimParameters, ImageSink, ImageStream, stored_dtype

ZARR = "application/x-zarr"
_LEVEL = "0"
_OME_UNITS = {"um": "micrometer", "mm": "millimeter", "nm": "nanometer"}
_SPACE = ("z", "y", "x")


def the_zarr() -> Any:
    """Return the package zarr.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    with extra("zarr", "The image format 'zarr'"):
        import zarr
    return zarr


class ZarrSink(ImageSink):
    """Store frames in ``<folder>.ome.zarr``: an OME-Zarr 0.5 image (Zarr 3) with a chunk for each frame.

    A chunk is an uncompressed file that appears when it is whole. The array's length is raised before a
    batch is written and lowered again if that fails; a process that dies within a batch may leave frames
    at the end that are zero (or NaN) and that no document names.

    Parameters
    ----------
    directory
        Absolute path of the stream's directory.
    stream
        What is stored.

    References
    ----------
    J. Moore et al., "OME-Zarr: a cloud-optimized bioimaging file format with international community
    support", Histochem. Cell Biol. 160 (2023) 223, doi:10.1007/s00418-023-02209-1;
    https://ngff.openmicroscopy.org/0.5/
    """

    def __init__(self, directory: Path, stream: ImageStream) -> None:
        zarr = the_zarr()
        super().__init__(directory, stream.shape, stored_dtype(stream, "OME-Zarr"))
        axes, metadata = stream.axes, stream.metadata
        self._path = directory / f"{directory.name}.ome.zarr"
        try:
            group = zarr.open_group(
                self._path,
                mode="w-",
                zarr_format=3,
                attributes={
                    "ome": _multiscales(directory.name, axes),
                    "concertino": {
                        **{key: value for key, value in metadata.items() if _is_json(value)},
                        "images": {
                            "name": axes.images.name,
                            "unit": axes.images.unit,
                            "positions": axes.images.values,
                        },
                    },
                },
            )
            self._array: Any = group.create_array(
                _LEVEL,
                shape=(0, *self.shape),
                chunks=(1, *self.shape),
                dtype=self.dtype,
                compressors=None,
                fill_value=np.nan if self.dtype.kind == "f" else 0,
                dimension_names=[axis.name for axis in axes],
                chunk_key_encoding={"name": "default", "separator": "."},
                config={"write_empty_chunks": True},
            )
        except OSError as error:
            self.close()
            raise storage_error(error, f"make {self._path}") from error

    def claim_parameters(self) -> ClaimParameters:
        """Return what a claim on the stream says: uri, mimetype and parameters."""
        return {
            "uri": file_uri(self._path / _LEVEL, directory=True),
            "mimetype": ZARR,
            "parameters": {"chunk_shape": [1, *self.shape], "join_method": "concat"},
        }

    def _write(self, frames: NDArray[Any]) -> None:
        try:
            self._append(frames)
        except OSError:  # which one was it?
            for frame in frames:
                try:
                    self._append(frame[None])
                except OSError as error:
                    path = self._chunk(self.stored)
                    raise storage_error(error, f"write frame {self.stored} to {path}") from error

    def _append(self, frames: NDArray[Any]) -> None:
        first, last = self.stored, self.stored + len(frames)
        try:
            self._array.resize((last, *self.shape))
            self._array[first:last] = frames
        except OSError:
            with suppress(OSError):
                for index in range(first, last):  # they may have taken the space of the failed one
                    self._chunk(index).unlink(missing_ok=True)
                self._array.resize((first, *self.shape))
            raise
        self.stored = last

    def _chunk(self, index: int) -> Path:
        return self._path / _LEVEL / f"c.{index}.0.0"

    def _sync_files(self) -> None:
        if sync_file_system(self._folder):
            return
        for folder, _, names in os.walk(self._path):
            for path in (*(os.path.join(folder, name) for name in names), folder):
                sync_path(path)


def _multiscales(name: str, axes: ImageAxes) -> dict[str, Any]:
    """Return what OME-Zarr 0.5 says of an image with one level."""
    transformations: list[dict[str, Any]] = [
        {"type": "scale", "scale": [1.0 if axis.values else axis.step for axis in axes]}
    ]
    if any(axis.start for axis in axes):
        transformations.append(
            {"type": "translation", "translation": [axis.start for axis in axes]}
        )
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": name,
                "axes": [_ome_axis(axis) for axis in axes],
                "datasets": [{"path": _LEVEL, "coordinateTransformations": transformations}],
            }
        ],
    }


def _ome_axis(axis: ImageAxis) -> dict[str, str]:
    described = {"name": axis.name}
    if axis.name in _SPACE:
        described["type"] = "space"
    if axis.unit in _OME_UNITS:
        described["unit"] = _OME_UNITS[axis.unit]
    return described


def _is_json(value: Any) -> bool:
    return isinstance(value, (str, int, float, list, dict))
