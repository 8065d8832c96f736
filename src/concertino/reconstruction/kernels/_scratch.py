"""Memory that each thread has for itself and uses again and again."""

import threading

import numpy as np
from numpy.typing import NDArray


class Scratch(threading.local):
    """Arrays by name; every thread sees its own.

    Attributes
    ----------
    memory
        What this thread has, by name.
    """

    def __init__(self) -> None:
        self.memory: dict[str, NDArray[np.float32]] = {}
