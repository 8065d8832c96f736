"""What pydantic finds wrong in a file, as sentences."""

import os
import re
import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError

from ._mistakes import Mistake, Place, dotted
from ._settings import ENVIRONMENT, BeamlineSettings
from ._source_file import SourceFile

_LONGEST = 60


def mistakes_of(error: ValidationError, source: SourceFile) -> Iterator[Mistake]:
    """Yield a mistake for each error of a validation."""
    seen: set[Place] = set()
    for one in error.errors():
        place = in_file(one["loc"])
        if place in seen:
            continue  # another kind of a union
        seen.add(place)
        sentence = _sentence(place, one)
        variable = ENVIRONMENT + "__".join(str(part) for part in place).upper()
        if variable in os.environ:
            yield Mistake(0, f"The environment variable {variable} overrides the file. {sentence}")
        else:
            yield source.mistake(place, sentence)


def unread_variable(error: SettingsError) -> Mistake:
    """Return the mistake of an environment variable that is to be a list or a table, and is no JSON."""
    said = re.search(r'field "(\w+)"', str(error))
    variable = f"{ENVIRONMENT}{said[1].upper()}" if said else f"beginning with {ENVIRONMENT}"
    return Mistake(
        0,
        f"The environment variable {variable} overrides the file, and is no JSON. Give a list or a table as JSON.",
    )


def in_file(location: Place) -> Place:
    """Return the place in the file of one in the models: without the names of a union's kinds."""
    place: Place = ()
    model: Any = BeamlineSettings
    for part in location:
        inner = _inside(model, part)
        if inner is None:
            break
        place, model = (*place, part), inner
    return place


def _sentence(place: Place, error: Mapping[str, Any]) -> str:
    where, kind = dotted(place), error["type"]
    if kind == "extra_forbidden":
        known = _keys(place[:-1])
        near = get_close_matches(str(place[-1]), known, 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        return f"{where} is unknown; there {'is' if len(known) == 1 else 'are'} {', '.join(known)}.{meant}"
    if kind == "missing":
        return f"{where} is missing. Add it to [{dotted(place[:-1])}]."
    said = str(error["msg"])
    if kind == "value_error":
        said = said.removeprefix("Value error, ")
        said = said.partition(": ")[2] or said
        return f"{where}: {said}"
    given = repr(error["input"])
    shown = given if len(given) <= _LONGEST else f"{given[:_LONGEST]}…"
    return f"{where}: {shown} was given. {said.replace('Input', 'It')}; give that."


def _keys(place: Place) -> list[str]:
    model: Any = BeamlineSettings
    for part in place:
        model = _inside(model, part)
    return [field.alias or name for name, field in _model(model).model_fields.items()]


def _inside(annotation: Any, part: str | int) -> Any:
    """Return what a model, dictionary or list has at a part of a place; None if there is nothing like it."""
    annotation = _plain(annotation)
    if get_origin(annotation) is dict:
        return get_args(annotation)[1] if isinstance(part, str) else None
    if get_origin(annotation) is list:
        return get_args(annotation)[0] if isinstance(part, int) else None
    if annotation is Any:
        return Any
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return None
    for name, field in annotation.model_fields.items():
        if part in (name, field.alias):
            return field.annotation
    return str if isinstance(part, str) else None  # unknown, which is what is to be said


def _plain(annotation: Any) -> Any:
    """Return what a union or an annotated type is about: its table, or its list."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [_plain(one) for one in get_args(annotation)]
        tables = [one for one in kinds if _is_table(one)]
        return tables[0] if tables else kinds[0]
    return annotation


def _is_table(annotation: Any) -> bool:
    return get_origin(annotation) in (dict, list) or (
        isinstance(annotation, type) and issubclass(annotation, BaseModel)
    )


def _model(annotation: Any) -> type[BaseModel]:
    plain = _plain(annotation)
    assert issubclass(plain, BaseModel)
    model: type[BaseModel] = plain
    return model


def without(data: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return data without what stands at a place, so that the rest can be looked at."""
    copied = {key: _copied(value) for key, value in data.items()}
    inner: Any = copied
    for part in place[:-1]:
        try:
            inner = inner[part]
        except (KeyError, IndexError, TypeError):
            return copied
    if isinstance(inner, dict) and place[-1] in inner:
        del inner[place[-1]]
        return copied
    return without(copied, place[:-1]) if len(place) > 1 else copied


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
