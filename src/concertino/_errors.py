"""The errors that Concertino raises on purpose.

::

    ConcertinoError
    ├── ParameterError (ValueError)      a plan or setting got a value that cannot work
    │   └── ParameterTypeError (TypeError)   ... as it is of another kind than is wanted
    ├── DocumentError (ValueError)       a document breaks event-model or our conventions
    ├── DeviceError                      a device refused, failed or did not answer
    │   ├── CameraError                  ... and it is a camera
    │   └── OverdueError                 ... in time
    ├── FrameStreamError                 a frame stream broke its contract
    │   ├── FramesLostError              the ledger's counts differ
    │   ├── SubscriberFailedError        a subscriber reported its own failure
    │   └── SubscriberSilentError        a subscriber did nothing for longer than its time-out
    ├── StorageError (OSError)           files or directories: missing, full, damaged
    │   └── CatalogError                 ... of the catalogue
    ├── MissingExtraError (ImportError)  something needs an extra that is not installed
    ├── AlarmError                       something watched passed a limit that fails the run
    ├── ReconstructionError              reconstruction cannot be done with what was given
    └── SessionError                     the session cannot do what was asked now

A message says what was asked, what was found, where, and what to do next.
"""


class ConcertinoError(Exception):
    """Base of every error that Concertino raises on purpose.

    IPython and Jupyter show its sentence; ``%tb``, entered after it, shows where it was raised.
    """

    _shown = False

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows: the sentence at first, and asked again the traceback."""
        from IPython import get_ipython  # Nobody else calls this.

        if self._shown:
            shell = get_ipython()
            lines: list[str] = shell.InteractiveTB.structured_traceback(
                type(self), self, self.__traceback__
            )
            return lines
        self._shown = True
        said = [f"{type(self).__name__}: {self}", *notes_of(self)]
        return [*said, "(%tb shows where it was raised)"]


def notes_of(error: BaseException) -> tuple[str, ...]:
    """Return what was added to an error by `add_note`; an error without notes has no such attribute."""
    return tuple(getattr(error, "__notes__", ()))


class ParameterError(ConcertinoError, ValueError):
    """A parameter has a value that cannot work."""


class ParameterTypeError(ParameterError, TypeError):
    """A parameter has a value of a kind that cannot work."""


class DocumentError(ConcertinoError, ValueError):
    """A document breaks event-model's schemas or Concertino's conventions."""


class DeviceError(ConcertinoError, RuntimeError):
    """A device refused, failed or did not answer."""


class CameraError(DeviceError):
    """A camera refused, failed or did not answer."""


class OverdueError(DeviceError):
    """Something took longer than its deadline."""


class FrameStreamError(ConcertinoError, RuntimeError):
    """A frame stream broke its contract."""


class FramesLostError(FrameStreamError):
    """The counts in the ledger of a frame stream differ."""


class SubscriberFailedError(FrameStreamError):
    """A subscriber of a frame stream reported that it failed."""


class SubscriberSilentError(FrameStreamError):
    """A subscriber of a frame stream did nothing for longer than its time-out."""


class StorageError(ConcertinoError, OSError):
    """A file or directory is missing, full, damaged or not writable."""


class CatalogError(StorageError):
    """The catalogue cannot be opened, read or written."""


class MissingExtraError(ConcertinoError, ImportError):
    """What was asked for needs an extra of Concertino that is not installed."""


class AlarmError(ConcertinoError, RuntimeError):
    """Something that is watched in a scan passed a limit that is to fail the run."""


class ReconstructionError(ConcertinoError, RuntimeError):
    """A reconstruction cannot be done with what was given."""


class SessionError(ConcertinoError, RuntimeError):
    """The session cannot do now what was asked of it."""
