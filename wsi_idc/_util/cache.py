"""A thread-safe LRU cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Latest(Generic[Made]):
    """The latest things used, by key, for all threads.

    Parameters
    ----------
    most : int
        Things that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._made: OrderedDict[Hashable, Made] = OrderedDict()

    def clear(self) -> None:
        """Forget all of them; who still uses one keeps it."""
        with self._lock:
            self._made.clear()

    def forget(self, key: Hashable) -> None:
        """Forget one; who still uses it keeps it."""
        with self._lock:
            self._made.pop(key, None)

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for a key. Two threads may make it at once; one of the two is kept."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        with self._lock:
            kept = self._made.setdefault(key, made)
            while len(self._made) > self._most:
                self._made.popitem(last=False)
        return kept
