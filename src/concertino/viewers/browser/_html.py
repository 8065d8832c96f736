"""The words and bars of the page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from concertino.viewers._picture import Picture

_COLOURS = {
    "waiting": "#6b7785",
    "running": "#1f6fb2",
    "finished": "#2c7a3f",
    "aborted": "#b06a00",
    "failed": "#b3261e",
}
_THIN = 7
_SURE, _UNSURE = 0.7, 0.3  # confidences
_LATE = 1.2  # times as long between previews as was asked
_WORDS = {"waiting": "waiting for a run"}
_FONT = "font-family:system-ui,sans-serif;color:#1d2733;"
_MUTED = "color:#5b6775;"


def header(summary: Mapping[str, Any], *, frozen: bool) -> str:
    """Return the page's head: which run, how far it is, how it ended."""
    run = summary.get("run") or {"state": "waiting", "streams": []}
    name = run.get("name") or "Concertino"
    about = " · ".join(
        text for text in (run.get("plan"), run.get("sample"), run.get("optics")) if text
    )
    elapsed = "" if run["state"] == "waiting" else _duration(run.get("elapsed_s", 0.0))
    parts = [
        f'<div style="{_FONT}font-size:14px;line-height:1.5">',
        '<div style="display:flex;align-items:baseline;gap:14px">',
        f'<span data-field="run" style="font-size:24px;font-weight:600">{escape(name)}</span>',
        _badge(run["state"], "state"),
        _badge("pictures frozen", "frozen") if frozen else "",
        f'<span style="{_MUTED}">{escape(about)}</span>',
        f'<span data-field="elapsed" style="{_MUTED}">{elapsed}</span>',
        "</div>",
        _reason(run, "reason"),
        *(_alarm(alarm) for alarm in summary.get("alarms", [])),
        '<div style="display:flex;flex-wrap:wrap;gap:6px 28px;margin-top:6px">',
        *(_bar(stream) for stream in run["streams"]),
        _processing(summary.get("processing")),
        "</div>",
        _found(summary.get("found") or {}),
        "</div>",
    ]
    return "".join(parts)


def caption(
    title: str,
    picture: Picture,
    received_hz: float | None,
    displayed_hz: float,
    pointed: tuple[int, int, float] | None,
) -> str:
    """Return the lines above a picture: what it is, how often it comes, what is pointed at."""
    height, width = picture.shape
    rows, columns = picture.pixels.shape
    notes = [f"{height} × {width} px"]
    if (rows, columns) != (height, width):
        notes.append(f"every {_step(height, rows, width, columns)} shown")
    if max(height, width) > _THIN * min(height, width):
        notes.append("not to scale")
    if received_hz is not None:
        notes.append(
            f'<span data-field="displayed">{displayed_hz:.1f}</span> shown of '
            f'<span data-field="received">{received_hz:.0f}</span> frames a second'
        )
    # A line of its own, there even when empty: nothing moves when the pointer does.
    pointed_text = "&nbsp;"
    if pointed is not None:
        row, column, value = pointed
        pointed_text = f"row {row}, column {column}: <b>{value:.6g}</b>"
    if picture.panel == "frames":
        which = f'<b data-field="stream">{escape(picture.stream)}</b> frame <b data-field="number"'
        which += f' style="font-variant-numeric:tabular-nums">{picture.number}</b>'
        which += f" of {escape(picture.label)}"
    else:
        which = f'<b data-field="slice">{escape(picture.label)}</b>'
    return (
        f'<div style="{_FONT}font-size:14px;white-space:nowrap">'
        f'<span style="font-size:16px;font-weight:600">{escape(title)}</span> &nbsp; {which}'
        f'<div style="{_MUTED}font-size:13px;font-variant-numeric:tabular-nums">'
        f"{' · '.join(notes)}<br><span data-field='pointed'>{pointed_text}</span></div></div>"
    )


def title(summary: Mapping[str, Any]) -> str:
    """Return the words on the browser's tab."""
    run = summary.get("run")
    if not run or run["state"] == "waiting":
        return "Concertino"
    totals = [s["total"] for s in run["streams"]]
    part = run["state"]
    if part == "running" and totals and all(totals):
        acquired = sum(min(s["acquired"], s["total"]) for s in run["streams"])
        part = f"{100 * acquired // sum(totals)} %"
    return f"{run['name']}: {part}"


