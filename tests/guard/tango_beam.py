"""A Tango device server with a shutter: python tango_beam.py PORT JOURNAL."""

import sys

from file_beam import write  # type: ignore[import-not-found]
from tango import AttrWriteType, DevState
from tango.server import Device, attribute, command, run

PORT, JOURNAL = sys.argv[1:3]


class Shutter(Device):  # type: ignore[misc]
    def init_device(self) -> None:
        super().init_device()
        self._open = False

    @attribute(dtype=bool, access=AttrWriteType.READ_WRITE)
    def open(self) -> bool:
        return self._open

    @open.write  # type: ignore[no-redef]
    def open(self, value: bool) -> None:
        self._open = value
        write(JOURNAL, value)

    def dev_state(self) -> DevState:
        return DevState.OPEN if self._open else DevState.CLOSE

    @command
    def Open(self) -> None:  # noqa: N802
        self._open = True
        write(JOURNAL, True)

    @command
    def Close(self) -> None:  # noqa: N802
        self._open = False
        write(JOURNAL, False)


if __name__ == "__main__":
    run(
        [Shutter],
        args=[
            "Shutter", "test", "-nodb", "-dlist", "test/shutter/1",
            "-ORBendPoint", f"giop:tcp:127.0.0.1:{PORT}",
        ],
    )  # fmt: skip
