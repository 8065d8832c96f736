"""What shows a running scan: its state, its newest frame and slices, and a page in the browser.

`LiveState` knows nothing of any display; `LivePage` shows one in the browser.
"""

from ._follow import FrameFollower
from ._page import LivePage
from ._picture import LONGEST_SIDE_PX, Picture, downsample
from ._progress import RunProgress, RunTracker, StreamProgress
from ._settings import ColourMap, LimitsMode, PageSettings
from ._state import LiveState

__all__ = [
    "LONGEST_SIDE_PX",
    "ColourMap",
    "FrameFollower",
    "LimitsMode",
    "LivePage",
    "LiveState",
    "PageSettings",
    "Picture",
    "RunProgress",
    "RunTracker",
    "StreamProgress",
    "downsample",
]

for _name in __all__:
    if _name not in ("ColourMap", "LONGEST_SIDE_PX", "LimitsMode"):
        globals()[_name].__module__ = __name__
del _name
