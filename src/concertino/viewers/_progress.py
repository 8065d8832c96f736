"""How far a run is, told from its documents alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from concertino.documents import PROJECTION_ANGLES, StreamSegment, device_configuration, is_ledger

RunState = Literal["waiting", "running", "finished", "aborted", "failed"]

_SIDE_STREAMS = frozenset({"baseline", "pauses"})
_EXIT_STATES: dict[str, RunState] = {"success": "finished", "abort": "aborted"}
_MAX_RUNS = 8
_FINDINGS = frozenset({"axis", "resolution"})
_ALARMS = "alarms"
_MAX_ALARMS = 8


@dataclass
class StreamProgress:
    """What is acquired of one stream.

    Attributes
    ----------
    name : str
        Of the stream.
    acquired : int
        Frames or events documented so far.
    total : int or None
        Announced by the start document; None when it does not say.
    """

    name: str
    acquired: int = 0
    total: int | None = None


@dataclass
class RunProgress:
    """One run, as its documents tell it.

    Attributes
    ----------
    uid, name, plan, sample, optics : str
        Of the run; "" when unknown. The optics are energy, pixel size and propagation distance.
    derived : bool
        Whether it processes another run.
    state : {"waiting", "running", "finished", "aborted", "failed"}
        ``waiting`` before the first run.
    reason : str
        Why it failed or was aborted; "" otherwise.
    streams : dict of str to StreamProgress
        By name, in the order of the plan.
    announced : bool
        Whether the start document told the streams.
    """

    uid: str = ""
    name: str = ""
    plan: str = ""
    sample: str = ""
    optics: str = ""
    derived: bool = False
    state: RunState = "waiting"
    reason: str = ""
    streams: dict[str, StreamProgress] = field(default_factory=dict)
    announced: bool = False
    started_s: float = field(default_factory=time.monotonic)
    stopped_s: float | None = None

    @classmethod
    def begin(cls, start: Mapping[str, Any]) -> RunProgress:
        """Return the progress of a run that starts."""
        scan_id = start.get("scan_id")
        name = start.get("scan_name") or (f"scan {scan_id}" if scan_id is not None else "")
        sample = start.get("sample") or ""
        if isinstance(sample, Mapping):
            sample = sample.get("name", "")
        totals = _totals(start)
        return cls(
            uid=str(start.get("uid", "")),
            name=str(name or str(start.get("uid", ""))[:8]),
            plan=str(start.get("plan_name", "")),
            sample=str(sample),
            optics=_optics(start.get("tomo") or {}),
            derived="derived_from" in start,
            state="running",
            streams={
                stream: StreamProgress(stream, _there_before(start, stream, total), total)
                for stream, total in totals.items()
            },
            announced=bool(totals),
        )

    def shows(self, descriptor: Mapping[str, Any]) -> bool:
        """Tell whether a stream belongs to the progress of the run."""
        if self.base(descriptor["name"]) in self.streams:
            return True
        if self.derived and descriptor["name"] in _FINDINGS | {"missing"}:
            return False
        # Beside announced streams of images only other images count: not a log of motions.
        images = any("external" in key for key in descriptor.get("data_keys", {}).values())
        beside = descriptor["name"] in _SIDE_STREAMS or is_ledger(descriptor["name"])
        return images or not (self.announced or beside)

    def base(self, stream: str) -> str:
        """Return the stream of images that a stream is a segment of."""
        return stream if stream in self.streams else StreamSegment.of(stream).base

    def reach(self, stream: str, count: int) -> None:
        """Note that `count` frames or events of a stream, or of a segment, are documented."""
        base = self.base(stream)
        first = StreamSegment.of(stream).first if base != stream else 0
        progress = self.streams.setdefault(base, StreamProgress(base))
        progress.acquired = max(progress.acquired, first + count)

    def end(self, stop: Mapping[str, Any]) -> None:
        """Take the run's stop document."""
        self.state = _EXIT_STATES.get(str(stop.get("exit_status")), "failed")
        self.reason = "" if self.state == "finished" else str(stop.get("reason") or "")
        self.stopped_s = time.monotonic()

    def summary(self) -> dict[str, Any]:
        """Return what a display shows, JSON-able."""
        stopped_s = time.monotonic() if self.stopped_s is None else self.stopped_s
        return {
            "uid": self.uid,
            "name": self.name,
            "plan": self.plan,
            "sample": self.sample,
            "optics": self.optics,
            "state": self.state,
            "reason": self.reason,
            "elapsed_s": 0.0 if self.state == "waiting" else stopped_s - self.started_s,
            "streams": [
                {"name": s.name, "acquired": s.acquired, "total": s.total}
                for s in self.streams.values()
            ],
        }


def _optics(tomo: Mapping[str, Any]) -> str:
    """Return what a run tells of its energy, pixel and distance, for people."""
    told = [
        (tomo.get("energy_kev"), "keV"),
        (tomo.get("pixel_size_um"), "µm"),
        (tomo.get("propagation_distance_mm"), "mm"),
    ]
    return ", ".join(f"{value:.5g} {unit}" for value, unit in told if value is not None)


