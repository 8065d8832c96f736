"""Which attributes and commands a Tango device has, and which of them play a part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ophyd_async.core import NotConnectedError

from concertino import DeviceError, ParameterError


class TangoNotConnectedError(DeviceError, NotConnectedError):
    """A Tango device cannot be connected, or is none of the kind that is wanted."""

    def __init__(self, said: str) -> None:
        NotConnectedError.__init__(self, said)
        self.args = (said,)

    def __str__(self) -> str:
        return str(self.args[0])


class TangoLostError(DeviceError):
    """A Tango device does not answer."""


@dataclass(frozen=True)
class TangoAttribute:
    """An attribute of a device.

    Attributes
    ----------
    name : str
        As the device spells it.
    datatype : type or None
        What it holds, as of ophyd-async's signals; None for what they cannot hold.
    writable : bool
        Whether it can be set.
    choices : tuple of str
        Labels of an enumeration.
    """

    name: str
    datatype: type | None
    writable: bool
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class TangoInterface:
    """What a device has.

    Attributes
    ----------
    where : str
        The device and its address, for messages.
    attributes : mapping of str to TangoAttribute
        By their names in lower case: capitals do not matter in Tango.
    commands : mapping of str to str
        Those without argument, likewise.
    """

    where: str
    attributes: Mapping[str, TangoAttribute]
    commands: Mapping[str, str]

    def attribute(
        self, keyword: str, given: str, usual: Sequence[str], kinds: tuple[type, ...]
    ) -> TangoAttribute | None:
        """Return the attribute for a part; None when there is none and none was given.

        Parameters
        ----------
        keyword : str
            The part, as the parameter is called that names it.
        given : str
            Its name, if the user gave it.
        usual : sequence of str
            Its usual names, in lower case; the first that is there is taken.
        kinds : tuple of type
            What it may hold.

        Raises
        ------
        TangoNotConnectedError
            If the one that was given is not there, or holds something else.
        """
        for name in (given.lower(),) if given else usual:
            found = self.attributes.get(name)
            if found is not None and found.datatype is not None:
                if issubclass(found.datatype, kinds):
                    return found
                if given:
                    raise TangoNotConnectedError(
                        f"{self.where} was to have its {keyword} in {found.name}, which holds {found.datatype.__name__}; "
                        f"{' or '.join(kind.__name__ for kind in kinds)} is needed. Give another attribute."
                    )
        if given:
            raise self.lacks(keyword, (given,))
        return None

    def command(self, keyword: str, given: str, usual: Sequence[str]) -> str | None:
        """Return the command for a part, likewise."""
        for name in (given.lower(),) if given else usual:
            if name in self.commands:
                return self.commands[name]
        if given:
            raise self.lacks(keyword, (given,))
        return None

    def lacks(self, keyword: str, looked_for: Sequence[str]) -> TangoNotConnectedError:
        """Return what to raise when a part is played by nothing that is there."""
        attributes = ", ".join(sorted(each.name for each in self.attributes.values())) or "none"
        commands = ", ".join(sorted(self.commands.values())) or "none"
        return TangoNotConnectedError(
            f"{self.where} has no {keyword}, looked for as {', '.join(looked_for)}; its attributes are "
            f"{attributes}, its commands without argument {commands}. Give its name: {keyword}='…'."
        )


def check_address(address: str) -> None:
    """Check that something is the address of a Tango device.

    Raises
    ------
    ParameterError
        If it is none.
    """
    path = address.partition("#")[0].partition("://")[2] or address.partition("#")[0]
    parts = path.split("/")
    if not all(parts) or len(parts) not in (3, 4) or (len(parts) == 4 and ":" not in parts[0]):
        raise ParameterError(
            f"address: {address!r} was given for a Tango device; give 'domain/family/member', "
            "'tango://host:10000/domain/family/member', or without a database "
            "'tango://host:port/domain/family/member#dbase=no'."
        )
