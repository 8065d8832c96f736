"""The process that UFO runs in: takes graphs over a socket and runs them on shared memory.

Run as a script and with the standard library alone, so that it starts at once. UFO ends the whole process when
something goes wrong, which is why it has one of its own. Whoever started it may vanish: then this process
ends, too, even in the middle of a graph.
"""

import ctypes
import json
import mmap
import os
import queue
import signal
import socket
import sys
import threading
from typing import Any

TASKS = ("memory-in", "memory-out", "fft", "opencl")
_LONGEST = 2**18  # bytes of a message
_LOOK_S = 1.0
_GPU, _CPU_OR_ACCELERATOR, _DEVICE_NAME = 4, 2 | 8, 0x102B


class _GError(ctypes.Structure):
    """GLib's error."""

    _fields_ = (("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p))


_Failure = ctypes.POINTER(_GError)


def listen(channel: socket.socket, requests: "queue.SimpleQueue[tuple[Any, int]]") -> None:
    """Queue what is asked; end the process when nobody is there to ask any more."""
    parent = os.getppid()
    channel.settimeout(_LOOK_S)
    while True:
        try:
            message, files, _, _ = socket.recv_fds(channel, _LONGEST, 1)
        except TimeoutError:
            # a process forked from the one that asks may hold the other end open
            if os.getppid() != parent:
                os._exit(0)
            continue
        except OSError:
            message, files = b"", []
        if not message:
            os._exit(0)  # not sys.exit: a graph may be running
        requests.put((json.loads(message), files[0] if files else -1))


def opencl_devices() -> list[tuple[str, bool]]:
    """Return name and whether it is a GPU of each OpenCL device."""
    opencl = ctypes.CDLL("libOpenCL.so.1")
    count = ctypes.c_uint()
    opencl.clGetPlatformIDs(0, None, ctypes.byref(count))
    platforms = (ctypes.c_void_p * count.value)()
    if count.value:
        opencl.clGetPlatformIDs(count, platforms, None)
    found = []
    for kind, is_gpu in ((_GPU, True), (_CPU_OR_ACCELERATOR, False)):
        for platform in platforms:
            here = ctypes.c_uint()
            arguments = (ctypes.c_void_p(platform), ctypes.c_ulong(kind))
            if opencl.clGetDeviceIDs(*arguments, 0, None, ctypes.byref(here)) or not here.value:
                continue
            devices = (ctypes.c_void_p * here.value)()
            opencl.clGetDeviceIDs(*arguments, here, devices, None)
            for device in devices:
                name = ctypes.create_string_buffer(256)
                opencl.clGetDeviceInfo(
                    ctypes.c_void_p(device), _DEVICE_NAME, ctypes.c_size_t(256), name, None
                )
                found.append((name.value.decode(errors="replace").strip(), is_gpu))
    return found


class Ufo:
    """The parts of libufo that run a graph given as JSON."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libufo.so.1")
        self._objects = ctypes.CDLL("libgobject-2.0.so.0")
        pointer = ctypes.c_void_p
        self._objects.g_object_unref.argtypes = [pointer]
        declared: tuple[tuple[Any, Any, list[Any]], ...] = (
            (self._library.ufo_plugin_manager_new, pointer, []),
            (
                self._library.ufo_plugin_manager_get_task,
                pointer,
                [pointer, ctypes.c_char_p, pointer],
            ),
            (self._library.ufo_task_graph_new, pointer, []),
            (
                self._library.ufo_task_graph_read_from_data,
                None,
                [pointer, pointer, ctypes.c_char_p, pointer],
            ),
            (self._library.ufo_scheduler_new, pointer, []),
            (self._library.ufo_base_scheduler_run, None, [pointer, pointer, pointer]),
        )
        for function, result, arguments in declared:
            function.restype, function.argtypes = result, arguments

    def missing_tasks(self) -> list[str]:
        """Return which of the tasks that are needed are not installed."""
        plugins = self._library.ufo_plugin_manager_new()
        failure = _Failure()
        missing = []
        for name in TASKS:
            at = ctypes.byref(failure)
            if not self._library.ufo_plugin_manager_get_task(plugins, name.encode(), at):
                missing.append(name)
                failure = _Failure()
        return missing

    def run(self, graph: dict[str, Any]) -> str:
        """Run a graph; return UFO's message when it refuses, else nothing."""
        failure = _Failure()
        at = ctypes.byref(failure)
        plugins = self._library.ufo_plugin_manager_new()
        tasks, scheduler = self._library.ufo_task_graph_new(), self._library.ufo_scheduler_new()
        try:
            # one graph on one device: on several, items would come back in any order
            self._objects.g_object_set(
                ctypes.c_void_p(scheduler), b"expand", ctypes.c_int(0), ctypes.c_void_p()
            )
            data = json.dumps(graph).encode()
            self._library.ufo_task_graph_read_from_data(tasks, plugins, data, at)
            if not failure:
                self._library.ufo_base_scheduler_run(scheduler, tasks, at)
            return failure.contents.message.decode(errors="replace") if failure else ""
        finally:
            for thing in (scheduler, tasks, plugins):
                self._objects.g_object_unref(thing)


def with_addresses(graph: dict[str, Any], base: int) -> dict[str, Any]:
    """Turn offsets into the shared memory into addresses."""
    for node in graph["nodes"]:
        if "pointer" in node.get("properties", {}):
            node["properties"]["pointer"] += base
    return graph


def answer(ufo: Ufo, request: dict[str, Any], file: int) -> dict[str, Any]:
    """Run what is asked and say how it went."""
    with mmap.mmap(file, request["bytes"]) as memory:
        first = ctypes.c_char.from_buffer(memory)
        try:
            message = ufo.run(with_addresses(request["graph"], ctypes.addressof(first)))
        finally:
            del first  # or the memory cannot be unmapped
    return {"error": message} if message else {}


def introduction() -> tuple[Ufo | None, dict[str, Any]]:
    """Look whether UFO can work here, and say so."""
    try:
        devices = opencl_devices()
    except OSError as error:
        return None, {"error": f"OpenCL's loader cannot be loaded ({error})"}
    if not devices:
        return None, {"error": "OpenCL has no device"}
    if not any(is_gpu for _, is_gpu in devices):  # or UFO says that there is no device, and aborts
        os.environ.setdefault("UFO_DEVICE_TYPE", "cpu")
    on_gpu = os.environ.get("UFO_DEVICE_TYPE", "gpu") != "cpu"
    used = [name for name, is_gpu in devices if is_gpu == on_gpu]
    try:
        ufo = Ufo()
    except (OSError, AttributeError) as error:
        return None, {"error": f"UFO's library cannot be loaded ({error})"}
    if missing := ufo.missing_tasks():
        return None, {"error": f"UFO's tasks {', '.join(missing)} are missing"}
    return ufo, {"devices": used, "gpu": on_gpu}


def main() -> None:
    """Serve until the other end is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are for the parent
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)  # libraries print where they like; answers do not go there
    channel = socket.socket(fileno=int(sys.argv[1]))
    requests: queue.SimpleQueue[tuple[Any, int]] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(channel, requests), daemon=True).start()
    ufo, hello = introduction()
    channel.send(json.dumps(hello).encode())
    while True:
        request, file = requests.get()
        try:
            reply = answer(ufo, request, file) if ufo else hello
        except (OSError, ValueError, KeyError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        finally:
            if file >= 0:
                os.close(file)
        channel.send(json.dumps(reply).encode())


if __name__ == "__main__":
    main()
