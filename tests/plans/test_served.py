"""The module of plans alone, as services look at it: bluesky's queue server, and blueapi, which asks pydantic."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from bluesky import RunEngine
from bluesky.protocols import (
    Checkable,
    Configurable,
    Flyable,
    Movable,
    Pausable,
    Readable,
    Stageable,
    Stoppable,
    Subscribable,
    Triggerable,
    WritesExternalAssets,
)
from bluesky.utils import is_plan
from pydantic import ConfigDict, create_model

from concertino import plans
from concertino.plans import served
from concertino.storage import open_run

#: What blueapi takes for a device; also a class that has all the methods of one.
_PROTOCOLS = (
    Checkable, Configurable, Flyable, Movable, Pausable, Readable, Stageable, Stoppable, Subscribable, Triggerable,
    WritesExternalAssets,
)  # fmt: skip


def by_name(annotation: Any) -> Any:
    """Return an annotation in which devices go by their names, as blueapi has it."""
    root = get_origin(annotation) or annotation
    if root in _PROTOCOLS or isinstance(root, _PROTOCOLS):
        return str
    if not (arguments := get_args(annotation)):
        return annotation
    given = tuple(by_name(each) for each in arguments)
    return (Union if root is UnionType else root)[given]


def schema(plan: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON schema that pydantic makes of a plan's parameters."""
    hints = get_type_hints(plan)
    fields: Any = {
        name: (by_name(hints[name]), ... if parameter.default is parameter.empty else None)
        for name, parameter in inspect.signature(plan).parameters.items()
    }
    config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    model = create_model(plan.__name__, __config__=config, **fields)
    return dict(model.model_json_schema())


@pytest.mark.parametrize("name", served.__all__)
def test_each_is_a_plan_whose_parameters_go_by_name(name: str) -> None:
    plan = vars(served)[name]
    assert is_plan(plan)
    assert plan is vars(plans)[name]
    kinds = {parameter.kind for parameter in inspect.signature(plan).parameters.values()}
    assert kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    assert list(schema(plan)["properties"]) == list(inspect.signature(plan).parameters)


def test_nothing_else_is_in_it() -> None:
    public = {name for name in vars(served) if not name.startswith("_")}
    assert public == set(served.__all__)
    # What made blueapi answer 500 to a request for the plans of the whole package.
    functions = [vars(plans)[name] for name in plans.__all__ if is_plan(vars(plans)[name])]
    without = set()
    for plan in functions:
        try:
            schema(plan)
        except Exception:
            without.add(plan.__name__)
    assert {"run_safely", "for_each", "passed_on", "imaging_run"} <= without


def test_the_queue_server_takes_each() -> None:
    operations = pytest.importorskip("bluesky_queueserver.manager.profile_ops")
    found, _, taken, _ = operations.existing_plans_and_devices_from_nspace(nspace=vars(served))
    assert set(found) == set(taken) == set(served.__all__)
    assert all(plan["properties"]["is_generator"] for plan in found.values())


def test_the_plans_of_the_how_to_store_their_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "queue-plans.md").read_text()
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        exec(example, names)
    found = names["devices"].build_and_connect().devices
    engine = RunEngine({}, context_managers=[], call_returns_result=True)
    try:
        engine(
            names["radiography"](
                found["camera"], found["shutter"], found["sample_stage"], radio_position=0, flat_position="1 cm",
                num_darks=1, num_flats=1, num_projections=3,
            )
        )  # fmt: skip
    finally:
        engine.loop.call_soon_threadsafe(engine.loop.stop)
    run = open_run("scan_0001", tmp_path / "data")
    assert run.exit_status == "success"
    assert run.frames("projections").read().shape == (3, 256, 256)
