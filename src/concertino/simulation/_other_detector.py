"""A second detector that sees the same sample in the same beam."""

from dataclasses import replace

from ._detector import Detector
from ._twin import Twin


def seen_by(twin: Twin, detector: Detector) -> Twin:
    """Return what another detector sees of a twin's sample, in the same beam, at the same time.

    Both have their centres on the same ray. The beam brings as many photons per area to both.

    Parameters
    ----------
    twin : Twin
        The sample, its rotation axis and the beam.
    detector : Detector
        The other detector.

    Returns
    -------
    Twin
        Of the other detector; always in focus.

    Notes
    -----
    The stripes that a monochromator leaves in the beam are drawn anew for each field of view.

    Examples
    --------
    >>> from concertino.simulation import Detector, Phantom, Twin, seen_by
    >>> coarse = Twin(Phantom(()), detector=Detector((64, 64), pixel_size_mm=0.01), axis_offset_px=4)
    >>> seen_by(coarse, Detector((64, 64), pixel_size_mm=0.002)).axis_offset_px
    20.0
    """
    before, after = twin.detector, detector
    finer = before.pixel_size_mm / after.pixel_size_mm
    (height, width), (new_height, new_width) = before.field_mm, after.field_mm
    beam = replace(
        twin.beam,
        flux=twin.beam.flux / finer**2,
        vertical_width=twin.beam.vertical_width * height / new_height,
        horizontal_width=twin.beam.horizontal_width * width / new_width,
        wander_px=twin.beam.wander_px * finer,
    )
    return Twin(
        twin.phantom,
        beam,
        detector,
        grating=twin.grating,
        axis_offset_px=twin.axis_offset_px * finer,
        axis_tilt_rad=twin.axis_tilt_rad,
        noise=twin.noise,
        seed=twin.seed + 1,  # other noise
    )
