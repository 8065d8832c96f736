import asyncio
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine
from bluesky.utils import MsgGenerator
from ophyd_async.core import StaticFilenameProvider, StaticPathProvider, TriggerInfo
from ophyd_async.sim import PatternGenerator, SimBlobDetector

from concertino import DocumentError
from concertino.documents import TomoBlock, validate, validate_run

Documents = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    """The documents of a real flown run of a real detector."""
    engine = RunEngine({}, context_managers=[])
    documents: Documents = []
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    path: Path = tmp_path_factory.mktemp("run")

    async def connected() -> SimBlobDetector:
        paths = StaticPathProvider(StaticFilenameProvider("frames"), path)
        detector = SimBlobDetector(paths, PatternGenerator(), name="camera")
        await detector.connect()
        return detector

    camera = asyncio.run_coroutine_threadsafe(connected(), engine.loop).result()
    block = TomoBlock(
        scheme="radiography", acquisition="single", num_projections=3, camera="camera"
    )

    def fly() -> MsgGenerator[None]:
        yield from bps.prepare(camera, TriggerInfo(number_of_events=3), wait=True)
        yield from bps.declare_stream(camera, name="projections")
        yield from bps.kickoff(camera, wait=True)
        yield from bps.collect_while_completing([camera], [camera], stream_name="projections")

    md = {"tomo": block.model_dump(mode="json")}
    engine(bpp.stage_wrapper(bpp.run_wrapper(fly(), md=md), [camera]))
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join(timeout=5)
    engine.loop.close()
    # This detector has no frame stream; ours says "" then.
    descriptor = next(doc for name, doc in documents if name == "descriptor")
    descriptor["configuration"]["camera"]["data"]["camera-frames"] = ""
    return documents


def test_a_real_run_is_valid(run: Documents) -> None:
    assert {"start", "descriptor", "stream_resource", "stream_datum", "stop"} == {n for n, _ in run}
    validate_run(run)


def changed(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Documents], None]:
    def apply(run: Documents) -> None:
        change(next(doc for kind, doc in run if kind == name))

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (changed("start", lambda doc: doc.pop("time")), "breaks event-model's schema: 'time' is a required property"),
        (changed("start", lambda doc: doc.update(time="now")), "breaks event-model's schema at time: 'now' is not of type 'number'"),
        (changed("start", lambda doc: doc["tomo"].update(version=7)), "the tomo block is of version 7"),
        (
            changed("descriptor", lambda doc: doc["data_keys"]["camera"].pop("dtype_numpy")),
            "describes the frames 'camera' with shape [1, 240, 320] and dtype_numpy None. Give (frames, height, width) and a dtype.",
        ),
        (
            changed("descriptor", lambda doc: doc["configuration"]["camera"]["data"].update({"camera-frames": None})),
            "has None as 'camera-frames' in the configuration of 'camera'. Give the frame stream's address, or '' for none.",
        ),
        (
            changed("stream_resource", lambda doc: doc["parameters"].update(join_method="stack")),
            "has join_method 'stack'. Set 'concat': the frames of a resource follow one another.",
        ),
        (changed("stream_datum", lambda doc: doc["indices"].update(start=3, stop=3)), "has the indices 3 to 3: it holds no frame."),
        (changed("stream_datum", lambda doc: doc["indices"].update(start=1, stop=3)), "describes frames from 1 on; the next frame of its resource is 0."),
        (lambda run: run.pop(), "The run has no stop document: its last is 'stream_datum'."),
        (lambda run: run.clear(), "The run has no stop document: its last is 'none at all'."),
        (lambda run: run.pop(0), "is out of order: a run begins with its one start."),
        (lambda run: run.insert(1, run[0]), "is out of order: a run begins with its one start."),
        (lambda run: run.append(run[-1]), "comes after the run's stop."),
        (lambda run: run.pop(1), "which did not come before it."),
    ],
)  # fmt: skip
def test_damaged_runs(run: Documents, damage: Callable[[Documents], None], message: str) -> None:
    run = copy.deepcopy(run)
    damage(run)

    with pytest.raises(DocumentError) as caught:
        validate_run(run)

    assert message in str(caught.value)


def test_an_unknown_kind_of_document() -> None:
    with pytest.raises(DocumentError) as caught:
        validate("begin", {})

    assert str(caught.value) == (
        "'begin' is no kind of document. The kinds are start, descriptor, event, event_page, "
        "stream_resource, stream_datum, resource, datum, datum_page, stop."
    )
