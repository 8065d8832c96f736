"""A quantity that is sent to a device becomes a plain number in the device's unit."""

from concertino._errors import ParameterError

from ._convert import QuantityLike, convert
from ._names import is_unit, meant_unit


def to_device_unit(value: QuantityLike, unit: str, *, device: str) -> float:
    """Convert a quantity to the unit of the device that is to get it.

    Parameters
    ----------
    value : float, str, mapping or pint.Quantity
        As in `convert`. A plain number is taken to be in the device's unit.
    unit : str
        The unit, as the device states it, in any capitals (`meant_unit`); empty if it states none.
    device : str
        The name of the device, for the message.

    Returns
    -------
    float
        The value in `unit`.

    Raises
    ------
    ParameterError
        If the value has another dimension, or the device's unit is missing or not known to pint.

    Examples
    --------
    >>> from concertino.units import q, to_device_unit
    >>> to_device_unit(90 * q.deg, "rad", device="rotation")
    1.5707963267948966
    """
    if not unit:
        raise ParameterError(
            f"{device}: '{value}' cannot be converted, as the device states no unit. Give a plain"
            " number in the unit that it uses."
        )
    unit = meant_unit(unit)
    if not is_unit(unit):
        raise ParameterError(
            f"{device}: '{value}' cannot be converted, as the unit that the device states, {unit!r},"
            " is not known. Give a plain number in that unit."
        )
    return convert(value, unit, parameter=device)
