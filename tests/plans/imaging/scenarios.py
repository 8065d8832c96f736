"""Scans of every plan and parameter that matters, and a listing of what each does, for comparisons."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import Msg
from bluesky.utils import MsgGenerator
from ophyd_async.core import soft_signal_rw

from concertino.plans import (
    AngleList,
    MultiTurn,
    Timbir,
    align_rotation_axis,
    find_rotation_axis,
    grating_stepping,
    radiography,
    retrospective_radiography,
)
from concertino.simulation import sphere
from tests.plans.laboratory import COUNTS, POSITIONS, Laboratory
from tests.plans.process_laboratory import ProcessLaboratory, foam, twin

#: Messages that come as often as the frames take, or are questions to devices.
_AS_IT_COMES = frozenset(
    {"wait", "wait_for", "collect", "sleep", "null", "subscribe", "tell_reason"}
)
#: Fields of a start document that are of the one run.
_OF_THE_RUN = frozenset({
    "uid", "time", "scan_id", "scan_name", "run_directory", "preflight", "versions", "plan_type", "imaging_scan",
})  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A scan: a plan of the tiny beamline with parameters, or one that makes its own."""

    plan: str
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: By the name of a device of the beamline.
    devices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    make: Callable[..., MsgGenerator[Any]] | None = None
    beamline: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    alignment: Any = None

    def laboratory(self, root: Path) -> Laboratory:
        """Return the beamline on which it is taken."""
        if self.alignment is not None:
            return ProcessLaboratory(root, self.alignment())
        return Laboratory(root, **self.beamline)

    def messages(self, lab: Laboratory) -> MsgGenerator[Any]:
        """Return its messages."""
        given = {
            **self.parameters,
            **{k: getattr(lab.beamline, n) for k, n in self.devices.items()},
        }
        if self.make is None:
            return lab.plan(self.plan, **given)
        given["md"] = lab.directories.new().metadata()
        return self.make(lab, **given)


def _several(lab: Laboratory, **given: Any) -> MsgGenerator[Any]:
    b = lab.beamline
    lab.more = {"detail": b.add_camera("detail", shape=(12, 20), pixel_size_um=2.5)}
    cameras = [b.camera, lab.more["detail"]]
    return radiography(cameras, b.beam, b.sample_stage, **COUNTS, **POSITIONS, **given)


def _grating(lab: Laboratory, **given: Any) -> MsgGenerator[Any]:
    b = lab.beamline
    asked = {
        "num_darks": 2, "num_steps_per_period": 3, "grating_period": "2.4 um", "stepping_start_position": "3 um",
    }  # fmt: skip
    return grating_stepping(
        b.camera, b.grating_stage, b.beam, b.sample_stage, **POSITIONS, **{**asked, **given}
    )


def _recording(lab: Laboratory, **given: Any) -> MsgGenerator[Any]:
    b = lab.beamline
    lab.more = {"pressure": soft_signal_rw(float, initial_value=5.0, name="pressure")}
    return retrospective_radiography(
        b.camera, b.beam, b.sample_stage, lab.more["pressure"], num_darks=2, num_flats=2, num_before=3, num_after=4,
        **POSITIONS, **given,
    )  # fmt: skip


def _found(lab: Laboratory, **given: Any) -> MsgGenerator[Any]:
    b = lab.beamline
    return find_rotation_axis(
        b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position="3 mm", num_darks=2,
        num_flats=2, num_views=2, **given,
    )  # fmt: skip


def _aligned(lab: Laboratory, **given: Any) -> MsgGenerator[Any]:
    b = lab.beamline
    return align_rotation_axis(
        b.camera, b.rotation, b.axis_roll, b.axis_pitch, b.beam, b.sample_stage,
        radio_position=0, flat_position="3 mm", num_darks=2, num_flats=3, num_views=8, tolerance="3 deg", **given,
    )  # fmt: skip


