"""What each part of areaDetector tells about itself and its images."""

from collections.abc import Iterator

from ._record import Record, plain


def array_records(shape: tuple[int, int]) -> Iterator[Record]:
    """Yield the records of NDArrayBase that clients of ours and of others read.

    Parameters
    ----------
    shape : tuple of int
        Shape (height, width) of the images at the start, in pixels.
    """
    for name, said in (
        ("PortName_RBV", "CAM"), ("ADCoreVersion_RBV", "3.13.0"), ("DriverVersion_RBV", "1.0.0"),
    ):  # fmt: skip
        yield Record(name, said)
    for name in ("UniqueId_RBV", "ArraySize0_RBV", "ArraySize1_RBV", "ArraySize2_RBV"):
        yield Record(name, 0)
    yield Record("ArraySizeX_RBV", shape[1])
    yield Record("ArraySizeY_RBV", shape[0])
    yield Record("ArraySizeZ_RBV", 0)
    yield Record("ColorMode_RBV", 0, choices=("Mono", "RGB1"))
    yield Record("DataType_RBV", TYPES.index("UInt16"), choices=TYPES)
    yield plain("NDAttributesFile", "", long=True)


TYPES = ("Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Float32", "Float64")
