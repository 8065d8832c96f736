"""concert 0.33.0's ZMQ sender and receiver, two processes; run by ``benchmarks/frames.py``.

Its own arguments and lines are those of ``frame_way.py``.
"""

import asyncio
import json
import sys
import time

import numpy as np
import zmq
from concert.networking.base import ZmqReceiver, ZmqSender


def say(**facts):
    print(json.dumps(facts), flush=True)


async def send(size, count, warm_up, port, **_):
    frames = np.random.default_rng(1).integers(
        0, 4096, (max(4, 48 * 2**20 // (size * size * 2)), size, size), np.uint16
    )
    context = zmq.Context()
    back = context.socket(zmq.PULL)
    back_port = back.bind_to_random_port("tcp://127.0.0.1")
    sender = ZmqSender(f"tcp://127.0.0.1:{port}", reliable=True, sndhwm=1000)
    say(address=f"{port} {back_port}")
    sys.stdin.readline()
    for number in (warm_up, count):
        begin_s, cpu_s = time.perf_counter(), time.process_time()
        for index in range(number):
            await sender.send_image(frames[index % len(frames)])
        back.recv()
        wall_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - cpu_s
    sender.close()
    say(hz=count / wall_s, cpu_us=1e6 * cpu_s / count)


async def take(count, address, warm_up, **_):
    port, back_port = address.split()
    context = zmq.Context()
    back = context.socket(zmq.PUSH)
    back.connect(f"tcp://127.0.0.1:{back_port}")
    receiver = ZmqReceiver(f"tcp://127.0.0.1:{port}", reliable=True)
    say(ready=True)
    for number in (warm_up, count):
        for _ in range(number):
            await receiver.receive_image()
        back.send(b"")
    receiver.close()
    say(count=warm_up + count)


if __name__ == "__main__":
    part, settings = sys.argv[2], json.loads(sys.argv[3])
    asyncio.run((send if part == "send" else take)(**settings))
