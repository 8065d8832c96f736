"""What the live page costs a scan: frames/s without it, watched, stalled, closed, in turn.

A thread publishes 1024 × 1024 uint16 frames as fast as it can, and another takes and acknowledges
every one. The browser is a headless Chromium; stalled means all its processes stopped (SIGSTOP).
Needs Chromium, chromedriver and selenium. Everything runs on the same cores.

    python benchmarks/live_view.py [--rounds 5] [--seconds 2] [--paced 500]
"""

import argparse
import signal
import statistics
import tempfile
import threading
import time
from uuid import uuid4

import numpy as np
import psutil
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from concertino.callbacks import LiveView
from concertino.frames import FrameStream, Ring, subscribe

STATES = ("without", "watched", "stalled", "closed")
SHAPE = (1024, 1024)
# The same memory in every round: the first use of a page costs more than a copy of it.
RING = Ring(SHAPE, np.uint16, 256 * 2**20)
FRAMES = np.random.default_rng(0).integers(0, 4000, (8, *SHAPE), dtype=np.uint16)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-background-networking --no-first-run "
    "--disable-component-update --disable-sync --window-size=1400,1000"
)


def scan(view, seconds, paced_hz):
    """Publish for some seconds.

    Returns
    -------
    tuple of float
        Frames/s, CPU seconds of this process a frame, longest delay of a 5 ms heartbeat in seconds.
    """
    stop = threading.Event()
    late = [0.0]

    def heartbeat():
        while not stop.is_set():
            before = time.perf_counter()
            time.sleep(0.005)
            late[0] = max(late[0], time.perf_counter() - before - 0.005)

    with FrameStream(shape=SHAPE, dtype=np.uint16, ring=RING) as stream:
        taker = subscribe(stream.address, name="taker")

        def take():
            for batch in taker:
                taker.acknowledge(batch.stop)
            taker.finish()

        threads = [threading.Thread(target=take), threading.Thread(target=heartbeat)]
        for thread in threads:
            thread.start()
        if view is not None:
            announce(view, stream)
        count, began, worked = 0, time.perf_counter(), time.process_time()
        while (elapsed := time.perf_counter() - began) < seconds:
            if paced_hz and (ahead := count / paced_hz - elapsed) > 0:
                time.sleep(ahead)
            stream.publish(FRAMES[count % len(FRAMES)])
            count += 1
        rate = count / (time.perf_counter() - began)
        cost = (time.process_time() - worked) / count
        stop.set()
        stream.end()
        for thread in threads:
            thread.join()
    return rate, cost, late[0]


def announce(view, stream):
    """Give a view the documents of a run with this stream."""
    run = str(uuid4())
    view("start", {"uid": run, "time": time.time(), "scan_name": "benchmark"})
    key = {
        "source": "", "dtype": "array", "shape": [1, *stream.shape], "external": "STREAM:",
        "dtype_numpy": stream.dtype.str, "object_name": "camera",
    }  # fmt: skip
    configuration = {"camera": {"data": {"camera-frames": stream.address}}}
    view(
        "descriptor",
        {
            "uid": str(uuid4()), "run_start": run, "name": "projections",
            "data_keys": {"camera": key}, "configuration": configuration,
        },
    )  # fmt: skip


def browser(url):
    """Open the page."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in [*FLAGS.split(), f"--user-data-dir={tempfile.mkdtemp()}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.get(url)
    return driver


def freeze(driver, signum):
    """Send a signal to the browser's processes."""
    for process in psutil.Process(driver.service.process.pid).children(recursive=True):
        process.send_signal(signum)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--paced", type=float, default=0.0, help="frames/s; 0 for all it can")
    given = parser.parse_args()
    rates = {state: [] for state in STATES}
    costs = {state: [] for state in STATES}
    worst = dict.fromkeys(STATES, 0.0)
    memory = []
    scan(None, 0.5, given.paced)
    with LiveView() as view:
        for _ in range(given.rounds):
            for state in STATES:
                driver = None if state in ("without", "closed") else browser(view.url)
                if driver is not None:
                    scan(view, 0.5, 100)
                if state == "stalled":
                    freeze(driver, signal.SIGSTOP)
                rate, cost, late = scan(
                    None if state == "without" else view, given.seconds, given.paced
                )
                memory.append((state, psutil.Process(view._page.pid).memory_info().rss / 2**20))
                if state == "stalled":
                    freeze(driver, signal.SIGCONT)
                if driver is not None:
                    driver.quit()
                rates[state].append(rate)
                costs[state].append(cost)
                worst[state] = max(worst[state], late)
    base = statistics.median(rates["without"])
    for state in STATES:
        middle = statistics.median(rates[state])
        pages = [mib for at, mib in memory if at == state]
        print(
            f"{state:8} {middle:7.0f} frames/s ({middle / base - 1:+6.1%}), of "
            f"{min(rates[state]):.0f} to {max(rates[state]):.0f}; CPU {1000 * min(costs[state]):.3f} to "
            f"{1000 * max(costs[state]):.3f} ms a frame; a 5 ms heartbeat was late by at "
            f"most {1000 * worst[state]:.0f} ms; page process {pages[0]:.0f} to {pages[-1]:.0f} MiB"
        )


if __name__ == "__main__":
    main()
