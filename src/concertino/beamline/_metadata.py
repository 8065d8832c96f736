"""The model that the metadata of every run must satisfy, as the file names it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ValidationError

from concertino import ParameterError
from concertino.session import SessionRunEngine

from ._classes import find_class


def metadata_model(name: str) -> type[BaseModel]:
    """Return a model of pydantic by its dotted name.

    Raises
    ------
    ParameterError
        If there is none.
    """
    model: object = find_class(name)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ParameterError(f"{name} is no model of pydantic. Give one.")
    return model


@contextmanager
def checked_metadata(engine: SessionRunEngine, name: str) -> Iterator[None]:
    """Have runs refused, before anything moves, whose metadata break a model.

    Parameters
    ----------
    engine : SessionRunEngine
        Runs them.
    name : str
        Of the model; nothing is checked without one.
    """
    if not name:
        yield
        return
    model = metadata_model(name)
    before: Callable[[Mapping[str, Any]], object] = engine.md_validator
    known = {field.alias or key for key, field in model.model_fields.items()} | {
        *model.model_fields
    }

    def check(metadata: Mapping[str, Any]) -> None:
        before(metadata)
        try:
            model.model_validate({key: metadata[key] for key in known & metadata.keys()})
        except ValidationError as error:
            raise ParameterError(_said(name, error)) from None

    engine.md_validator = check
    try:
        yield
    finally:
        engine.md_validator = before


def _said(name: str, error: ValidationError) -> str:
    wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return f"md: the metadata of a run must satisfy {name}, which says: {wrong}. Give it in RE.md, or as md of the plan."
