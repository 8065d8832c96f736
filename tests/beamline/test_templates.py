"""Each file to begin with is right, and so is the schema by which editors complete them."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from concertino import ParameterError
from concertino.beamline import TEMPLATES, beamline_schema, read_beamline, template

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "reference" / "beamline.schema.json"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_no_mistake(tmp_path: Path, name: str) -> None:
    path = tmp_path / "beamline.toml"
    path.write_text(template(name))
    settings = read_beamline(path).settings
    assert {"camera", "rotation", "beam", "sample_stage"} <= set(settings.roles)


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_commented_out_is_right_too(tmp_path: Path, name: str) -> None:
    """A line such as ``# catalog = true`` is one that somebody takes the sign away from."""
    (tmp_path / "happi.json").write_text("{}")
    text = re.sub(r"^# (?=\[|[\w.]+ = )", "", template(name), flags=re.MULTILINE)
    assert text != template(name)
    path = tmp_path / "beamline.toml"
    path.write_text(text)
    read_beamline(path)


def test_there_is_no_other() -> None:
    with pytest.raises(ParameterError, match=r"kind: 'tangoo' was given; give one of twin, epics, tango, mixed"):  # fmt: skip
        template("tangoo")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_satisfies_the_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(beamline_schema())
    jsonschema.validate(tomllib.loads(template(name)), beamline_schema())


@pytest.mark.parametrize(
    "wrong",
    [
        {"devcies": {}},
        {"roles": {"rotaton": "a"}},
        {"defaults": {"num_dark": 5}},
        {"defaults": {"radiography": {"num_dark": 5}}},
        {"callbacks": {"writer": {"format": "bmp"}}},
        {"data": {"directory": 5}},
    ],
)
def test_an_editor_marks_what_breaks_the_schema(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, beamline_schema())


def test_the_published_schema_is_that_of_this_version() -> None:
    assert json.loads(PUBLISHED.read_text()) == beamline_schema(), (
        "Write it anew: concertino check-config --schema > docs/reference/beamline.schema.json"
    )
