"""Contract suites to inherit: what an implementation of a Concertino interface must do."""

from concertino._extras import extra

with extra("test", "concertino.testing"):
    from ._backend import BackendContract
    from ._endless_waits import EndlessWait, check_end_in_time, endless_waits, run_with_endless_wait
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
    "EndlessWait",
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
    "check_end_in_time",
    "check_safe_end",
    "describe_message",
    "drain",
    "endless_waits",
    "eventually",
    "fault_positions",
    "numbered_frames",
    "plan_messages",
    "run_with_endless_wait",
    "run_with_fault",
    "take",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
