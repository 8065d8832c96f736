"""Which reconstruction back ends this machine can run, and which one `auto` chooses."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from concertino._errors import MissingExtraError, ParameterError, ReconstructionError
from concertino.reconstruction.settings._geometry import DESCRIBED_BY
from concertino.reconstruction.settings._settings import ReconstructionSettings

if TYPE_CHECKING:  # heavy: loaded when somebody computes
    from ._back_projector import MakeBackProjector


@dataclass(frozen=True)
class Backend:
    """A way of computing.

    Attributes
    ----------
    name
        What `ReconstructionSettings.backend` takes.
    available
        Whether it works on this machine.
    reason
        Why it is chosen, or what is missing and how to get it.
    geometries
        What it can reconstruct: 'parallel', an upright axis in a parallel beam, each detector row a
        slice; 'general', all else that the settings can say.
    devices
        What it computes on.
    """

    name: str
    available: bool
    reason: str
    geometries: tuple[str, ...]
    devices: tuple[str, ...] = ()
    # makes a back projector; None: this package's own engines compute
    _make: "MakeBackProjector | None" = field(default=None, repr=False, compare=False)
    # raises ParameterError for what it lacks beside geometries
    _check: Callable[[ReconstructionSettings], None] | None = field(
        default=None, repr=False, compare=False
    )


def backends() -> tuple[Backend, ...]:
    """Return all back ends, the preferred one first.

    The answer is found by trying: UFO's process is started for it, which takes a fraction of a second.

    Examples
    --------
    >>> [backend.name for backend in backends()]
    ['cpu', 'ufo', 'astra']
    """
    return tuple(look() for look in _REGISTRY.values())


def chosen_backend(settings: ReconstructionSettings) -> Backend:
    """Return the back end that settings ask for, or the best that has their geometry.

    Returns
    -------
    Backend
        With the `reason` why it was chosen.

    Raises
    ------
    ParameterError
        It cannot do what is asked for.
    ReconstructionError
        It is not available, or none is.
    """
    geometry = _geometry(settings)
    if settings.backend != "auto":
        backend = _REGISTRY[settings.backend]()
        _check_geometry(backend, geometry, settings)
        if not backend.available:
            raise ReconstructionError(
                f"backend: {backend.name!r} is not available here: {backend.reason.rstrip('.')}. "
                "Use it where it is, or use backend='cpu'."
            )
        if backend._check is not None:
            backend._check(settings)
        return replace(backend, reason="asked for by name")
    passed = []
    for look in _REGISTRY.values():
        backend = look()
        if not backend.available or geometry not in backend.geometries:
            passed.append(f"{backend.name}: {backend.reason.rstrip('.')}")
            continue
        if not passed:
            why = "the quickest on a processor, and it has every geometry"
        else:
            why = "the first that is available (" + "; ".join(passed) + ")"
        return replace(backend, reason=why)
    raise ReconstructionError(
        f"backend: none is available for {geometry} geometry: {'; '.join(passed)}. Use "
        "backend='cpu'."
    )


def _geometry(settings: ReconstructionSettings) -> str:
    swept = settings.z_parameter in DESCRIBED_BY
    return "general" if settings.general or swept else "parallel"


def _check_geometry(backend: Backend, geometry: str, settings: ReconstructionSettings) -> None:
    if geometry not in backend.geometries:
        described = {*settings.described_by(), settings.z_parameter}
        asked = [name for name in DESCRIBED_BY if name in described]
        raise ParameterError(
            f"backend: {backend.name!r} has only {', '.join(backend.geometries)} geometry (an "
            f"upright axis in a parallel beam), and {', '.join(asked)} is set; use backend='cpu' or "
            "'auto'."
        )


def _cpu() -> Backend:
    reason = "compiled by numba for this machine"
    return Backend("cpu", True, reason, ("parallel", "general"), ("processor",))


def _ufo() -> Backend:
    from ._ufo_process import UfoProcess, UfoUnavailableError

    name, geometries = "ufo", ("parallel",)
    process = UfoProcess.shared()
    try:
        devices, on_gpu = process.devices()
    except UfoUnavailableError as error:
        return Backend(name, False, str(error), geometries)
    from ._ufo import UfoBackProjector

    reason = f"UFO over OpenCL on {'a GPU' if on_gpu else 'a processor'}: {', '.join(devices)}"
    return Backend(name, True, reason, geometries, devices, partial(UfoBackProjector, process))


def _astra() -> Backend:
    name, geometries = "astra", ("parallel",)
    from ._astra import AstraBackProjector, check_steps, device

    try:
        where, on_gpu = device()
    except MissingExtraError as error:
        return Backend(name, False, str(error), geometries)
    make = partial(AstraBackProjector, on_gpu=on_gpu)
    check = partial(check_steps, on_gpu=on_gpu)
    return Backend(name, True, f"ASTRA on {where}", geometries, (where,), make, check)


_REGISTRY: dict[str, Callable[[], Backend]] = {"cpu": _cpu, "ufo": _ufo, "astra": _astra}
