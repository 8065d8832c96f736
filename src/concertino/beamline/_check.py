"""Whether what a file says belongs together: classes, arguments, names of devices, roles and defaults."""

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from concertino import ConcertinoError, ParameterError
from concertino.plans import check_parameter
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import name_expression

from ._arguments import Takes, references, resolved
from ._classes import among, find_class, imported, lacks_part
from ._metadata import metadata_model
from ._mistakes import Mistake, Place, dotted
from ._roles import LISTS, PLANS, PROMPT, ROLES, device_parameters, other_parameters
from ._settings import BeamlineSettings, DeviceEntry, Made
from ._source_file import SourceFile

_SECRET = re.compile(r"passw|secret|token|credential|api_?key|private_?key", re.IGNORECASE)
_IN_URL = re.compile(r"\w://[^/\s:@]+:[^/\s@]+@")
#: Where names without dots are looked for.
_PACKAGES = {"suspenders": "bluesky.suspenders", "callbacks": "concertino.callbacks"}


class Check:
    """Looks at a file whose tables have the right form.

    Parameters
    ----------
    source : SourceFile
        For the lines.
    settings : BeamlineSettings
        What it says.
    names : iterable of str
        Names that are devices, though something is wrong with them.
    """

    def __init__(
        self, source: SourceFile, settings: BeamlineSettings, names: Iterable[str]
    ) -> None:
        self._source, self._settings = source, settings
        self._names = list(dict.fromkeys([*names, *device_names(settings)]))
        # Modules of others make devices whose names nobody knows before they are imported.
        self._open = bool(settings.device_modules)

    def mistakes(self) -> Iterator[Mistake]:
        """Yield all that is wrong."""
        yield from self._secrets(self._source.data, ())
        for name, entry in self._settings.devices.items():
            yield from self._device(name, entry)
        yield from self._circles()
        yield from self._same_names()
        yield from self._roles()
        listed = {"baseline": self._settings.baseline, "monitored": self._settings.monitored}
        for section, names in listed.items():
            for index, name in enumerate(names):
                yield from self._known(name, (section, index))
        for index, suspender in enumerate(self._settings.suspenders):
            yield from self._known(suspender.signal, ("suspenders", index, "signal"))
            yield from self._made(suspender, ("suspenders", index), "suspenders", 1)
        yield from self._callbacks()
        yield from self._defaults()
        yield from self._files()
        yield from self._metadata()

    def _say(self, place: Place, sentence: str) -> Mistake:
        return self._source.mistake(place, f"{dotted(place)}: {sentence}")

    def _secrets(self, value: Any, place: Place) -> Iterator[Mistake]:
        if isinstance(value, str):
            key = next((str(part) for part in reversed(place) if isinstance(part, str)), "")
            if key == "environment":
                return
            if (_SECRET.search(key) and value) or _IN_URL.search(value):
                yield self._say(
                    place,
                    "a secret stands in the file, which others read. Put it into an environment variable, and write "
                    "{environment = 'ITS_NAME'} here.",
                )
            return
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from self._secrets(inner, (*place, str(key)))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                yield from self._secrets(inner, (*place, index))

    def _device(self, name: str, entry: DeviceEntry) -> Iterator[Mistake]:
        place: Place = ("devices", name)
        if not name.isidentifier() or keyword.iskeyword(name):
            yield self._say(
                place,
                f"{name!r} is no name that can be typed at a prompt. Give one of letters, digits and underscores.",
            )
        for index, each in enumerate([name, *entry.parts]):
            if each in (*PLANS, *PROMPT):
                yield self._say(
                    (*place, "parts", index - 1) if index else place,
                    f"{each!r} is something else at the prompt and in plans. Give the device another name.",
                )
        if bool(entry.class_) == bool(entry.happi):
            both = "both class and happi were" if entry.class_ else "neither class nor happi was"
            yield self._say(place, f"{both} given. Give one of them, which says what makes it.")
        elif entry.happi and self._settings.happi is None:
            yield self._say(
                (*place, "happi"),
                "no happi database is named. Add [happi] with database = 'FILE'.",
            )
        yield from self._made(entry, place, "devices", len(entry.positional), entry.parts)

    def _made(
        self, made: Made, place: Place, section: str, positional: int, parts: Iterable[str] = ()
    ) -> Iterator[Mistake]:
        """Look at a class and its arguments."""
        arguments = (*place, "arguments")
        values: dict[str, Any] = {"arguments": made.arguments}
        if isinstance(made, DeviceEntry):
            values["positional"] = made.positional
        for inner, name in references(values, place):
            yield from self._known(name, inner)
        if not made.class_:
            if section != "devices":
                yield self._say(place, "class is missing. Give the name of a class.")
            return
        try:
            maker = find_class(made.class_, _PACKAGES.get(section, "concertino.devices"))
        except ParameterError as error:
            yield self._say((*place, "class"), str(error))
            return
        takes = Takes(maker)
        for key, value in made.arguments.items():
            if not takes.takes(key):
                yield self._say(
                    (*arguments, key),
                    f"{made.class_} has no argument {key!r}; there are {among(takes.names, key)}",
                )
                continue
            try:
                takes.value(key, resolved(value, lambda name: _Unmade(name)))
            except ParameterError as error:
                yield self._say((*arguments, key), str(error).removeprefix(f"{key}: "))
        given = {*made.arguments, "name"}
        missing = takes.missing(positional, dict.fromkeys(given))
        if missing:
            yield self._say(
                place,
                f"{made.class_} needs {', '.join(missing)}. Add {'it' if len(missing) == 1 else 'them'} to its arguments.",
            )
        for index, part in enumerate(parts):
            if lacks_part(maker, part):
                yield self._say(
                    (*place, "parts", index),
                    f"{made.class_} has no {part!r}. Give names of its attributes that are devices.",
                )

    def _known(self, name: str, place: Place) -> Iterator[Mistake]:
        first = name.partition(".")[0]
        if self._open or first in self._names:
            return
        yield self._say(
            place, f"there is no device {name!r}; there are {among(self._names, first)}"
        )

    def _circles(self) -> Iterator[Mistake]:
        try:
            order(self._settings)
        except CycleError as error:
            circle = [str(name) for name in error.args[1]]
            yield self._say(
                ("devices", circle[0]),
                f"each of these devices needs another one first: {' → '.join(circle)}. Make one without the other.",
            )

    def _same_names(self) -> Iterator[Mistake]:
        owner: dict[str, str] = {}
        for name, entry in self._settings.devices.items():
            for index, part in enumerate(entry.parts):
                other = owner.get(part, part if part in self._settings.devices else "")
                if other:
                    yield self._say(
                        ("devices", name, "parts", index),
                        f"{part!r} is the name of another device, too. Rename that one, or leave this part out.",
                    )
                owner[part] = name

    def _roles(self) -> Iterator[Mistake]:
        for role, names in self._settings.roles.items():
            place: Place = ("roles", role)
            if role not in ROLES:
                yield self._say(place, f"no plan knows this part; there are {among(ROLES, role)}")
            for name in names:
                yield from self._known(name, place)
            if not names or len(set(names)) < len(names):
                yield self._say(place, f"{names!r} was given. Give a device, and each only once.")
            elif len(names) != 1 and role != "camera":
                yield self._say(
                    place,
                    f"{len(names)} devices were given. Give one; only cameras can be several.",
                )

    def _callbacks(self) -> Iterator[Mistake]:
        callbacks = self._settings.callbacks
        for index, alarm in enumerate(callbacks.alarms):
            yield from self._made(alarm, ("callbacks", "alarms", index), "callbacks", 0)
        for index, other in enumerate(callbacks.others):
            yield from self._made(other, ("callbacks", "others", index), "callbacks", 0)
        place: Place = ("callbacks", "reconstruction", "settings")
        try:
            ReconstructionSettings(**callbacks.reconstruction.settings)
        except ConcertinoError as error:
            said = str(error).removeprefix("ReconstructionSettings: ").rstrip(".")
            key, _, why = said.partition(": ")
            if key in callbacks.reconstruction.settings:
                place, said = (*place, key), why
            yield self._say(place, f"{said}. Give another value, or leave it out.")

    def _defaults(self) -> Iterator[Mistake]:
        for key, value in self._settings.defaults.items():
            place: Place = ("defaults", key)
            if key in PLANS:
                if isinstance(value, Mapping):
                    for name, inner in value.items():
                        yield from self._default(name, inner, (*place, name), {key: PLANS[key]})
                else:
                    yield self._say(
                        place, f"{value!r} was given. Give a table of the plan's parameters."
                    )
            elif isinstance(value, Mapping) and not any(
                key in other_parameters(plan) for plan in PLANS.values()
            ):
                yield self._say(place, f"no plan has this name; there are {among(PLANS, key)}")
            else:
                yield from self._default(key, value, place, PLANS)

    def _default(
        self, name: str, value: Any, place: Place, plans: Mapping[str, Any]
    ) -> Iterator[Mistake]:
        takers = [plan for plan in plans.values() if name in other_parameters(plan)]
        whose = f"the plan {next(iter(plans))}" if len(plans) == 1 else "any plan"
        if any(name in device_parameters(plan) for plan in plans.values()) and not takers:
            yield self._say(place, "this is a device. Name it in [roles] instead.")
        elif not takers:
            known = sorted({each for plan in plans.values() for each in other_parameters(plan)})
            yield self._say(
                place, f"this is no parameter of {whose}; there are {among(known, name)}"
            )
        named = list(references(value, place))
        for inner, device in named:
            yield from self._known(device, inner)
        if not named:
            yield from self._value(name, value, place, takers)
        if name in LISTS:
            for index, device in enumerate(value if isinstance(value, list) else [value]):
                yield from self._known(str(device), (*place, index))

    def _value(
        self, name: str, value: Any, place: Place, takers: Iterable[Callable[..., Any]]
    ) -> Iterator[Mistake]:
        for plan in takers:
            try:
                check_parameter(plan, name, value)
            except ParameterError as error:
                yield self._say(place, str(error).removeprefix(f"{name}: "))
                return

    def _files(self) -> Iterator[Mistake]:
        settings = self._settings
        try:
            name_expression(settings.data.pattern)
        except ParameterError as error:
            yield self._say(("data", "pattern"), str(error).removeprefix("pattern: "))
        if settings.happi is not None:
            yield from self._file(settings.happi.database, ("happi", "database"))
        for index, module in enumerate(settings.device_modules):
            try:
                imported(module)
            except ParameterError as error:
                yield self._say(("device_modules", index), str(error))

    def _file(self, file: Path, place: Place) -> Iterator[Mistake]:
        if not (self._source.path.parent / file).is_file():
            yield self._say(
                place, f"{self._source.path.parent / file} is no file. Give the name of one."
            )

    def _metadata(self) -> Iterator[Mistake]:
        name = self._settings.metadata_model
        if not name:
            return
        try:
            model = metadata_model(name)
        except ParameterError as error:
            yield self._say(("metadata_model",), str(error))
            return
        try:
            model.model_validate(dict(self._settings.metadata))
        except ValidationError as error:
            for one in error.errors():
                if one["type"] == "missing":
                    continue  # It can be given with a run.
                said = f"{name} says: {one['msg']}. Give what it wants."
                yield self._say(("metadata", *one["loc"]), said)


