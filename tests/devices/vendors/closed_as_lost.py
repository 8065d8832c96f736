"""Closes a GenICam camera at the moment that Aravis finds it lost.

Its argument is the process id of the camera, which it kills. Then no other thread of this process gets to run Python, so
that whatever Aravis' thread would call here waits until the camera is closed.
"""

import ctypes
import os
import signal
import sys
import time

from tests.devices.vendors.fake_gige import opened

#: Aravis finds a camera lost some 3 s after its last answer.
_UNTIL_LOST_S = 8


def main(camera_pid: int) -> None:
    """Kill it, and close it."""
    with opened() as source:
        sys.setswitchinterval(60)
        os.kill(camera_pid, signal.SIGKILL)
        ctypes.PyDLL(None).sleep(_UNTIL_LOST_S)  # keeps the lock of the interpreter
        source.close()
        time.sleep(1)  # Other threads go on.
    print("closed")


if __name__ == "__main__":
    main(int(sys.argv[1]))
