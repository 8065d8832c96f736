"""Make the sample scan that the package carries: a crop of the tooth that tomopy ships.

    python tools/make_sample.py ../shared/data/tooth.h5

Both rows, every angle, and the columns around the tooth are kept as they are; nothing is rounded. The
rotation axis stays off the centre of the crop, as it is in the original.
"""

import argparse
from pathlib import Path

import h5py
import numpy as np

SAMPLE = Path(__file__).parents[1] / "src/concertino/storage/sample/tooth_crop.h5"
#: The tooth reaches from column 122 to 426; the rotation axis lies near column 296.
FIRST, LAST, AXIS = 80, 496, 296


def crop(source: Path, target: Path) -> None:
    """Write the crop of the scan in `source` to `target`."""
    with h5py.File(source, "r") as whole, h5py.File(target, "w") as part:
        part["implements"] = "exchange"
        group = part.create_group("exchange")
        group["title"] = "human tooth, crop of the sample scan of tomopy"
        for name in ("data", "data_white", "data_dark"):
            images = whole["exchange"][name]
            made = group.create_dataset(
                name,
                data=images[:, :, FIRST:LAST],
                chunks=(images.shape[0], 1, LAST - FIRST),
                compression="gzip",
                compression_opts=9,
                shuffle=True,
                track_times=False,
            )
            made.attrs.update(dict(images.attrs))
            made.attrs["first_column"] = FIRST
        group["data"].attrs["rotation_axis_px"] = AXIS - FIRST
        theta = whole["exchange/theta"]
        group.create_dataset("theta", data=np.asarray(theta), track_times=False)
        group["theta"].attrs["units"] = theta.attrs["units"]


def main() -> None:
    """Read the command line and write the sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", type=Path, help="tooth.h5 of tomopy, 181 x 2 x 640")
    parser.add_argument("--target", type=Path, default=SAMPLE)
    arguments = parser.parse_args()
    crop(arguments.source, arguments.target)
    print(f"{arguments.target}: {arguments.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