class _Unmade:
    """Stands for a device before it is made."""

    def __init__(self, name: str) -> None:
        self.name = name


def device_names(settings: BeamlineSettings) -> list[str]:
    """Return the names of the devices, parts of others among them."""
    parts = [part for entry in settings.devices.values() for part in entry.parts]
    return [*settings.devices, *parts]


def order(settings: BeamlineSettings) -> list[str]:
    """Return the devices so that each comes after those that it is made of.

    Raises
    ------
    graphlib.CycleError
        If there is no such order.
    """
    return [name for level in levels(settings) for name in level]


def levels(settings: BeamlineSettings) -> list[list[str]]:
    """Return the devices that can be made at the same time, level after level."""
    whose = {part: name for name, entry in settings.devices.items() for part in entry.parts}
    graph: TopologicalSorter[str] = TopologicalSorter()
    for name, entry in settings.devices.items():
        used = [
            first
            for _, reference in references(
                {"arguments": entry.arguments, "positional": entry.positional}
            )
            if (first := whose.get(reference.partition(".")[0], reference.partition(".")[0]))
            in settings.devices
        ]
        graph.add(name, *used)
    graph.prepare()
    found: list[list[str]] = []
    while graph.is_active():
        ready = sorted(graph.get_ready(), key=list(settings.devices).index)
        found.append(ready)
        graph.done(*ready)
    return found
