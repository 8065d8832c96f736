"""A process beside the session that switches the beam off when the session dies or falls silent."""

from ._devices import (
    GuardedBeam,
    address_of,
    ends_with_session,
    named_with_address,
    switch_of_signal,
    switch_off_of,
)
from ._process import GuardProcess
from ._report import GuardReport, SwitchedBeam, add_to_runs, report_of_run, untold_reports
from ._serve import serve_guard
from ._switches import (
    CommandSwitch,
    EpicsSwitch,
    FunctionSwitch,
    SwitchOff,
    TangoSwitch,
    named_switch,
    read_switches,
    switch_from_json,
)

__all__ = [
    "CommandSwitch",
    "EpicsSwitch",
    "FunctionSwitch",
    "GuardProcess",
    "GuardReport",
    "GuardedBeam",
    "SwitchOff",
    "SwitchedBeam",
    "TangoSwitch",
    "add_to_runs",
    "address_of",
    "ends_with_session",
    "named_switch",
    "named_with_address",
    "read_switches",
    "report_of_run",
    "serve_guard",
    "switch_from_json",
    "switch_of_signal",
    "switch_off_of",
    "untold_reports",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
