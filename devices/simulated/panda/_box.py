"""The fields of a simulated PandA, and what its blocks do with them as time goes on."""

import time
from collections.abc import Callable, Mapping

import numpy as np

from ._blocks import TICK_S, CountsAt, PositionCompare, Sequencer, rows

_UNITS = {"min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_INT = (-(2**31), 2**31 - 1)
_UINT = (0, 2**32 - 1)
_LONGEST_TABLE = 4096 * 4  # words
_DIRECTIONS = ("Positive", "Negative", "Either")
_CAPTURE = ("No", "Value")
#: What each field may be: bounds, words, or that it selects a bit or a position.
_FIELDS: dict[str, dict[str, tuple[int, int] | tuple[str, ...]]] = {
    "TTLOUT": {"VAL": ("bit",)},
    "PCOMP": {
        "PRE_START": _INT, "START": _INT, "WIDTH": _INT, "STEP": _INT, "PULSES": _UINT,
        "DIR": _DIRECTIONS, "RELATIVE": ("Absolute",), "ENABLE": ("ZERO", "ONE"), "INP": ("position",),
    },
    "SEQ": {
        "ENABLE": ("ZERO", "ONE"), "POSA": ("position",), "POSB": ("position",), "POSC": ("position",),
        "REPEATS": _UINT,
    },
    "PCAP": {
        "ENABLE": ("ZERO", "ONE"), "TRIG": ("bit",), "TRIG_EDGE": ("Rising", "Falling", "Either"),
    },
}  # fmt: skip
#: How many there are of each.
BLOCKS = {"TTLOUT": 10, "INENC": 4, "PCOMP": 2, "SEQ": 2, "PCAP": 1}
_BITS = (
    "ZERO", "ONE", *(f"PCOMP{number}.OUT" for number in (1, 2)),
    *(f"SEQ{number}.OUT{letter}" for number in (1, 2) for letter in "ABCDEF"),
)  # fmt: skip


class BadCommandError(ValueError):
    """What a PandA answers after ERR."""


class PandaBoxState:
    """Fields and blocks of a box, used by one thread.

    Parameters
    ----------
    encoders : mapping of str to callable
        Counts at a time in s since the epoch, by position output.
    pulse : callable
        Takes the time of each pulse at the output TTLOUT1 in s since the epoch.
    """

    def __init__(self, encoders: Mapping[str, CountsAt], pulse: Callable[[float], None]) -> None:
        self.capturing = False
        self.captured = 0
        self.completion = "Ok"
        self.on_arm: Callable[[list[str]], None] = lambda names: None
        self.on_sample: Callable[[bytes], None] = lambda row: None
        self.on_end: Callable[[int, str], None] = lambda samples, why: None
        self._encoders, self._pulse = encoders, pulse
        self._values = {
            f"{name}.{field}": _first(choice)
            for block, fields in _FIELDS.items()
            for name in _names(block)
            for field, choice in fields.items()
        }
        self._values |= {f"{name}.VAL.CAPTURE": "No" for name in _names("INENC")}
        self._values |= {f"{name}.PRESCALE.UNITS": "s" for name in _names("SEQ")}
        self._prescale_s = dict.fromkeys(_names("SEQ"), 0.0)
        self._tables: dict[str, list[int]] = {f"{name}.TABLE": [] for name in _names("SEQ")}
        self._compares: dict[str, PositionCompare] = {}
        self._sequencers: dict[str, Sequencer] = {}
        self._outputs = dict.fromkeys(_names("SEQ"), 0)
        self._fields: list[str] = []

    def get(self, name: str) -> str | list[str]:
        """Return a field's value, or the words of a table."""
        self.advance(time.time())
        block, _, field = name.partition(".")
        if name in self._values:
            return self._values[name]
        if name in self._tables:
            return [str(word) for word in self._tables[name]]
        if block in _names("INENC") and field == "VAL":
            return str(self._counts(name)(time.time()))
        if block in self._prescale_s and field == "PRESCALE":
            return f"{self._prescale_s[block] / self._unit(block):.10g}"
        if field == "ACTIVE" and block == "PCAP":
            return str(int(self.capturing))
        made = self._compares.get(block) or self._sequencers.get(block)
        if field == "ACTIVE" and block.rstrip("12") in ("PCOMP", "SEQ"):
            return str(int(made is not None and made.active))
        if block in _names("PCOMP") and field in ("PRODUCED", "STATE"):
            compare = self._compares.get(block)
            if field == "PRODUCED":
                return "0" if compare is None else str(compare.produced)
            return "WAIT_ENABLE" if compare is None else compare.state
        raise BadCommandError("No such field")

    def put(self, name: str, value: str) -> None:
        """Set a field."""
        self.advance(time.time())
        block, _, field = name.partition(".")
        if block in self._prescale_s and field == "PRESCALE":
            self._prescale_s[block] = float(value) * self._unit(block)
            return
        if name not in self._values:
            raise BadCommandError("No such field")
        self._check(name, value)
        if name == "PCAP.TRIG" and self.capturing:
            raise BadCommandError("Cannot change while capturing")
        before, self._values[name] = self._values[name], value
        if field == "ENABLE" and value != before:
            self._enable(block, value == "ONE")

    def put_table(self, name: str, words: list[int], append: bool) -> None:
        """Write a sequencer's table."""
        if name not in self._tables:
            raise BadCommandError("No such field")
        whole = [*self._tables[name], *words] if append else words
        if len(whole) > _LONGEST_TABLE:
            raise BadCommandError("Too many table entries")
        if len(whole) % 4:
            raise BadCommandError("Invalid table length")
        if any(1 <= row.trigger <= 6 or row.trigger > 12 for row in rows(whole)):
            raise BadCommandError("This simulated PandA has no bits as triggers")
        self._tables[name] = whole

    def arm(self) -> None:
        """Begin to capture."""
        names = [
            f"{name}.VAL" for name in _names("INENC") if self._values[f"{name}.VAL.CAPTURE"] != "No"
        ]
        if self.capturing:
            raise BadCommandError("Capture already in progress")
        if not names:
            raise BadCommandError("No fields configured for capture")
        self.capturing, self.captured, self.completion, self._fields = True, 0, "Busy", names
        self.on_arm(names)

    def disarm(self, why: str = "Disarmed") -> None:
        """Capture no more."""
        self.advance(time.time())
        if self.capturing:
            self.capturing, self.completion = False, why
            self.on_end(self.captured, why)

    def advance(self, now_s: float) -> None:
        """Let the blocks do what was due until a time."""
        edges: list[tuple[float, str, bool]] = []
        for block, compare in self._compares.items():
            counts = self._counts(self._values[f"{block}.INP"])
            edges += [(at_s, f"{block}.OUT", up) for at_s, up in compare.run(now_s, counts)]
        for block, sequencer in self._sequencers.items():
            inputs = [self._counts(self._values[f"{block}.POS{letter}"]) for letter in "ABC"]
            for at_s, outputs in sequencer.run(now_s, inputs):
                changed, self._outputs[block] = outputs ^ self._outputs[block], outputs
                edges += [
                    (at_s, f"{block}.OUT{letter}", bool(outputs >> bit & 1))
                    for bit, letter in enumerate("ABCDEF")
                    if changed >> bit & 1
                ]
        for at_s, bit, up in sorted(edges):
            self._edge(at_s, bit, up)

    def _edge(self, at_s: float, bit: str, up: bool) -> None:
        edge = self._values["PCAP.TRIG_EDGE"]
        wanted = edge == "Either" or up == (edge == "Rising")
        on = self.capturing and self._values["PCAP.ENABLE"] == "ONE"
        if on and wanted and self._values["PCAP.TRIG"] == bit:
            self.captured += 1
            row = [self._counts(name)(at_s) for name in self._fields]
            self.on_sample(np.array(row, "<i4").tobytes())
        if up and self._values["TTLOUT1.VAL"] == bit:
            self._pulse(at_s)

    def _enable(self, block: str, on: bool) -> None:
        if block == "PCAP":
            if not on:
                self.disarm("Ok")
            return
        now_s = time.time()
        if block in _names("PCOMP"):
            self._compares.pop(block, None)
            if on:
                ask = ("START", "STEP", "WIDTH", "PULSES", "PRE_START")
                numbers = [int(self._values[f"{block}.{field}"]) for field in ask]
                start, step, width, pulses, before = numbers
                direction = self._values[f"{block}.DIR"]
                self._compares[block] = PositionCompare(
                    start, step, width, pulses, before, direction, now_s
                )
            return
        self._sequencers.pop(block, None)
        self._outputs[block] = 0
        if on:
            table, tick_s = rows(self._tables[f"{block}.TABLE"]), self._prescale_s[block] or TICK_S
            repeats = int(self._values[f"{block}.REPEATS"])
            self._sequencers[block] = Sequencer(table, repeats, tick_s, now_s)

    def _check(self, name: str, value: str) -> None:
        block, _, field = name.partition(".")
        if field == "VAL.CAPTURE":
            choice: tuple[int, int] | tuple[str, ...] = _CAPTURE
        elif field == "PRESCALE.UNITS":
            choice = tuple(_UNITS)
        else:
            choice = _FIELDS[block.rstrip("0123456789")][field]
        if choice in (_INT, _UINT):
            if not (value.lstrip("-").isdigit() and choice[0] <= int(value) <= choice[1]):
                raise BadCommandError("Number out of range")
            return
        if choice == ("bit",):
            choice = _BITS
        elif choice == ("position",):
            choice = ("ZERO", *(f"{one}.VAL" for one in _names("INENC")))
        if value not in choice:
            raise BadCommandError("Label not found")

    def _counts(self, name: str) -> CountsAt:
        return self._encoders.get(name, lambda at_s: 0)

    def _unit(self, block: str) -> float:
        return _UNITS[self._values[f"{block}.PRESCALE.UNITS"]]


def _names(block: str) -> list[str]:
    number = BLOCKS[block]
    return [block] if number == 1 else [f"{block}{one}" for one in range(1, number + 1)]


def _first(choice: tuple[int, int] | tuple[str, ...]) -> str:
    return choice[0] if isinstance(choice[0], str) and choice[0] not in ("bit", "position") else (
        "0" if isinstance(choice[0], int) else "ZERO"
    )  # fmt: skip
