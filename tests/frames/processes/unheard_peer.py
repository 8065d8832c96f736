"""A publisher that cannot listen for a while, and a subscriber that talks, and dies meanwhile; says "lives" at its end."""

import multiprocessing as mp
import os
import time
from multiprocessing.synchronize import Event

import msgpack
import numpy as np
import zmq

from concertino.frames import FrameStream


def talk(endpoint: str, path: str, heard: Event, said: Event) -> None:
    """Say more than a publisher takes unheard, in another implementation's words, and die."""
    socket = zmq.Context().socket(zmq.DEALER)
    socket.sndhwm = 0
    socket.connect(endpoint)
    hello = {"version": 1, "stream": path, "name": "raw", "delivery": "latest", "necessary": False}
    hello |= {"kind": "hello", "resume": False, "start": None, "messages": 4}
    socket.send(msgpack.packb(hello))
    socket.recv()
    heard.wait(20)
    for _ in range(20_000):
        socket.send(msgpack.packb({"kind": "alive"}))
    time.sleep(0.5)
    said.set()
    os.kill(os.getpid(), 9)


def main() -> None:
    """Hold the stream's lock, which the thread that listens needs, until ZeroMQ's timers have gone off."""
    stream = FrameStream("tcp://127.0.0.1:0", shape=(4, 6), dtype="u2", timeout_s=30)
    endpoint, _, path = stream.address.rpartition("/")
    heard, said = mp.Event(), mp.Event()
    peer = mp.get_context("fork").Process(target=talk, args=(endpoint, path, heard, said))
    peer.start()
    deadline = time.monotonic() + 20
    while not stream.ledger().subscribers and time.monotonic() < deadline:
        time.sleep(0.01)
    with stream.changed:
        heard.set()
        said.wait(20)
        peer.join(20)
        time.sleep(8)
    stream.publish(np.zeros((1, 4, 6), "u2"))
    print(stream.end().published, "lives", flush=True)
    stream.close()


if __name__ == "__main__":
    main()
