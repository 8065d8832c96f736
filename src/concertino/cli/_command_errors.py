"""How the command ends: one sentence on standard error, and an exit code."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import typer

from concertino._errors import ConcertinoError, notes_of
from concertino.runtime._ending import ending_signals
from concertino.terminal._shown import ShownStream, shown

#: What typer raises for a command line that it cannot take: click's exception, or its own copy of it.
_CommandLineError: Any = typer.BadParameter.__mro__[2]
_INTERRUPTED = 130
_AGAIN_S = 1.1  # what closes after a Ctrl-C may ignore another for a second


def run_command(app: typer.Typer, arguments: list[str] | None) -> int:
    """Run a command and return its exit code.

    Parameters
    ----------
    app : typer.Typer
        The command.
    arguments : list of str, optional
        Those of the process by default.

    Returns
    -------
    int
        0 when all is well, 1 for an error that was told, 2 for a command line that cannot be
        understood, 130 after Ctrl-C.
    """
    try:
        # An error is told once, by its sentence: what libraries log about it is in the run's log.
        logging.getLogger("bluesky").addHandler(logging.NullHandler())
        # What is printed are names of others, too: of samples, files, devices.
        with ending_signals(), _interrupts_heard(), redirect_stdout(ShownStream(sys.stdout)):
            code = int(app(arguments, standalone_mode=False) or 0)
            if code == _INTERRUPTED:
                raise KeyboardInterrupt
            sys.stdout.flush()
            return code
    except KeyboardInterrupt:  # also one that comes before or after what typer runs
        known = signal.signal(signal.SIGINT, signal.SIG_IGN)  # more of them say no more
        _say("concertino: interrupted.")
        signal.signal(signal.SIGINT, known)
        return _INTERRUPTED
    except _CommandLineError as error:
        return _misunderstood(error)
    except ConcertinoError as error:
        _say(f"concertino: {error}", *notes_of(error))
    except BrokenPipeError:
        # Whoever read has enough, as head has; at the end Python would try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _say(f"concertino: {error}; see that the file or directory can be read and written.")
    return 1


@contextmanager
def _interrupts_heard() -> Iterator[None]:
    """Interrupt once more where Ctrl-C came in a finalizer or as garbage was collected.

    Nothing can be raised there, so that Python prints it and goes on. Libraries have such functions,
    dask one for each collection.
    """
    known = sys.unraisablehook
    main = threading.get_ident()

    def hook(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt or threading.get_ident() != main:
            known(unraisable)
            return
        again = threading.Timer(_AGAIN_S, signal.pthread_kill, (main, signal.SIGINT))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = known


def _misunderstood(error: Any) -> int:
    """Say what cannot be understood of a command line."""
    text, context = error.format_message(), getattr(error, "ctx", None)
    if text.startswith("Usage:"):
        error.show()  # Nothing was asked: this is the help.
    else:
        command = "concertino" if context is None else context.command_path
        _say(f"concertino: {' '.join(text.split()).rstrip('.')}; see '{command} --help'.")
    return int(error.exit_code)


def _say(sentence: str, *notes: str) -> None:
    typer.echo(shown(sentence), err=True)
    for note in notes:
        typer.echo(f"  {shown(note)}", err=True)
