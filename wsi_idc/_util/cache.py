"""A thread-safe LRU cache, and properties that are computed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Generic, Self, TypeVar, overload

Made = TypeVar("Made")


class cached_property(Generic[Made]):  # noqa: N801  (named as what it stands for)
    """As `functools.cached_property` of Python 3.12: in 3.11 that has a lock which all instances share.

    With it, threads that look for tissue on different slides would wait for one another. Two threads that ask the same
    instance at once may both compute; one of the two results is kept.
    """

    def __init__(self, compute: Callable[[Any], Made]) -> None:
        self._compute, self._name = compute, compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Made: ...
    def __get__(self, instance: object | None, owner: type) -> Self | Made:
        if instance is None:
            return self
        made: Made = vars(instance).setdefault(self._name, self._compute(instance))
        return made


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
