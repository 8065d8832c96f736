"""Sleep 5 ms at a time until standard input is closed; print by how many seconds that took longest too long.

What a process that does nothing meets is the computer's doing.
"""

import sys
import threading
import time

PERIOD_S = 0.005

if __name__ == "__main__":
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    worst_s = 0.0
    while not ended.is_set():
        before = time.perf_counter()
        time.sleep(PERIOD_S)
        worst_s = max(worst_s, time.perf_counter() - before - PERIOD_S)
    print(worst_s)
