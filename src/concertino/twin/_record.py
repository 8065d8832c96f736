"""One record: a value with what a control system tells about it, whatever protocol it is served by."""

import time
from collections.abc import Awaitable, Callable, Iterator

from concertino import DeviceError, ParameterError

Value = float | int | str
Put = Callable[[Value], Awaitable[None]]
Listener = Callable[["Record"], Awaitable[None]]


class Record:
    """A value that clients read, and write if it has a `put`.

    Parameters
    ----------
    name : str
        Without the prefix, such as ``"rotation.VELO"``.
    value : float, int or str
        Its type is that of the record; of an enumeration the number of the choice.
    unit : str
        Of a number.
    limits : (float, float), optional
        Lowest and highest value to which it can be set.
    precision : int
        Digits of a float after the point.
    choices : sequence of str
        Words of an enumeration.
    long : bool
        Whether it is a text that may have more than 39 characters.
    put : callable, optional
        What a client's put does; returns when it is done, and has the record `set` itself. Without it the record can only
        be read.
    """

    def __init__(
        self,
        name: str,
        value: Value,
        *,
        unit: str = "",
        limits: tuple[float, float] | None = None,
        precision: int = 4,
        choices: tuple[str, ...] = (),
        long: bool = False,
        put: Put | None = None,
    ) -> None:
        self.name, self.value, self.unit, self.limits = name, value, unit, limits
        self.precision, self.choices, self.long = precision, choices, long
        self.time_s = time.time()
        self._put = put
        self._listeners: list[Listener] = []

    @property
    def settable(self) -> bool:
        """Whether clients may write it."""
        return self._put is not None

    @property
    def number(self) -> float:
        """Its value, which is a number."""
        return float(self.value)

    @property
    def word(self) -> str:
        """The word of an enumeration that holds."""
        return self.choices[int(self.value)]

    def listen(self, listener: Listener) -> None:
        """Call something after each change."""
        self._listeners.append(listener)

    async def set(self, value: Value, time_s: float | None = None) -> None:
        """Change the value, as of a time in s since the epoch; that is now by default."""
        self.value, self.time_s = value, time.time() if time_s is None else time_s
        for listener in self._listeners:
            await listener(self)

    async def put(self, value: Value) -> None:
        """Do what a client asks; returns when it is done.

        Raises
        ------
        DeviceError
            If the record can only be read.
        ParameterError
            If the value is no number, or no word of the enumeration.
        """
        if self._put is None:
            raise DeviceError(
                f"Record {self.name} was set to {value!r}, and can only be read. Set the record that it tells about."
            )
        await self._put(self._typed(value))

    def _typed(self, value: Value) -> Value:
        if self.choices:
            if isinstance(value, str) and value in self.choices:
                return self.choices.index(value)
            if not isinstance(value, str) and 0 <= int(value) < len(self.choices):
                return int(value)
            raise ParameterError(
                f"Record {self.name} was set to {value!r}; give one of {', '.join(self.choices)}, or its number."
            )
        try:
            return type(self.value)(value)
        except ValueError as error:
            raise ParameterError(
                f"Record {self.name} was set to {value!r}; give a number."
            ) from error


def plain(name: str, value: Value, **told: object) -> Record:
    """Return a record that holds what it is set to; `told` as for `Record`."""
    record: Record

    async def put(given: Value) -> None:
        await record.set(given)

    record = Record(name, value, put=put, **told)  # type: ignore[arg-type]
    return record


def echoed(
    name: str, value: Value, choices: tuple[str, ...] = (), *, long: bool = False
) -> Iterator[Record]:
    """Yield a setting, and its read-back, which follows at once."""
    setting = plain(name, value, choices=choices, long=long)
    back = Record(f"{name}_RBV", value, choices=choices, long=long)

    async def follow(changed: Record) -> None:
        await back.set(changed.value)

    setting.listen(follow)
    yield from (setting, back)
