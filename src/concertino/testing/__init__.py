"""Contract suites to inherit: what an implementation of a Concertino interface must do."""

from concertino._extras import extra

with extra("test", "concertino.testing"):
    from ._endless_waits import EndlessWait, check_end_in_time, endless_waits, run_with_endless_wait
    from ._every_end import check_every_end
    from ._frame_source import BufferedFrameSourceContract, FrameSourceContract
    from ._image_format import ImageFormatContract
    from ._plan_faults import (
        InjectedFaultError,
        PlanBench,
        PlanFault,
        PlanOutcome,
        check_safe_end,
        describe_message,
        fault_at,
        fault_positions,
        plan_messages,
        run_with_fault,
    )

__all__ = [
    "BufferedFrameSourceContract",
    "EndlessWait",
    "FrameSourceContract",
    "ImageFormatContract",
    "InjectedFaultError",
    "PlanBench",
    "PlanFault",
    "PlanOutcome",
    "check_end_in_time",
    "check_every_end",
    "check_safe_end",
    "describe_message",
    "endless_waits",
    "fault_at",
    "fault_positions",
    "plan_messages",
    "run_with_endless_wait",
    "run_with_fault",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