_MEMORY = {"memory_bytes": 2**16, "readout_rate_hz": 60.0}
_SPIRALS = {"start_angle": "10 deg", "angular_range": "6 deg"}
SCENARIOS: dict[str, Scenario] = {
    "radiography": Scenario("radiography"),
    "radiography, read out later": Scenario("radiography", {"readout": "later"}, beamline=_MEMORY),
    "radiography, another order": Scenario(
        "radiography", {"order": ["projections", "flats"], "on_lost": "flag", "flat_position": 2}
    ),
    "radiography, two cameras": Scenario("radiography", make=_several),
    "steps": Scenario("step_tomography"),
    "steps backwards": Scenario(
        "step_tomography", {"angular_range": "-0.25 turn", "start_angle": 5, "num_projections": "4 frames"}
    ),
    "steps, another order": Scenario("step_tomography", {"order": ("projections", "darks")}),
    "steps by golden ratio": Scenario("step_tomography", {"scheme": "golden_ratio"}),
    "steps of several turns": Scenario("step_tomography", {"scheme": MultiTurn(turns=2)}),
    "steps at listed angles": Scenario("step_tomography", {"scheme": ["1 deg", 3, 2.5]}),
    "steps at a list": Scenario("step_tomography", {"scheme": AngleList((4.0, 2.0, 1.0))}),
    "steps by a box": Scenario("step_tomography", devices={"trigger": "trigger_box"}),
    "steps of a wide field": Scenario(
        "step_tomography", {"angular_range": None, "half_acquisition": True, "rotation_axis": "2 px"}
    ),
    "steps at a tube": Scenario(
        "step_tomography", {"angular_range": None}, beamline={"source": "tube"}
    ),
    "steps, interlaced": Scenario(
        "step_tomography", {"scheme": Timbir(rounds=2), "num_projections": 4}
    ),
    "sweep": Scenario("continuous_tomography"),
    "sweep without the way back": Scenario(
        "continuous_tomography", {"unwind": False, "max_blur": "200 px", "readout": "later"},
        beamline=_MEMORY,
    ),
    "sweep, another order": Scenario(
        "continuous_tomography", {"order": ["projections", "flats"], "num_flats": 3}
    ),
    "sweep of tomograms": Scenario(
        "continuous_tomography", {"num_tomograms": 2, "angular_range": "4 deg"}
    ),
    "sweep of several turns": Scenario(
        "continuous_tomography", {"scheme": MultiTurn(turns=2), "angular_range": "4 deg"}
    ),
    "sweep by a box": Scenario(
        "continuous_tomography", {"num_projections": 5}, devices={"trigger": "trigger_box"}
    ),
    "sweep, interlaced": Scenario(
        "continuous_tomography",
        {"scheme": Timbir(rounds=2), "num_projections": 4, "angular_range": "2 deg"},
        devices={"trigger": "trigger_box"},
    ),
    "spiral in steps": Scenario("step_spiral_tomography", _SPIRALS),
    "spiral": Scenario("continuous_spiral_tomography", {**_SPIRALS, "max_blur": 500}),
    "spiral, another order": Scenario(
        "step_spiral_tomography", {**_SPIRALS, "order": ["flats", "projections", "darks"]}
    ),
    "grating": Scenario("grating_stepping", make=_grating),
    "grating of another kind": Scenario(
        "grating_stepping",
        {
            "num_periods": 2, "stepped_grating": "phase", "stepping_direction": -1, "analyser_period": "1 um",
            "propagation_distance": "20 cm", "order": ["object_stepping", "reference_stepping"],
        },
        make=_grating,
    ),
    "recording": Scenario(
        "retrospective_radiography", {"trigger_above": 4.0, "max_wait": "20 s"}, make=_recording
    ),
    "recording of nothing": Scenario(
        "retrospective_radiography",
        {"trigger_below": 1, "max_wait": 0.2, "on_timeout": "keep", "order": ["projections"]},
        make=_recording,
    ),
    "axis found": Scenario(
        "find_rotation_axis", make=_found, alignment=lambda: twin(foam((64, 128)), (64, 128))
    ),
    "axis brought upright": Scenario(
        "align_rotation_axis",
        make=_aligned,
        alignment=lambda: twin(sphere(0.05, distance_mm=0.35), (96, 192)),
    ),
}  # fmt: skip


def devices(lab: Laboratory) -> list[Any]:
    """Return the devices of a beamline, for who takes a scan again."""
    b = lab.beamline
    return [
        b.camera, b.beam, b.sample_stage, b.rotation, b.vertical_stage, b.grating_stage, b.axis_roll,
        b.axis_pitch, b.trigger_box, *lab.more.values(),
    ]  # fmt: skip


def run_listed(lab: Laboratory, plan: MsgGenerator[Any]) -> tuple[list[str], dict[str, Any]]:
    """Run a plan; return the listing of its messages, and the start document but for what is the run's own."""
    found: list[Msg] = []
    lab.documents.clear()
    lab.RE.msg_hook = found.append  # type: ignore[assignment]
    try:
        lab.RE(plan)
    finally:
        lab.RE.msg_hook = None
    start = next(document for name, document in lab.documents if name == "start")
    return listed(found), {k: v for k, v in start.items() if k not in _OF_THE_RUN}


def listed(messages: list[Msg]) -> list[str]:
    """Return a line for each message that a plan chooses: command, device and what it is told."""
    lines, since = [], False  # that angles are compared came after the messages were noted
    for message in messages:
        since = since or message.kwargs.get("name") == "angles_compared"
        if not since and message.command not in _AS_IT_COMES:
            lines.append(_line(message))
        since = since and message.command != "save"
    return lines


def _line(message: Msg) -> str:
    name = getattr(message.obj, "name", "")
    told = [_said(argument) for argument in message.args]
    if message.command in ("create", "declare_stream"):
        told.append(str(message.kwargs["name"]))
    return " ".join([message.command, *filter(None, [name]), *told])


def _said(value: Any) -> str:
    if isinstance(value, bool | str) or value is None:
        return str(value)
    if isinstance(value, int | float | np.number):
        return f"{float(value):.6g}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_said, value))}]"
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return f"{type(value).__name__}({', '.join(f'{k}={_said(v)}' for k, v in fields.items())})"
    return str(getattr(value, "name", None) or re.sub(r"^.*\.", "", type(value).__name__))
