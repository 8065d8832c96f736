"""Tango device servers: a camera, a writer, a reconstruction or a benchmark on another computer."""

from concertino._extras import extra

with extra("tango", "A Tango server"):
    from ._callback_server import Benchmark, CallbackServer, Writer
    from ._camera_server import CameraServer
    from ._lease import Lease
    from ._reconstruction_server import Reconstruction
    from ._serve import serve_callback, serve_camera

__all__ = [
    "Benchmark",
    "CallbackServer",
    "CameraServer",
    "Lease",
    "Reconstruction",
    "Writer",
    "serve_callback",
    "serve_camera",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
