"""What stands in the start document of an imaging run."""

from collections.abc import Mapping, Sequence
from typing import Any

from bluesky.utils import MsgGenerator

from concertino.documents import TomoBlock, image_kind

from ._parameters import read_number
from ._protocols import FrameCamera


def imaging_metadata(
    plan_name: str,
    camera: FrameCamera,
    beam: Any,
    motors: Mapping[str, Any],
    plan_args: Mapping[str, Any],
    frames: Mapping[str, int],
    *,
    tomo: Mapping[str, Any],
    md: Mapping[str, Any] | None,
) -> MsgGenerator[dict[str, Any]]:
    """Return the metadata of a run.

    Parameters
    ----------
    plan_name : str
        Name of the plan.
    camera, beam : device
        What is used.
    motors : mapping of str to device
        What moves, by its part in the plan.
    plan_args : mapping
        Parameters of the plan, JSON-safe, numbers in their unit.
    frames : mapping of str to int
        Frames of each stream, in the order of acquisition.
    tomo : mapping
        Fields of the `TomoBlock` that the plan knows.
    md : mapping, optional
        What the user adds; it wins.
    """
    pixel_size = yield from read_number(camera.pixel_size)  # type: ignore[attr-defined]
    fields: dict[str, Any] = {
        "pixel_size_um": pixel_size or None,
        "camera": camera.name,
        **tomo,
    }
    if "image_kinds" not in fields:
        fields["image_kinds"] = {stream: image_kind(stream) for stream in frames}
    block = TomoBlock(**fields)
    return {
        "plan_name": plan_name,
        "plan_args": {
            "camera": camera.name,
            "beam": beam.name,
            **{part: motor.name for part, motor in motors.items()},
            **plan_args,
        },
        "detectors": [camera.name],
        "motors": [motor.name for motor in motors.values()],
        "hints": {},
        "frames": dict(frames),
        "frame_shape": list(camera.frame_shape),
        "frame_bytes": camera.frame_bytes,
        "tomo": block.model_dump(mode="json"),
        **(md or {}),
    }


def quantity(value: float, unit: str) -> dict[str, Any]:
    """Return a number with its unit for ``plan_args``."""
    return {"value": value, "unit": unit}


DEFAULT_ORDER: Sequence[str] = ("darks", "flats", "projections")
