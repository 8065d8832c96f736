"""A file in TOML or YAML, and the line of each of its keys."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from concertino import StorageError

from ._mistakes import BeamlineFileError, Mistake, Place, dotted

_YAML = (".yaml", ".yml")
_TOML_LINE = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")


@dataclass(frozen=True)
class SourceFile:
    """What a file says, and where.

    Attributes
    ----------
    path : Path
        The file.
    data : dict
        What it says.
    lines : dict of tuple to int
        The line of each key, counted from 1.
    mistakes : tuple of Mistake
        Found while it was read, though it can be read.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int] = field(repr=False)
    mistakes: tuple[Mistake, ...] = ()

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest thing around it that has one; 0 for the file."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.lines:
                return self.lines[place[:length]]
        return 0

    def mistake(self, place: Place, sentence: str) -> Mistake:
        """Return what is wrong at a place."""
        return Mistake(self.line(place), sentence)


def read_source(path: Path) -> SourceFile:
    """Read a file, by its ending as TOML or as YAML.

    Raises
    ------
    StorageError
        If it is not there.
    BeamlineFileError
        If it is no TOML, or no YAML.
    """
    if path.is_dir():
        raise StorageError(
            f"{path} was to describe a beamline, and is a directory. Give the file in it, such as {path / 'beamline.toml'}."
        )
    if not path.is_file():
        raise StorageError(
            f"{path} was to describe a beamline, and is no file. Give another name, or write one with: concertino "
            "init"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark before it
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise BeamlineFileError(
            path, [Mistake(line, "This is no UTF-8. Save the file as UTF-8 text.")]
        ) from error
    return (_read_yaml if path.suffix.lower() in _YAML else _read_toml)(path, text)


def _read_toml(path: Path, text: str) -> SourceFile:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_LINE.search(str(error))
        line = int(found[1]) if found and found[1] else text.count("\n") + 1
        said = _TOML_LINE.sub("", str(error)).strip()
        raise BeamlineFileError(
            path,
            [
                Mistake(
                    line,
                    f"This is no TOML: {said}. Mend it; text stands in quotes, lists in square brackets.",
                )
            ],
        ) from error
    return SourceFile(path, data, _toml_lines(text))


def _toml_lines(text: str) -> dict[Place, int]:
    """Return the line of each key of what is known to be TOML.

    Each header and each value is parsed by itself: a value that goes over several lines is complete when it can be.
    """
    found: dict[Place, int] = {}
    table: Place = ()
    counts: dict[Place, int] = {}
    chunk, begin = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not chunk and (not stripped or stripped.startswith("#")):
            continue
        chunk, begin = (f"{chunk}\n{line}", begin) if chunk else (line, number)
        try:
            part = tomllib.loads(chunk)
        except tomllib.TOMLDecodeError:
            for place in _elements(chunk):
                _note(found, table, begin)
                _note(found, (*table, *place[:-1]), begin)
                _note(found, (*table, *place), number)
            continue
        if stripped.startswith("[") and "\n" not in chunk:
            table = _header(part, stripped.startswith("[["), counts)
            _note(found, table, begin)
        else:
            for place in _places(part):
                _note(found, (*table, *place), begin)
        chunk = ""
    return found


def _elements(chunk: str) -> Iterator[Place]:
    """Yield the places of the elements, as far as they are there, of a list that goes on in the next line."""
    try:
        value: Any = tomllib.loads(f"{chunk}\n]")
    except tomllib.TOMLDecodeError:
        return
    place: Place = ()
    while isinstance(value, dict) and value:
        key, value = next(iter(value.items()))
        place = (*place, key)
    if isinstance(value, list):
        yield from ((*place, index) for index in range(len(value)))


def _header(part: Any, is_list: bool, counts: dict[Place, int]) -> Place:
    """Return which table a header opens; of a list of tables the next one."""
    place: Place = ()
    while isinstance(part, dict) and part:
        key, part = next(iter(part.items()))
        place = (*place, key)
        known = counts.get(place)
        if is_list and isinstance(part, list):
            counts[place] = 0 if known is None else known + 1
            return (*place, counts[place])
        if known is not None:
            place = (*place, known)
    return place


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from _places(inner, (*place, key))


def _note(found: dict[Place, int], place: Place, line: int) -> None:
    for length in range(1, len(place) + 1):
        found.setdefault(place[:length], line)


def _read_yaml(path: Path, text: str) -> SourceFile:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        said = error.problem if isinstance(error, yaml.MarkedYAMLError) else str(error)
        raise BeamlineFileError(
            path,
            [
                Mistake(
                    mark.line + 1 if mark else 0,
                    f"This is no YAML: {said}. Mend it; what belongs together is indented alike.",
                )
            ],
        ) from error
    if data is None:
        return SourceFile(path, {}, {})
    if not isinstance(data, dict):
        raise BeamlineFileError(
            path,
            [Mistake(1, "This is no table. Write keys with values, such as 'data:' and below it 'directory: data'.")],
        )  # fmt: skip
    lines: dict[Place, int] = {}
    mistakes = tuple(_yaml_lines(node, (), lines))
    return SourceFile(path, _with_text_keys(data), lines, mistakes)


def _yaml_lines(node: Any, place: Place, lines: dict[Place, int]) -> Iterator[Mistake]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            line = key.start_mark.line + 1
            if inner in lines:
                yield Mistake(
                    line,
                    f"{dotted(inner)} stands here and in line {lines[inner]}. Remove one of them.",
                )
            lines[inner] = line
            yield from _yaml_lines(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*place, index)] = value.start_mark.line + 1
            yield from _yaml_lines(value, (*place, index), lines)


def _with_text_keys(value: Any) -> Any:
    """Return the same with keys as in TOML: YAML takes ``on`` for true, as a key too."""
    if isinstance(value, dict):
        words = {True: "on", False: "off"}
        return {
            words[key] if isinstance(key, bool) else str(key): _with_text_keys(inner)
            for key, inner in value.items()
        }
    return [_with_text_keys(inner) for inner in value] if isinstance(value, list) else value
