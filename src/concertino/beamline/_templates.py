"""Commented files to begin with."""

from importlib.resources import files

from concertino import ParameterError

#: Which there are, and what each is for.
TEMPLATES = {
    "twin": "a simulated beamline, in this process",
    "epics": "motors, a shutter and an areaDetector of EPICS",
    "tango": "motors, a shutter and a camera of Tango",
    "mixed": "motors of Tango, a shutter and an areaDetector of EPICS",
}


def template(name: str) -> str:
    """Return a commented file to begin with.

    Parameters
    ----------
    name : str
        One of `TEMPLATES`.

    Raises
    ------
    ParameterError
        If there is none of this name.

    Examples
    --------
    >>> template("twin").splitlines()[0]
    '# A beamline in one file: its devices, what each is for, and what is done with its data.'
    """
    if name not in TEMPLATES:
        raise ParameterError(
            f"kind: {name!r} was given; give one of {', '.join(TEMPLATES)}, for which there is a file to begin with."
        )
    return (files("concertino.beamline") / "templates" / f"{name}.toml").read_text("utf-8")
