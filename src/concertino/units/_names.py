"""Units as people write them into a device's engineering units."""

from concertino._errors import ParameterError

from ._convert import quantity

# Looked up in small letters, before pint: to pint "MM" is a megamolar, and "Deg" nothing at all.
_SPELLINGS = {
    "m": ("m", "meter", "meters", "metre", "metres"),
    "cm": ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
    "mm": ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    "um": (
        "um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres",
    ),
    "nm": ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    "deg": ("deg", "degs", "deg.", "degree", "degrees", "°"),
    "rad": ("rad", "rads", "radian", "radians"),
    "mrad": ("mrad", "mrads", "milliradian", "milliradians"),
    "urad": ("urad", "µrad", "μrad", "urads", "microradian", "microradians"),
    "nrad": ("nrad", "nanoradian", "nanoradians"),
    "arcmin": ("arcmin", "arcminute", "arcminutes"),
    "arcsec": ("arcsec", "arcsecs", "arcsecond", "arcseconds"),
    "s": ("s", "sec", "secs", "second", "seconds"),
}  # fmt: skip
_MEANT = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}


def meant_unit(text: str) -> str:
    """Return the unit that the text of a device means, whatever its capitals.

    Parameters
    ----------
    text : str
        What the device states, such as an EPICS record's EGU.

    Returns
    -------
    str
        A unit that pint knows, when the table has it; otherwise the text without blanks around it.

    Examples
    --------
    >>> from concertino.units import meant_unit
    >>> [meant_unit(text) for text in ("MM", "Degrees", "micron", "DEG/S", "kV")]
    ['mm', 'deg', 'um', 'deg/s', 'kV']
    """
    unit, *rest = (_MEANT.get(part.strip().lower(), part.strip()) for part in text.split("/"))
    return "/".join([unit, *rest])


def is_unit(text: str) -> bool:
    """Whether pint knows a unit; none, the empty text, is one.

    Examples
    --------
    >>> from concertino.units import is_unit
    >>> is_unit("deg"), is_unit("steps"), is_unit("")
    (True, False, True)
    """
    try:
        quantity(1, text)
    except ParameterError:
        return False
    return True