def _badge(state: str, field: str) -> str:
    return (
        f'<span data-field="{field}" style="background:{_COLOURS.get(state, "#6b7785")};color:#fff;'
        f'border-radius:4px;padding:1px 9px;font-weight:600">{_WORDS.get(state, state)}</span>'
    )


def _reason(run: Mapping[str, Any], field: str) -> str:
    if not run.get("reason"):
        return ""
    return (
        f'<div data-field="{field}" style="color:{_COLOURS["failed"]};max-width:1200px;'
        f'overflow-wrap:anywhere">{escape(run["reason"])}</div>'
    )


def _alarm(alarm: Mapping[str, str]) -> str:
    colour = _COLOURS["aborted" if alarm["level"] in ("note", "warn") else "failed"]
    return (
        f'<div data-field="alarm" style="color:{colour};max-width:1200px;overflow-wrap:anywhere">'
        f"<b>{escape(alarm['level'])}</b> &nbsp;{escape(alarm['message'])}</div>"
    )


def _bar(stream: Mapping[str, Any]) -> str:
    acquired, total = stream["acquired"], stream["total"]
    name = escape(stream["name"])
    count = f"{acquired} of {total}" if total else f"{acquired}"
    bar = (
        f'<progress max="{total}" value="{min(acquired, total)}" style="width:160px;'
        'accent-color:#1f6fb2;vertical-align:middle"></progress> '
        if total
        else ""
    )
    return (
        f'<span style="white-space:nowrap">{name} {bar}<span data-field="progress-{name}" '
        f'style="font-variant-numeric:tabular-nums">{count}</span></span>'
    )


def _processing(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return ""
    return (
        f'<span style="white-space:nowrap">{escape(_called(run))} '
        f"{_badge(run['state'], 'processing')}</span>{_reason(run, 'processing-reason')}"
    )


def _called(run: Mapping[str, Any]) -> str:
    # previews have no directory, and so no name
    return "reconstruction" if run.get("plan") == "reconstruction_preview" else str(run["name"])


def _found(found: Mapping[str, Any]) -> str:
    """Return the line about the rotation axis and the quality of the slices."""
    if found.get("center") is None:
        return ""
    parts = [
        f'rotation axis at column <b data-field="center">{found["center"]:.2f}</b>',
        _confidence(found["center_confidence"], found["center_method"]),
    ]
    if found.get("projections_planned") and found.get("missing_projections") is None:
        parts.append(f"from {found['projections']} of {found['projections_planned']} projections")
        if found.get("preview_s") and found["preview_s"] > _LATE * found["preview_asked_s"]:
            parts.append(
                f'<span data-field="previews" style="color:{_COLOURS["aborted"]}">previews every '
                f"{found['preview_s']:.2g} s, asked every {found['preview_asked_s']:.2g} s</span>"
            )
    if found.get("missing_projections"):
        parts.append(f"{found['missing_projections']} projections missing")
    if found.get("resolution_px") is not None:
        parts.append(
            f'resolution <b data-field="resolution">{found["resolution_px"]:.1f} px</b>, '
            f"signal to noise {found['signal_to_noise']:.3g}"
        )
    return f'<div style="margin-top:4px">{" · ".join(parts)}</div>'


def _confidence(value: float | None, method: str) -> str:
    if value is None:
        return '<span data-field="confidence">nobody says how sure</span>'
    if method == "given":
        return '<span data-field="confidence">given</span>'
    colour = _COLOURS["finished" if value >= _SURE else "failed" if value < _UNSURE else "aborted"]
    how = f" ({escape(method)})" if method else ""
    return (
        f'confidence <b data-field="confidence" style="color:{colour}">{value:.2f}</b>'
        f'<span style="{_MUTED}">{how}</span>'
    )


def _step(height: int, rows: int, width: int, columns: int) -> str:
    down, across = -(-height // rows), -(-width // columns)
    ordinal = {1: "1st", 2: "2nd", 3: "3rd"}
    down_text, across_text = (ordinal.get(step, f"{step}th") for step in (down, across))
    return (
        f"{down_text} row and column"
        if down == across
        else f"{down_text} row, every {across_text} column"
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
