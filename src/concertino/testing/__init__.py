"""Contract suites to inherit: what an implementation of a Concertino interface must do."""

from ._frame_readers import Reader, check_batch, eventually, numbered_frames
from ._frame_transport import FrameTransportContract
from ._plan_faults import (
    InjectedFaultError,
    PlanBench,
    PlanFault,
    PlanOutcome,
    check_safe_end,
    describe_message,
    fault_positions,
    plan_messages,
    run_with_fault,
)

__all__ = [
    "FrameTransportContract",
    "InjectedFaultError",
    "PlanBench",
    "PlanFault",
    "PlanOutcome",
    "Reader",
    "check_batch",
    "check_safe_end",
    "describe_message",
    "eventually",
    "fault_positions",
    "numbered_frames",
    "plan_messages",
    "run_with_fault",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
