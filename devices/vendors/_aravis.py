"""The functions of Aravis' C library that a camera needs, through `ctypes`: no introspection, no build."""

import ctypes
import importlib.util
from collections.abc import Callable, Sequence
from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_double,
    c_int,
    c_int64,
    c_size_t,
    c_uint,
    c_uint64,
    c_void_p,
)
from functools import cache
from pathlib import Path
from typing import Any

from concertino import CameraError
from concertino._extras import extra

LIBRARY = "libaravis-0.8"


class _Error(ctypes.Structure):
    """A GError."""

    _fields_ = (("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p))


#: Result and arguments of what may fail; a pointer to an error follows the arguments.
_MAY_FAIL: dict[str, tuple[Any, ...]] = {
    "arv_camera_new": (c_void_p, c_char_p),
    "arv_camera_create_stream": (c_void_p, c_void_p, c_void_p, c_void_p),
    "arv_camera_get_vendor_name": (c_char_p, c_void_p),
    "arv_camera_get_model_name": (c_char_p, c_void_p),
    "arv_camera_get_device_serial_number": (c_char_p, c_void_p),
    "arv_camera_is_binning_available": (c_int, c_void_p),
    "arv_camera_set_binning": (None, c_void_p, c_int, c_int),
    "arv_camera_set_region": (None, c_void_p, c_int, c_int, c_int, c_int),
    "arv_camera_get_pixel_format_as_string": (c_char_p, c_void_p),
    "arv_camera_set_pixel_format_from_string": (None, c_void_p, c_char_p),
    "arv_camera_is_exposure_time_available": (c_int, c_void_p),
    "arv_camera_set_exposure_time": (None, c_void_p, c_double),
    "arv_camera_get_exposure_time": (c_double, c_void_p),
    "arv_camera_is_frame_rate_available": (c_int, c_void_p),
    "arv_camera_set_frame_rate": (None, c_void_p, c_double),
    "arv_camera_is_gain_available": (c_int, c_void_p),
    "arv_camera_set_gain": (None, c_void_p, c_double),
    "arv_camera_get_gain": (c_double, c_void_p),
    "arv_camera_set_trigger": (None, c_void_p, c_char_p),
    "arv_camera_clear_triggers": (None, c_void_p),
    "arv_camera_software_trigger": (None, c_void_p),
    "arv_camera_set_acquisition_mode": (None, c_void_p, c_int),
    "arv_camera_start_acquisition": (None, c_void_p),
    "arv_camera_stop_acquisition": (None, c_void_p),
    "arv_camera_get_payload": (c_uint, c_void_p),
    "arv_camera_get_width_increment": (c_int, c_void_p),
    "arv_camera_get_height_increment": (c_int, c_void_p),
    "arv_camera_gv_set_packet_size": (None, c_void_p, c_int),
    "arv_camera_execute_command": (None, c_void_p, c_char_p),
    "arv_camera_is_feature_available": (c_int, c_void_p, c_char_p),
    "arv_camera_get_boolean": (c_int, c_void_p, c_char_p),
    "arv_camera_get_integer": (c_int64, c_void_p, c_char_p),
    "arv_camera_get_float": (c_double, c_void_p, c_char_p),
    "arv_camera_get_string": (c_char_p, c_void_p, c_char_p),
    "arv_camera_set_boolean": (None, c_void_p, c_char_p, c_int),
    "arv_camera_set_integer": (None, c_void_p, c_char_p, c_int64),
    "arv_camera_set_float": (None, c_void_p, c_char_p, c_double),
    "arv_camera_set_string": (None, c_void_p, c_char_p, c_char_p),
    "arv_gv_device_get_timestamp_tick_frequency": (c_uint64, c_void_p),
}  # fmt: skip
#: Functions that give two or four numbers through pointers, which follow the arguments, and may fail.
_NUMBERS: dict[str, tuple[Any, int]] = {
    "arv_camera_get_region": (c_int, 4),
    "arv_camera_get_sensor_size": (c_int, 2),
    "arv_camera_get_binning": (c_int, 2),
    "arv_camera_get_width_bounds": (c_int, 2),
    "arv_camera_get_height_bounds": (c_int, 2),
    "arv_camera_get_x_binning_bounds": (c_int, 2),
    "arv_camera_get_exposure_time_bounds": (c_double, 2),
    "arv_camera_get_frame_rate_bounds": (c_double, 2),
    "arv_camera_get_gain_bounds": (c_double, 2),
}
#: Functions that give the two limits of a feature through pointers, and may fail.
_LIMITS: dict[str, Any] = {
    "arv_camera_get_integer_bounds": c_int64,
    "arv_camera_get_float_bounds": c_double,
}
#: Functions that give a list of words, to be freed, and their arguments.
_WORDS: dict[str, tuple[Any, ...]] = {
    "arv_camera_dup_available_pixel_formats_as_strings": (c_void_p,),
    "arv_camera_dup_available_trigger_sources": (c_void_p,),
    "arv_camera_dup_available_enumerations_as_strings": (c_void_p, c_char_p),
}
#: Result and arguments of what cannot fail.
_CANNOT_FAIL: dict[str, tuple[Any, ...]] = {
    "arv_enable_interface": (None, c_char_p),
    "arv_update_device_list": (None,),
    "arv_get_n_devices": (c_uint,),
    "arv_get_device_id": (c_char_p, c_uint),
    "arv_get_device_address": (c_char_p, c_uint),
    "arv_camera_get_device": (c_void_p, c_void_p),
    "arv_camera_is_gv_device": (c_int, c_void_p),
    "arv_gv_device_is_controller": (c_int, c_void_p),
    "arv_buffer_new_allocate": (c_void_p, c_size_t),
    "arv_buffer_get_status": (c_int, c_void_p),
    "arv_buffer_get_frame_id": (c_uint64, c_void_p),
    "arv_buffer_get_timestamp": (c_uint64, c_void_p),
    "arv_buffer_get_system_timestamp": (c_uint64, c_void_p),
    "arv_buffer_get_data": (c_void_p, c_void_p, POINTER(c_size_t)),
    "arv_stream_push_buffer": (None, c_void_p, c_void_p),
    "arv_stream_try_pop_buffer": (c_void_p, c_void_p),
    "arv_stream_timeout_pop_buffer": (c_void_p, c_void_p, c_uint64),
    "arv_stream_stop_thread": (c_uint, c_void_p, c_int),
    "g_object_set": (None, c_void_p, c_char_p),  # and any number of names and values
    "g_object_unref": (None, c_void_p),
    "g_error_free": (None, c_void_p),
    "g_free": (None, c_void_p),
}


class Aravis:
    """Aravis' functions by their names without ``arv_``; what fails raises `CameraError`.

    Parameters
    ----------
    library : str
        Path or name of the shared library.

    Raises
    ------
    OSError
        If there is no such library, or it lacks another one.
    """

    def __init__(self, library: str) -> None:
        self.path = library
        self._library = ctypes.CDLL(library)
        self._functions: dict[str, Callable[..., Any]] = {}
        for name, (result, *taken) in _MAY_FAIL.items():
            self._declare(name, result, [*taken, POINTER(POINTER(_Error))])
        for name, (kind, count) in _NUMBERS.items():
            self._declare(
                name, None, [c_void_p, *[POINTER(kind)] * count, POINTER(POINTER(_Error))]
            )
        for name, kind in _LIMITS.items():
            pointers = [*[POINTER(kind)] * 2, POINTER(POINTER(_Error))]
            self._declare(name, None, [c_void_p, c_char_p, *pointers])
        for name, arguments in _WORDS.items():
            pointers = [POINTER(c_uint), POINTER(POINTER(_Error))]
            self._declare(name, POINTER(c_char_p), [*arguments, *pointers])
        for name, (result, *taken) in _CANNOT_FAIL.items():
            self._declare(name, result, taken)

    def _declare(self, name: str, result: Any, arguments: Sequence[Any]) -> None:
        function = self._library[name]
        function.restype, function.argtypes = result, list(arguments)
        self._functions[name] = function

    def call(self, name: str, *arguments: object) -> Any:
        """Call a function that cannot fail."""
        return self._functions[name](*arguments)

    def ask(self, name: str, *arguments: object) -> Any:
        """Call a function that may fail.

        Raises
        ------
        CameraError
            With what Aravis says.
        """
        error = POINTER(_Error)()
        result = self._functions[name](*arguments, byref(error))
        if error:
            said = error.contents.message.decode(errors="replace")
            self._functions["g_error_free"](error)
            raise CameraError(said)
        return result

    def numbers(self, name: str, camera: int) -> list[Any]:
        """Return the numbers that a function gives through pointers."""
        kind, count = _NUMBERS[name]
        found = [kind() for _ in range(count)]
        self.ask(name, camera, *map(byref, found))
        return [one.value for one in found]

    def limits(self, name: str, camera: int, feature: bytes) -> list[Any]:
        """Return the two limits of a feature."""
        found = [_LIMITS[name](), _LIMITS[name]()]
        self.ask(name, camera, feature, *map(byref, found))
        return [one.value for one in found]

    def words(self, name: str, *arguments: object) -> list[str]:
        """Return the words that a function lists."""
        count = c_uint()
        found = self.ask(name, *arguments, byref(count))
        words = [found[index].decode() for index in range(count.value)]
        self._functions["g_free"](found)
        return words

    def text(self, name: str, *arguments: object) -> str:
        """Return a text; empty where there is none."""
        return (self.ask(name, *arguments) or b"").decode(errors="replace")

    def set_number(self, thing: int, name: bytes, value: int) -> None:
        """Set a property of an object of Aravis that is a whole number of 32 bit."""
        self.call("g_object_set", thing, name, c_int(value), None)


def libraries() -> list[str]:
    """Return where Aravis' library may be: in the package of the extra, and where the system has its own."""
    found = []
    package = importlib.util.find_spec("aravis")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent
        found = [str(path) for path in sorted(folder.glob(f"lib/{LIBRARY}.so"))]
    return [*found, f"{LIBRARY}.so.0"]


@cache
def load_aravis() -> Aravis:
    """Load Aravis, once.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    with extra("genicam", "A GenICam camera"):
        said = []
        for library in libraries():
            try:
                return Aravis(library)
            except OSError as error:
                said.append(str(error))
        raise ImportError("; ".join(said))