@dataclass
class Found:
    """What a reconstruction has found out about the newest run, as its documents tell it.

    Attributes
    ----------
    center, center_confidence : float or None
        Column of the rotation axis in px, and how sure it is, 0 to 1.
    center_method : str
        How it was found.
    projections, projections_planned : int or None
        From so many, of so many.
    missing_projections : int or None
        So many never came; None before the end.
    resolution_px, signal_to_noise : float or None
        Of the result.
    preview_s, preview_asked_s : float or None
        Seconds from one preview to the next, and as it was asked.
    """

    center: float | None = None
    center_confidence: float | None = None
    center_method: str = ""
    projections: int | None = None
    projections_planned: int | None = None
    missing_projections: int | None = None
    resolution_px: float | None = None
    signal_to_noise: float | None = None
    preview_s: float | None = None
    preview_asked_s: float | None = None

    def take(self, values: Mapping[str, Any]) -> None:
        """Take the values that have a name here; an axis with all that is said of it, or nothing."""
        if "center" in values:
            self.center_confidence, self.center_method = None, ""
        for name in self.__dataclass_fields__:
            if name in values:
                setattr(self, name, values[name])


class RunTracker:
    """Follows runs by their documents.

    Attributes
    ----------
    run : RunProgress
        The newest run that acquires.
    processing : RunProgress or None
        The newest run that processes the data of another, since `run` began.
    found : Found
        What processing runs told since `run` began.
    alarms : list of dict
        Level and message of the newest alarms, since `run` began.
    """

    def __init__(self) -> None:
        self.run = RunProgress()
        self.processing: RunProgress | None = None
        self.found = Found()
        self.alarms: list[dict[str, str]] = []
        self._runs: dict[str, RunProgress] = {}
        self._streams: dict[str, tuple[RunProgress, str]] = {}  # by the uids of their descriptors

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document."""
        if name == "start":
            self._start(RunProgress.begin(doc))
        elif name == "descriptor":
            if (run := self._runs.get(doc["run_start"])) is not None:
                self._streams[doc["uid"]] = run, doc["name"]
                if run.derived and doc["name"] == "slices":
                    self.found.take(device_configuration(doc, "slices"))
                if run.shows(doc):
                    run.reach(doc["name"], 0)
        elif name in ("event", "event_page", "stream_datum"):
            run, stream = self._streams.get(doc["descriptor"], (None, ""))
            if run is not None:
                for reached, count in _reached(stream, name, doc):
                    if run.base(reached) in run.streams:
                        run.reach(reached, count)
            if run is not None and run.derived and name == "event":
                self._take_finding(stream, doc["data"])
        elif name == "stop" and (run := self._runs.get(doc["run_start"])) is not None:
            run.end(doc)

    def _take_finding(self, stream: str, data: Mapping[str, Any]) -> None:
        if stream == _ALARMS:
            self.alarms = [*self.alarms, {key: data[key] for key in ("level", "message")}]
            self.alarms = self.alarms[-_MAX_ALARMS:]
        elif stream in _FINDINGS:
            self.found.take(data)

    def processes(self, uid: str) -> bool:
        """Whether a run processes the data of another."""
        return uid in self._runs and self._runs[uid].derived

    def _start(self, run: RunProgress) -> None:
        if run.derived:
            if run.plan != _ALARMS:
                self.processing = run
        else:
            self.alarms = []
            self.run = run
            self.processing = None
            self.found = Found()
            # What runs before it still find is not of this one.
            self._streams = {uid: at for uid, at in self._streams.items() if not at[0].derived}
        self._runs[run.uid] = run
        while len(self._runs) > _MAX_RUNS:
            oldest = self._runs.pop(next(iter(self._runs)))
            self._streams = {uid: at for uid, at in self._streams.items() if at[0] is not oldest}


def _reached(stream: str, name: str, doc: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield streams, and how many frames or events of each there are by now.

    What nobody stores has no documents of its own: angles tell of projections, and a ledger of all that is over.
    """
    yield stream, _count(name, doc)
    if not is_ledger(stream) and stream != PROJECTION_ANGLES:
        return
    rows = {key: value if name == "event_page" else [value] for key, value in doc["data"].items()}
    if stream == PROJECTION_ANGLES:
        yield "projections", int(max(rows["projection"], default=-1)) + 1
    else:
        for key in [key for key in rows if key.endswith("-role")]:
            columns = [
                rows[key.removesuffix("role") + name] for name in ("stream", "role", "frames")
            ]
            for published, role, frames in zip(*columns, strict=True):
                if role == "publisher":
                    yield published, int(frames)


def _count(name: str, doc: Mapping[str, Any]) -> int:
    if name == "stream_datum":
        return int(doc["indices"]["stop"])
    seq_num = doc["seq_num"]
    return int(seq_num) if name == "event" else max(seq_num, default=0)


def _there_before(start: Mapping[str, Any], stream: str, total: int | None) -> int:
    """Return how many frames of a stream an earlier run of the same scan has, as far as is known."""
    if "resumes" not in start or total is None:
        return 0
    announced = (StreamSegment.of(name) for name in start.get("frames", {}))
    return min((segment.first for segment in announced if segment.base == stream), default=total)


def _totals(start: Mapping[str, Any]) -> dict[str, int | None]:
    tomo = start.get("tomo") or {}
    arguments = start.get("plan_args") or {}
    totals: dict[str, int | None] = {}
    announced: dict[str, int] = {}
    for name, number in (start.get("frames") or {}).items():
        segment = StreamSegment.of(name)
        stop = segment.first + number
        announced[segment.base] = max(stop, announced.get(segment.base, 0))
    for stream, kind in tomo.get("image_kinds", {}).items():
        count = announced.get(stream, arguments.get(f"num_{stream}"))
        if kind == "projection":
            count = tomo.get("num_projections", count)
        totals[stream] = count if isinstance(count, int) else None
    if isinstance(start.get("num_points"), int) and not totals:
        totals["primary"] = start["num_points"]
    return totals
