"""Take memory and give it back, so that the system has it at hand: ``python touch.py BYTES``.

In huge pages: what was in use as small ones is not given out again as large ones.
"""

import mmap
import sys

if __name__ == "__main__":
    size = max(int(sys.argv[1]), 2**21)
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    for position in range(0, size, mmap.PAGESIZE):
        memory[position] = 1
