"""What is made of a run: once all its frames have come, again when some are taken again, or not at all."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from event_model import compose_run

from concertino import ReconstructionError
from concertino.callbacks.reconstruction._run_jobs import RunJob, RunJobs
from concertino.documents import TomoBlock
from concertino.frames import FrameStream

TOMO: dict[str, Any] = {
    "version": 1, "scheme": "radiography", "acquisition": "single", "camera": "camera",
    "image_kinds": {"darks": "dark"}, "num_projections": 0,
}  # fmt: skip


class Total(RunJob[int]):
    """The sum of the frames of a run."""

    def __init__(self, start: Any, tomo: TomoBlock) -> None:
        super().__init__(start, tomo)
        self.values: list[
            int
        ] = []  # goes on to the job that does it again, as a reconstructor does


class Sum(RunJobs[Total, int]):
    """Adds up all frames."""

    _RUNS = "summed"

    def __init__(self) -> None:
        super().__init__("sum", None, (), necessary=False)
        self.may_finish = threading.Event()
        self.may_finish.set()

    def begin(self, start: Any) -> Total | None:
        return Total(start, TomoBlock.from_start(start)) if "tomo" in start else None

    def add(self, job: Total, stream: Any, subscription: Any) -> None:
        for batch in subscription:
            job.values += [int(frame.sum()) for frame in batch.frames]
            job.completion.came(stream.name, batch.start, batch.stop)
            subscription.acknowledge(batch.stop)

    def make(self, job: Total) -> int:
        assert self.may_finish.wait(240)
        job.check()
        return sum(job.values)


class Run:
    """A run whose streams have the frames that they are given."""

    def __init__(self, callback: Sum) -> None:
        self.callback = callback
        self.bundle = compose_run(metadata={"tomo": TOMO, "frames": {"darks": 2}})
        callback("start", self.bundle.start_doc)

    def stream(self, name: str, *values: int) -> None:
        with FrameStream(shape=(1, 1), dtype="u2") as frames:
            document = {
                "uid": f"{name} of {self.bundle.start_doc['uid']}",
                "run_start": self.bundle.start_doc["uid"],
                "name": name,
                "data_keys": {
                    "camera": {
                        "source": "", "dtype": "array", "shape": [1, 1, 1],
                        "dtype_numpy": "<u2", "external": "STREAM:", "object_name": "camera",
                    }
                },
                "configuration": {"camera": {"data": {"camera-frames": frames.address}}},
            }  # fmt: skip
            self.callback("descriptor", document)
            frames.publish(np.array(values, np.uint16).reshape(-1, 1, 1))
            frames.end().check()

    def stop(self) -> None:
        self.callback("stop", self.bundle.compose_stop())


@pytest.fixture
def summed() -> Iterator[Sum]:
    made = Sum()
    yield made
    made.may_finish.set()
    made.settle()


def test_it_is_made_when_all_has_come_and_anew_when_frames_are_taken_again(summed: Sum) -> None:
    with pytest.raises(ReconstructionError, match="no summed run has started since Sum was subs"):
        summed.wait(1)
    run = Run(summed)
    assert summed.busy
    summed.may_finish.clear()
    run.stream("darks", 3, 4)
    with pytest.raises(ReconstructionError, match=r"sum of run .* did not finish within 0.1 s"):
        summed.wait(0.1)
    # The first result is still being made when the second frame is taken again.
    first = summed._job
    assert first is not None
    again = threading.Thread(target=run.stream, args=("darks_from_00001_2", 5))
    again.start()
    until_s = time.monotonic() + 240
    while summed._job is first:
        assert time.monotonic() < until_s
        time.sleep(0.01)
    summed.may_finish.set()
    again.join()
    assert first.result.result(30) == 7  # of what had come by then
    assert summed.wait(240) == 12
    run.stop()
    assert summed.wait(240) == 12
    assert not summed.busy


def test_the_end_of_a_run_makes_it_of_what_came_and_a_failure_says_why(summed: Sum) -> None:
    run = Run(summed)
    run.stream("darks", 3)
    assert summed.busy
    run.stop()
    assert summed.wait(240) == 3

    run = Run(summed)
    summed.detached(MemoryError("no memory"))
    with pytest.raises(
        ReconstructionError, match="cannot be reconstructed live: MemoryError: no m"
    ):
        summed.wait(240)
    run.stop()
