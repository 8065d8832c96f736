"""What a guard elsewhere did, until a session of the same data directory has been told."""

import threading
from pathlib import Path

from ._report import GuardReport, file_of_report, kept_reports, mark_told, write_report

_MOST = 200


class UntoldReports:
    """Reports of all sessions that are watched here.

    Parameters
    ----------
    directory : Path, optional
        Where they are kept when this process ends; without it they are lost then.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._reports: dict[str, GuardReport] = {}
        for report in () if directory is None else kept_reports(directory):
            if report.uid:
                self._reports[report.uid] = report

    def keep(self, report: GuardReport) -> None:
        """Keep a report, or what has become of it."""
        with self._lock:
            self._reports[report.uid] = report
            for oldest in list(self._reports)[:-_MOST]:
                del self._reports[oldest]
        if self._directory is not None:
            write_report(report, self._directory, in_runs=False)

    def of(self, directory: str) -> list[GuardReport]:
        """Return what is finished and nobody who has this data directory was told."""
        with self._lock:
            reports = list(self._reports.values())
        return [report for report in reports if report.done and report.directory == directory]

    def told(self, uid: str) -> None:
        """Note that somebody was told."""
        with self._lock:
            report = self._reports.pop(uid, None)
        if report is not None and self._directory is not None:
            mark_told(file_of_report(report, self._directory))
