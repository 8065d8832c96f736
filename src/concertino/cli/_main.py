"""The beginning of the command: Ctrl-C is heard while the rest is imported."""

import sys

_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> None:
    """Run the command; an error is one sentence on standard error.

    The exit code is then 1, and 2 for a command line that cannot be understood, 130 after Ctrl-C. A signal ends it as
    an exception, after its clean-up, with 128 and the signal's number.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the process by default.
    """
    try:
        from ._app import app
        from ._command_errors import run_command
    except KeyboardInterrupt:
        print("concertino: interrupted.", file=sys.stderr)
        code = _INTERRUPTED
    else:
        code = run_command(app, arguments)
    # Python ends by a SIGINT of its own, whatever the code, when the last text that it ran as code was interrupted;
    # a dataclass that is being imported is such a text. This one is not.
    exec("")
    sys.exit(code)
