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
        Things that are kept, or what `size` gives of all of them; the latest is kept in any case.
    size : callable
        What a thing counts.
    """

    def __init__(self, most: int, size: Callable[[Made], int] = lambda made: 1) -> None:
        self._most, self._size, self._lock = most, size, Lock()
        self._held = 0
        self._made: OrderedDict[Hashable, Made] = OrderedDict()

    @property
    def held(self) -> int:
        """What all that is kept counts."""
        return self._held

    def clear(self) -> None:
        """Forget all of them; who still uses one keeps it."""
        self.forget_where(lambda key: True)

    def forget(self, key: Hashable) -> None:
        """Forget one; who still uses it keeps it."""
        with self._lock:
            if key in self._made:
                self._drop(key)

    def forget_where(self, is_meant: Callable[[Any], bool]) -> None:
        """Forget those whose key is meant."""
        with self._lock:
            for key in [key for key in self._made if is_meant(key)]:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        self._held -= self._size(self._made.pop(key))

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for a key. Two threads may make it at once; one of the two is kept. None never is."""
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        if made is None:
            return made
        with self._lock:
            if key not in self._made:
                self._made[key] = made
                self._held += self._size(made)
            kept = self._made[key]
            while self._held > self._most and len(self._made) > 1:
                self._drop(next(iter(self._made)))
        return kept
