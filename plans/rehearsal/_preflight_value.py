"""What a preflight finds: a frozen value, for people and for documents."""

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from concertino import ParameterError
from concertino.storage import size_text

from ._overheads import Overheads


@dataclass(frozen=True)
class StreamFigures:
    """One stream of frames, as a preflight sees it.

    Parameters
    ----------
    stream, camera : str
        Names.
    trigger : {"internal", "software", "edge"}
        Who starts an exposure.
    frames : int
        How many.
    duration_s : float
        From the first to the last, in seconds.
    exposure_s, period_s : float
        Exposure time, and time from frame to frame, in seconds.
    frame_bytes : int
        Size of a frame in bytes.
    blur_px : float
        Way of the image during an exposure, in pixels: at the edge of the field for a turn.
    """

    stream: str
    camera: str
    trigger: str
    frames: int
    duration_s: float
    exposure_s: float
    period_s: float
    frame_bytes: int
    blur_px: float

    @property
    def dead_s(self) -> float:
        """Time between two exposures, in seconds."""
        return max(0.0, self.period_s - self.exposure_s)

    @property
    def bytes_s(self) -> float:
        """Data rate, in bytes/s."""
        return self.frame_bytes / self.period_s if self.period_s else 0.0


@dataclass(frozen=True)
class AxisFigures:
    """An axis that moves while frames are taken.

    Parameters
    ----------
    axis, unit, stream : str
        The axis, the unit of its position, and the stream that is taken meanwhile.
    speed : float
        In unit/s.
    ramp_s : float
        Time to gain that speed, in seconds.
    run_up : float
        Way on which it does, in `unit`.
    """

    axis: str
    unit: str
    stream: str
    speed: float
    ramp_s: float
    run_up: float


@dataclass(frozen=True)
class Preflight:
    """What a plan will do and need, computed before anything moves. Made by `preflight`.

    Parameters
    ----------
    plan : str
        Name of the plan, or names of several runs' plans.
    runs : int
        How many runs it opens.
    duration_s : float
        How long it takes, in seconds.
    parts : dict of str to float
        What that is made of, in seconds.
    overheads : Overheads
        What was added for all that is neither motion nor exposure.
    streams : tuple of StreamFigures
        The streams of frames.
    axes : tuple of AxisFigures
        Axes that move while frames are taken.
    disk_bytes : int
        Size of all frames, in bytes.
    disk_free_bytes : int or None
        Space in the data directory, in bytes; None when no directory is known.
    write_bytes_s : float or None
        What the data directory takes, in bytes/s; None when not known.
    write_source : str
        When and how that was measured.
    ring_bytes : int
        Memory for frames on their way, in bytes.
    reconstruction_bytes : int or None
        Memory of the reconstruction at its peak, in bytes; None when there is none.
    memory_free_bytes : int or None
        Memory that can be had, in bytes.
    warnings, refusals : tuple of str
        What may spoil the scan, and what makes it impossible.
    open_end : str
        Where the plan waits for what only a run can tell, so that the figures end there; empty for
        a plan that was followed to its end.
    """

    plan: str
    runs: int
    duration_s: float
    parts: dict[str, float]
    overheads: Overheads
    streams: tuple[StreamFigures, ...]
    axes: tuple[AxisFigures, ...] = ()
    disk_bytes: int = 0
    disk_free_bytes: int | None = None
    write_bytes_s: float | None = None
    write_source: str = ""
    ring_bytes: int = 0
    reconstruction_bytes: int | None = None
    memory_free_bytes: int | None = None
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    open_end: str = ""

    def check(self) -> None:
        """Refuse what cannot work.

        Raises
        ------
        ParameterError
            If there is any refusal.
        """
        if self.refusals:
            raise ParameterError(" ".join(self.refusals))

    def to_json(self) -> dict[str, Any]:
        """Return the figures as they stand in a start document."""
        figures = asdict(self)
        for row, stream in zip(figures["streams"], self.streams, strict=True):
            row |= {"dead_s": stream.dead_s, "bytes_s": stream.bytes_s}
        for name in ("streams", "axes", "warnings", "refusals"):
            figures[name] = list(figures[name])
        return figures

    def rows(self) -> list[tuple[str, str]]:
        """Return the figures in words: what, and how much."""
        rows = [("plan", self.plan + (f", {self.runs} runs" if self.runs != 1 else ""))]
        rows.append(("duration", time_text(self.duration_s)))
        for part, seconds in sorted(self.parts.items(), key=lambda item: -item[1]):
            rows.append((f"  {part}", time_text(seconds)))
        for stream in self.streams:
            rows.append((stream.stream, _stream_text(stream)))
        for axis in self.axes:
            rows.append(
                (
                    axis.axis,
                    f"{axis.speed:.4g} {axis.unit}/s in {axis.stream}, reached after "
                    f"{axis.run_up:.3g} {axis.unit} and {time_text(axis.ramp_s)}",
                )
            )
        free = "" if self.disk_free_bytes is None else f" of {size_text(self.disk_free_bytes)} free"
        rows.append(("disk", size_text(self.disk_bytes) + free))
        if self.write_bytes_s is not None:
            rows.append(("writing", f"{size_text(self.write_bytes_s)}/s, {self.write_source}"))
        free = ""
        if self.memory_free_bytes is not None:
            free = f", {size_text(self.memory_free_bytes)} free"
        needed = f"{size_text(self.ring_bytes)} for frames on their way"
        if self.reconstruction_bytes is not None:
            needed += f", {size_text(self.reconstruction_bytes)} for the reconstruction"
        rows.append(("memory", needed + free))
        rows.append(("overheads", self.overheads.source))
        if self.open_end:
            rows.append(("open end", f"the figures end at {self.open_end}"))
        rows += [("warning", text) for text in self.warnings]
        rows += [("refused", text) for text in self.refusals]
        return rows

    def table(self) -> str:
        """Return the figures as a table in plain text."""
        rows = self.rows()
        width = max(len(what) for what, _ in rows)
        return "\n".join(f"{what:{width}}  {text}" for what, text in rows)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(what)}</th>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for what, text in self.rows()
        )
        return f"<table>{cells}</table>"


def time_text(seconds: float) -> str:
    """Return a duration in words: ``12.3 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _stream_text(stream: StreamFigures) -> str:
    text = f"{stream.frames} frames in {time_text(stream.duration_s)}"
    text += f": exposed {time_text(stream.exposure_s)}, dead {time_text(stream.dead_s)} each"
    text += f", {size_text(stream.bytes_s)}/s"
    return text + (f", blur {stream.blur_px:.3g} px" if stream.blur_px else "")
