"""Documents are checked against event-model's schemas and against our own conventions."""

from collections.abc import Iterable, Mapping
from typing import Any

from concertino._errors import DocumentError

from ._streams import frames_key
from ._tomo import TomoBlock


def validate(name: str, doc: Mapping[str, Any]) -> None:
    """Check one document.

    Parameters
    ----------
    name : str
        The kind of the document: ``"start"``, ``"descriptor"``, ...
    doc : mapping
        The document.

    Raises
    ------
    DocumentError
        If it breaks event-model's schema of that kind, or a convention of Concertino: a ``tomo``
        block that cannot be read, frames without shape or dtype, a resource whose frames do not
        follow one another, a datum without frames.

    Examples
    --------
    >>> from concertino.documents import validate
    >>> validate("stop", {"uid": "b", "time": 0.0, "run_start": "a", "exit_status": "success"})
    """
    import event_model
    from jsonschema import ValidationError

    try:
        validator = event_model.schema_validators[event_model.DocumentNames[name]]
    except KeyError:
        raise DocumentError(
            f"{name!r} is no kind of document. The kinds are start, descriptor, event, event_page, "
            "stream_resource, stream_datum, resource, datum, datum_page, stop."
        ) from None
    where = f"The {name} document {str(doc.get('uid', '?'))[:8]}"
    try:
        validator.validate(doc)
    except ValidationError as error:
        at = error.json_path.removeprefix("$").removeprefix(".")
        raise DocumentError(
            f"{where} breaks event-model's schema{f' at {at}' if at else ''}: {error.message}"
        ) from error
    if name == "start" and "tomo" in doc:
        TomoBlock.from_start(doc)
    elif name == "descriptor":
        _check_descriptor(where, doc)
    elif name == "stream_resource":
        _check_stream_resource(where, doc)
    elif name == "stream_datum":
        _check_stream_datum(where, doc)


def validate_run(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Check all documents of one run, each by itself and together.

    Parameters
    ----------
    documents : iterable of (name, document)
        In the order in which they were emitted.

    Raises
    ------
    DocumentError
        If a document is wrong, comes before what it refers to or after the stop, or the frames of a
        resource have a gap or an overlap.
    """
    known: set[str] = set()
    described: dict[str, int] = {}
    last = ""
    for name, doc in documents:
        validate(name, doc)
        where = f"The {name} document {str(doc.get('uid', '?'))[:8]}"
        if (name == "start") == bool(last):
            raise DocumentError(f"{where} is out of order: a run begins with its one start.")
        if last == "stop":
            raise DocumentError(f"{where} comes after the run's stop.")
        for reference in ("run_start", "descriptor", "stream_resource"):
            if reference in doc and doc[reference] not in known:
                raise DocumentError(
                    f"{where} refers to the {reference} {doc[reference]!r}, which did not come "
                    "before it."
                )
        if name == "stream_datum":
            _check_contiguous(where, doc, described)
        known.add(str(doc.get("uid", "")))
        last = name
    if last != "stop":
        raise DocumentError(f"The run has no stop document: its last is {last or 'none at all'!r}.")


def _check_descriptor(where: str, doc: Mapping[str, Any]) -> None:
    for key, data_key in doc["data_keys"].items():
        data = doc.get("configuration", {}).get(key, {}).get("data", {})
        if frames_key(key) not in data:
            continue
        address, shape = data[frames_key(key)], list(data_key.get("shape", []))
        if len(shape) != 3 or "dtype_numpy" not in data_key:
            raise DocumentError(
                f"{where} describes the frames {key!r} with shape {shape} and dtype_numpy "
                f"{data_key.get('dtype_numpy')!r}. Give (frames, height, width) and a dtype."
            )
        if not isinstance(address, str):
            raise DocumentError(
                f"{where} has {address!r} as {frames_key(key)!r} in the configuration of {key!r}. "
                "Give the frame stream's address, or '' for none."
            )


def _check_stream_resource(where: str, doc: Mapping[str, Any]) -> None:
    join_method = doc["parameters"].get("join_method", "concat")
    if join_method != "concat":
        raise DocumentError(
            f"{where} ({doc['uri']}) has join_method {join_method!r}. Set 'concat': the frames of "
            "a resource follow one another."
        )


def _check_stream_datum(where: str, doc: Mapping[str, Any]) -> None:
    start, stop = doc["indices"]["start"], doc["indices"]["stop"]
    if not 0 <= start < stop:
        raise DocumentError(f"{where} has the indices {start} to {stop}: it holds no frame.")


def _check_contiguous(where: str, doc: Mapping[str, Any], described: dict[str, int]) -> None:
    resource, indices = doc["stream_resource"], doc["indices"]
    expected = described.get(resource, 0)
    if indices["start"] != expected:
        raise DocumentError(
            f"{where} describes frames from {indices['start']} on; the next frame of its resource "
            f"is {expected}."
        )
    described[resource] = indices["stop"]
