"""The angle of each projection of a stored run."""

from concertino.documents import AngleRecord, ProjectionAngles, TomoBlock

from ._run import Run


def run_angles(run: Run) -> ProjectionAngles:
    """Return the angle of each projection of a stored run, and how well it is known.

    Parameters
    ----------
    run
        A tomography run, see `open_run`.

    Returns
    -------
    ProjectionAngles
        ``(angles_deg, uncertainty_deg, source)``: float64, (num_projections,), both; and where they are from.

    Raises
    ------
    DocumentError
        If it is no tomography run.
    """
    return angle_record(run).angles()


def angle_record(*runs: Run) -> AngleRecord:
    """Return all that the documents of the runs of a scan say of its angles; later runs win.

    Raises
    ------
    DocumentError
        If it is no tomography run.
    """
    record = AngleRecord(TomoBlock.from_start(runs[0].start))
    for stream in (run[name] for run in runs for name in run.streams):
        for descriptor in stream.descriptors:
            record.take("descriptor", descriptor)
        for event in stream.events:
            record.take("event", event)
    return record
