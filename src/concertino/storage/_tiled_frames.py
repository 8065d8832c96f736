"""What tiled needs to know of our frames. Imported only with tiled."""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
from bluesky_tiled_plugins.writing.consolidators import CONSOLIDATOR_REGISTRY, ConsolidatorBase
from numpy.typing import NDArray
from tiled.adapters.core import Adapter
from tiled.structures.core import StructureFamily
from tiled.structures.data_source import Asset

from ._resources import TiffResource
from ._stored_frames import Segment, StoredFrames
from ._tiff_pages import TIFF_PAGES
from ._tiff_sequence import TIFF_SEQUENCE
from ._zarr_sink import ZARR

_OURS = ";catalog=concertino"
_CHUNK_BYTES = 16 * 2**20  # what one request reads


class FramesAdapter(Adapter):  # type: ignore[misc]
    """Read the frames of a directory of TIFF files as one array (n, height, width).

    Parameters
    ----------
    data_uri
        Of the directory.
    structure
        Of the array.
    template
        Name of a file, with a field for its number.
    frames_per_file
        Images in a file.
    """

    structure_family = StructureFamily.array

    def __init__(
        self,
        data_uri: str,
        *,
        structure: Any,
        template: str,
        chunk_shape: tuple[int, ...],
        metadata: Any = None,
        specs: Any = None,
        **_: Any,
    ) -> None:
        super().__init__(structure, metadata=metadata, specs=specs)
        directory = Path(unquote(urlparse(data_uri).path))
        count, height, width = structure.shape
        resource = TiffResource(directory, template, int(chunk_shape[0]))
        self._frames = StoredFrames(
            str(directory),
            [Segment(resource, 0, count)],
            (height, width),
            structure.data_type.to_numpy_dtype(),
        )

    @classmethod
    def from_catalog(cls, data_source: Any, node: Any, /, **parameters: Any) -> "FramesAdapter":
        """Make the adapter of a data source in the catalogue."""
        return cls(
            data_source.assets[0].data_uri,
            structure=data_source.structure,
            metadata=node.metadata_,
            specs=node.specs,
            **parameters,
        )

    def read(self, slice: Any = ...) -> NDArray[Any]:
        """Read a part of the array."""
        key = tuple(slice) if isinstance(slice, tuple) else slice
        return np.asarray(self._frames[key])

    def read_block(self, block: Any, slice: Any = ...) -> NDArray[Any]:
        """Read a block of the array, or a part of it."""
        key = block.slice_from_chunks(self._structure.chunks)
        whole = self.read(tuple(key))
        part = tuple(slice) if isinstance(slice, tuple) else slice
        return whole[part] if slice else whole


class FramesConsolidator(ConsolidatorBase):  # type: ignore[misc]
    """Register a directory of frames as one array, whatever the number of files."""

    supported_mimetypes = {TIFF_SEQUENCE + _OURS, TIFF_PAGES + _OURS}  # noqa: RUF012
    join_method = "concat"

    def __init__(self, stream_resource: Any, descriptor: Any) -> None:
        super().__init__(stream_resource, descriptor)
        self.mimetype = stream_resource["mimetype"].removesuffix(_OURS)
        self.assets = [Asset(data_uri=self.uri, is_directory=True, parameter="data_uri", num=None)]
        self._per_file = list(self._sres_parameters["chunk_shape"])
        frame_bytes = (
            prod(self.datum_shape[1:])
            * np.dtype(descriptor["data_keys"][self.data_key]["dtype_numpy"]).itemsize
        )
        self.chunk_shape: tuple[int, ...] = (max(1, _CHUNK_BYTES // max(1, frame_bytes)),)

    def adapter_parameters(self) -> dict[str, Any]:
        """Return what the adapter needs."""
        return {
            "template": self._sres_parameters["template"],
            "chunk_shape": self._per_file,
            "join_method": "concat",
        }


class ArrayConsolidator(FramesConsolidator):
    """Register a Zarr array, which tiled's own adapter reads."""

    supported_mimetypes = {ZARR + _OURS}  # noqa: RUF012

    def adapter_parameters(self) -> dict[str, Any]:
        """Return what the adapter needs."""
        return {}


ADAPTERS = {TIFF_SEQUENCE: FramesAdapter, TIFF_PAGES: FramesAdapter}


_MIMETYPES = (*ADAPTERS, ZARR)


def as_ours(stream_resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stream_resource for whose mimetype our consolidator is registered."""
    document = {**stream_resource, "parameters": dict(stream_resource["parameters"])}
    per_file = document["parameters"].get("chunk_shape", ())
    if (
        document["mimetype"] in _MIMETYPES
        and len(per_file) == 3
        and document["parameters"].pop("join_method", "") == "concat"
    ):
        document["mimetype"] += _OURS
    return document


for _kind in (FramesConsolidator, ArrayConsolidator):
    for _mimetype in _kind.supported_mimetypes:
        CONSOLIDATOR_REGISTRY[_mimetype] = _kind
