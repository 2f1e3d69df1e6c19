"""Batches drawn on a thread while the caller learns from the one before."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Draws a burst of batches one ahead; the batches are those that plain calls would have given.

    A draw runs only between the caller's first and last batch of one burst, so nothing that is added after a
    burst is missed, and the draws' order is that of plain calls. What the caller changes in the buffer during
    a burst (priorities, for one) is seen or not by the next draw as the threads happen to run: do not.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "prefetch")

    def burst(self, draw: Callable[[int], T], count: int) -> Iterator[T]:
        """`count` results of `draw(i % 2)`, the number of the buffer that it may fill: i and i - 1 live on.

        An error of a draw is raised where its batch would have come.
        """
        ahead = self._thread.submit(draw, 0) if count > 0 else None
        for i in range(1, count + 1):
            assert ahead is not None
            ready = ahead.result()
            ahead = self._thread.submit(draw, i % 2) if i < count else None
            yield ready

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown()
