"""A monochromator and a lens turret of a control system, as a program: ``python optics_server.py epics|tango PORT``."""

import sys
from typing import Any

KIND, PORT = sys.argv[1:3]


def epics() -> None:
    from caproto.server import PVGroup, pvproperty, run

    class Ioc(PVGroup):  # type: ignore[misc]
        energy = pvproperty(
            value=20000.0, units="eV", precision=3, lower_ctrl_limit=4000.0, upper_ctrl_limit=60000.0,
        )  # fmt: skip
        objective = pvproperty(value="10x")
        distance = pvproperty(value=0.15, units="m", precision=6)

    run(Ioc(prefix=f"p{PORT}:").pvdb, interfaces=["127.0.0.1"], log_pv_names=False)


def tango() -> None:
    from tango import AttrWriteType
    from tango.server import Device, attribute, run

    class Optics(Device):  # type: ignore[misc]
        _energy = 20000.0

        @attribute(
            dtype=float, unit="eV", access=AttrWriteType.READ_WRITE, min_value=4000, max_value=60000
        )
        def energy(self) -> float:
            return self._energy

        @energy.write
        def write_energy(self, value: float) -> None:
            self._energy = value

        @attribute(dtype=str)
        def objective(self) -> str:
            return "10x"

        @attribute(dtype=float)  # As many: it states no unit.
        def distance(self) -> Any:
            return 150.0

    run(
        [Optics],
        args=["optics", "test", "-nodb", "-host", "127.0.0.1", "-port", PORT, "-dlist", "Optics::t/optics/1"],
    )  # fmt: skip


if __name__ == "__main__":
    {"epics": epics, "tango": tango}[KIND]()
