"""One piece of work after another from several threads.

That helps as nearly all of the time is spent inside libraries that let go of the interpreter: NumPy, SciPy, libsndfile.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MOST_THREADS = 8  # simulating a speaker of 240 s takes half a gigabyte

Item = TypeVar("Item")
Done = TypeVar("Done")


def in_threads(
    work: Callable[[Item], Done], items: Sequence[Item], progress: Callable[[int, int], None] | None = None
) -> list[Done]:
    """What `work` makes of each item, in their order.

    Args:
      progress: called from the calling thread with the items done so far and their number.

    Raises:
      Whatever `work` or `progress` raises; what has not begun by then is not begun.
    """
    done: list[Done] = []
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS))
    try:
        for result in pool.map(work, items):
            done.append(result)
            if progress is not None:
                progress(len(done), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return done
