"""Contract suites to inherit: what an implementation of a Concertino interface must do."""

from ._backend import BackendContract
from ._frame_machine import FrameStreamMachine
from ._frame_readers import Reader, check_batch, drain, eventually, numbered_frames, take
from ._frame_source import BufferedFrameSourceContract, FrameSourceContract
from ._frame_transport import FrameTransportContract
from ._image_format import ImageFormatContract
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
    "BackendContract",
    "BufferedFrameSourceContract",
    "FrameSourceContract",
    "FrameStreamMachine",
    "FrameTransportContract",
    "ImageFormatContract",
    "InjectedFaultError",
    "PlanBench",
    "PlanFault",
    "PlanOutcome",
    "Reader",
    "check_batch",
    "check_safe_end",
    "describe_message",
    "drain",
    "eventually",
    "fault_positions",
    "numbered_frames",
    "plan_messages",
    "run_with_fault",
    "take",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
