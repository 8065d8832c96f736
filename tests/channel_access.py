"""Where a tests' process looks for IOCs: the library of Channel Access reads that once a process, for all its tests."""

import os

from tests.ports import free_port

#: A port for the IOC of each folder of tests that asks from its own process, by name.
IOC_PORTS = {name: free_port() for name in ("area_detector", "detectors")}


def look_on_this_computer_only() -> None:
    """Have clients of this process, and of those that it starts, look for IOCs at these ports, and nowhere else."""
    os.environ.update(
        EPICS_CA_ADDR_LIST=" ".join(f"127.0.0.1:{port}" for port in IOC_PORTS.values()),
        EPICS_CA_AUTO_ADDR_LIST="NO",
        EPICS_CA_REPEATER_PORT=str(free_port()),
    )
