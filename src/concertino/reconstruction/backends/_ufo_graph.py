"""Filtering and back projection as a graph of UFO tasks.

Only tasks are used that work on every OpenCL device. UFO's own back projection and padding want device
images of a kind that PoCL does not have, so back projection is a kernel here, run by the task
`opencl`; the filter is another one, which takes any frequency response. UFO computes the transforms.

A filtered row is real, so the inverse transform has room for a second one: the same row moved by half a
pixel. Together they are the row on half pixels, at no cost, between which cubic B-splines interpolate;
their blur is undone in the response. Linear interpolation would differ from the exact slice by one or two
percent where there is noise or an edge. UFO's `ifft` would drop the imaginary part, so the
inverse is a second forward transform, whose result runs backwards.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KERNELS = """
kernel void respond(global const float *spectra, global const float *response, global float *out)
{
    /* a complex product; each work item gives its real or its imaginary part. The last line is not
       filtered: it tells how the transforms scale, which is not the same in all builds of UFO. */
    const int at = get_global_id(0), width = get_global_size(0);
    const int pair = at & ~1, line = get_global_id(1) * width;
    const float real = spectra[line + pair], imaginary = spectra[line + pair + 1];
    const bool filtered = get_global_id(1) + 1 < get_global_size(1);
    const float gain = filtered ? response[pair] : 1.0f;
    const float turn = filtered ? response[pair + 1] : 0.0f;
    out[line + at] = (at & 1) ? real * turn + imaginary * gain : real * gain - imaginary * turn;
}

float on_half_pixels(global const float *row, int place, int width)
{
    /* pixel n and what is half a pixel to its right are element -n of the transform */
    return row[2 * ((width - (place >> 1)) & (width - 1)) + (place & 1)];
}

kernel void back_project(global const float *sum, global const float *rows,
                         global const float *places, global float *out)
{
    /* places: in line 0 the number of projections, the first and the last half pixel that may be
       looked at, and the width of the rows; in line 1 the place of the unit impulse among the rows;
       then, for each projection, where the first pixel is and its steps to the right and down */
    const int x = get_global_id(0), y = get_global_id(1);
    const int count = (int) places[0], width = (int) places[3];
    const float first = places[1], last = places[2];
    const float unit = rows[2 * (int) places[4] * width];
    float total = 0.0f;
    for (int i = 0; i < count; i++) {
        global const float *place = places + 4 * (i + 2);
        const float at = clamp(place[0] + x * place[1] + y * place[2], first, last);
        const float whole = floor(at), share = at - whole;
        const int left = (int) whole;
        global const float *row = rows + 2 * i * width;
        const float rest = 1.0f - share, square = share * share, back = rest * rest;
        total += (back * rest * on_half_pixels(row, left - 1, width)
                  + (4.0f - 3.0f * square * (1.0f + rest)) * on_half_pixels(row, left, width)
                  + (4.0f - 3.0f * back * (1.0f + share)) * on_half_pixels(row, left + 1, width)
                  + square * share * on_half_pixels(row, left + 2, width)) / 6.0f;
    }
    const int pixel = y * (int) get_global_size(0) + x;
    out[pixel] = sum[pixel] + total / unit;
}
"""


def widened(response: NDArray[np.complexfloating], width: int) -> NDArray[np.complex128]:
    """Return the response, for a longer transform, of a filter that reaches no farther than before.

    A filter that reached farther into what stands for the surroundings of the detector would give another
    offset than that of the other back ends.

    Parameters
    ----------
    response
        complex128, of an even length.
    width
        The longer transform's length.
    """
    kernel, half = np.fft.ifft(response), len(response) // 2
    longer = np.zeros(width, dtype=np.complex128)
    longer[:half], longer[width - half :] = kernel[:half], kernel[half:]
    return np.asarray(np.fft.fft(longer), dtype=np.complex128)


def half_pixel_response(response: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
    """Return the response whose result is the filtered row, and as imaginary part that on half pixels.

    Parameters
    ----------
    response
        complex128, (width,), of a filter that keeps rows real.

    Returns
    -------
    ndarray
        complex64, (width,); what interpolation between half pixels blurs is undone in it.

    References
    ----------
    M. Unser, Splines: a perfect fit for signal and image processing, doi:10.1109/79.799930
    """
    frequency = np.fft.fftfreq(len(response))
    moved = np.exp(1j * np.pi * frequency)
    moved[len(response) // 2] = 0.0  # a wave of two pixels has its zeros there
    both = response / np.sinc(frequency / 2.0) ** 4 * (1.0 + 1j * moved)
    return np.asarray(both, dtype=np.complex64)


@dataclass(frozen=True)
class SharedArrays:
    """Where the arrays of a graph lie in shared memory, all float32 and one for each slice.

    Attributes
    ----------
    slices, projections, width, height_out, width_out
        Sizes: rows are (slice, projection + 1, width), the last of each slice being a unit impulse;
        images (slice, height_out, width_out).
    """

    slices: int
    projections: int
    width: int
    height_out: int
    width_out: int

    @property
    def shapes(self) -> dict[str, tuple[int, int, int]]:
        """Shape of each array (slice, row, column)."""
        return {
            "rows": (self.slices, self.projections + 1, self.width),
            "images": (self.slices, self.height_out, self.width_out),
            "response": (self.slices, 1, 2 * self.width),
            "places": (self.slices, self.projections + 2, 4),
        }

    @property
    def offsets(self) -> dict[str, int]:
        """Bytes from the beginning of the memory to each array, and to its end as `end`."""
        at, offsets = 0, {}
        for name, (slices, rows, columns) in self.shapes.items():
            offsets[name] = at
            at += -(-slices * rows * columns * 4 // 64) * 64
        return offsets | {"end": at}


def graph(arrays: SharedArrays) -> dict[str, Any]:
    """Return the graph that filters rows and adds their back projection to the images.

    Parameters
    ----------
    arrays
        What lies where.

    Returns
    -------
    dict
        As UFO's JSON; pointers are offsets into the shared memory.
    """
    offsets, shapes = arrays.offsets, arrays.shapes

    def node(name: str, plugin: str, **properties: object) -> dict[str, Any]:
        return {
            "name": name,
            "plugin": plugin,
            "properties": {key.replace("_", "-"): value for key, value in properties.items()},
        }

    def taken(name: str) -> dict[str, Any]:
        slices, height, width = shapes[name]
        return node(
            name, "memory-in", pointer=offsets[name], width=width, height=height, bitdepth=32,
            number=slices,
        )  # fmt: skip

    size = 4 * arrays.slices * arrays.height_out * arrays.width_out
    edges = [
        ("rows", "forward", 0), ("forward", "respond", 0), ("response", "respond", 1),
        ("respond", "backward", 0), ("images", "back_project", 0),
        ("backward", "back_project", 1), ("places", "back_project", 2), ("back_project", "sums", 0),
    ]  # fmt: skip
    return {
        "nodes": [
            *(taken(name) for name in shapes),
            node("forward", "fft", dimensions=1),
            node("respond", "opencl", source=_KERNELS, kernel="respond"),
            node("backward", "fft", dimensions=1, auto_zeropadding=False),
            node("back_project", "opencl", source=_KERNELS, kernel="back_project"),
            # a slice is read before its sum is written, so both may be in one place
            node("sums", "memory-out", pointer=offsets["images"], max_size=size),
        ],
        "edges": [
            {"from": {"name": begin}, "to": {"name": end, "input": place}}
            for begin, end, place in edges
        ],
    }
