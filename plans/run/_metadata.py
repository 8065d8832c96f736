"""What stands in the start document of an imaging run."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from bluesky.utils import MsgGenerator

from concertino.documents import TomoBlock, check_user_metadata
from concertino.plans.core._cameras import CameraSet
from concertino.plans.core._parameters import read_number
from concertino.storage import encode_document


def imaging_metadata(
    plan_name: str,
    cameras: CameraSet,
    beam: Any,
    motors: Mapping[str, Any],
    plan_args: Mapping[str, Any],
    frames: Mapping[str, int],
    *,
    tomo: Mapping[str, Any],
    scan: Mapping[str, Any],
    md: Mapping[str, Any] | None,
) -> MsgGenerator[dict[str, Any]]:
    """Return the metadata of a run.

    Parameters
    ----------
    plan_name : str
        Name of the plan.
    cameras : CameraSet
        The cameras.
    beam : device
        What is used.
    motors : mapping of str to device
        What moves, by its part in the plan.
    plan_args : mapping
        Parameters of the plan, JSON-safe, numbers in their unit.
    frames : mapping of str to int
        Frames of each stream that this run is to take, in the order of acquisition.
    tomo : mapping
        Fields of the `TomoBlock` that the plan knows, with `image_kinds`.
    scan : mapping
        The `ImagingScan`, JSON-safe.
    md : mapping, optional
        What the user adds; it wins.
    """
    pixel_sizes = []
    for camera in cameras.cameras:
        size = yield from read_number(camera.pixel_size)
        pixel_sizes.append(size or None)
    kinds = tomo["image_kinds"]
    block = TomoBlock(
        **{
            "pixel_size_um": pixel_sizes[0],
            "camera": cameras.name,
            **tomo,
            "image_kinds": {
                name: kind for stream, kind in kinds.items() for name in cameras.streams(stream)
            },
            "more_cameras": {
                camera.name: {
                    "streams": [cameras.stream_of(camera, stream) for stream in kinds],
                    "pixel_size_um": size,
                }
                for camera, size in zip(cameras.others, pixel_sizes[1:], strict=True)
            },
        }
    )
    names = [camera.name for camera in cameras.cameras]
    return {
        "plan_name": plan_name,
        "plan_args": {
            "camera": names if cameras.others else cameras.name,
            "beam": beam.name,
            **{part: motor.name for part, motor in motors.items()},
            **plan_args,
        },
        "detectors": names,
        "motors": [motor.name for motor in motors.values()],
        "hints": {},
        "frames": {
            name: count for stream, count in frames.items() for name in cameras.streams(stream)
        },
        "frame_shape": list(cameras.frame_shape),
        "frame_bytes": cameras.frame_bytes,
        **(
            {"more_frame_bytes": {camera.name: camera.frame_bytes for camera in cameras.others}}
            if cameras.others
            else {}
        ),
        "tomo": block.model_dump(mode="json"),
        "imaging_scan": scan,
        **(md or {}),
    }


def check_md(md: Mapping[str, Any] | None) -> None:
    """Refuse a user's metadata that a run could not keep, or that would change what it means.

    Raises
    ------
    ParameterError
        Naming the key.
    """
    check_user_metadata(md, partial(encode_document, "start"))


def quantity(value: float, unit: str) -> dict[str, Any]:
    """Return a number with its unit for ``plan_args``."""
    return {"value": value, "unit": unit}
