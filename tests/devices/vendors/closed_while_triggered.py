"""Closes a GenICam camera that stands still while another thread waits for its answer to a trigger.

Its argument is the process id of the camera. Prints what the thread was told, then how closing went.
"""

import os
import signal
import sys
import threading
import time

from concertino import CameraError
from tests.devices.vendors.fake_gige import opened


def main(camera_pid: int) -> None:
    """Close it, and say what came of that."""
    said: list[str] = []
    with opened() as source:
        os.kill(camera_pid, signal.SIGSTOP)

        def trigger() -> None:
            try:
                source.trigger()
            except CameraError as error:
                said.append(str(error))

        thread = threading.Thread(target=trigger)
        thread.start()
        time.sleep(0.2)
        assert thread.is_alive(), said
        source.close()
        thread.join(30)
    print("told:", *said)
    print("closed")


if __name__ == "__main__":
    main(int(sys.argv[1]))
