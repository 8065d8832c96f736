"""What stands in the start document of an imaging run."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from bluesky.utils import MsgGenerator
from pydantic import ValidationError

from concertino import ParameterError
from concertino.documents import TomoBlock, check_user_metadata
from concertino.plans.core._cameras import CameraSet
from concertino.plans.core._device_queries import FramesAsSet, outcome
from concertino.plans.core._offers import FramesToBe, TellsSourceKind
from concertino.plans.core._parameters import read_number
from concertino.plans.run._optics import optics_fields
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
    pixel_sizes, shapes, sizes = [], [], {}
    for camera in cameras.cameras:
        rehearsed: FramesToBe | None = yield from outcome(FramesAsSet(camera))
        if rehearsed is None:
            pixel_sizes.append((yield from read_number(camera.pixel_size)))
        else:
            pixel_sizes.append(rehearsed.pixel_size_um)
        shapes.append(list((rehearsed or camera).frame_shape))
        sizes[camera.name] = int((rehearsed or camera).frame_bytes)
    optics = yield from optics_fields(cameras.cameras, pixel_sizes, tomo, md or {})
    kinds = tomo["image_kinds"]
    block = _tomo_block(
        {
            "source_kind": _source_kind(beam),
            "camera": cameras.name,
            **tomo,
            **optics[0],
            "image_kinds": {
                name: kind for stream, kind in kinds.items() for name in cameras.streams(stream)
            },
            "more_cameras": {
                camera.name: {
                    "streams": [cameras.stream_of(camera, stream) for stream in kinds],
                    "pixel_size_um": known.get("pixel_size_um"),
                }
                for camera, known in zip(cameras.others, optics[1:], strict=True)
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
        "frame_shape": shapes[0],
        "frame_bytes": sizes[cameras.name],
        **(
            {"more_frame_bytes": {camera.name: sizes[camera.name] for camera in cameras.others}}
            if cameras.others
            else {}
        ),
        **({"own_files": list(cameras.self_storing)} if cameras.self_storing else {}),
        "tomo": block.model_dump(mode="json"),
        "imaging_scan": scan,
        **(md or {}),
    }


def _source_kind(beam: Any) -> str | None:
    kind = beam.source_kind if isinstance(beam, TellsSourceKind) else None
    return kind if kind in ("synchrotron", "tube") else None


def _tomo_block(fields: Mapping[str, Any]) -> TomoBlock:
    try:
        return TomoBlock(**fields)
    except ValidationError as error:
        faults = "; ".join(
            ": ".join([*map(str, fault["loc"]), fault["msg"]]) for fault in error.errors()
        )
        raise ParameterError(
            f"tomo: what the acquisitions of the scan say of it is wrong: {faults}. Have their tomo return fields of "
            "concertino.documents.TomoBlock."
        ) from error


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
