from __future__ import annotations

from wsi_idc._util.cache import Latest


def test_so_many_things_are_kept_and_the_latest_used() -> None:
    cache, made = Latest[int](2), []
    for key in (1, 2, 1, 3, 1, 2):
        assert cache.get(key, lambda key=key: made.append(key) or key) == key
        assert cache.held <= 2
    assert made == [1, 2, 3, 2]


def test_things_count_by_their_size() -> None:
    cache, made = Latest[bytes](1_000, size=len), []
    for key in (1, 2, 3, 1, 4, 1, 2):
        assert cache.get(key, lambda key=key: made.append(key) or bytes(300)) == bytes(300)
        assert cache.held <= 1_000
    assert made == [1, 2, 3, 4, 2]


def test_the_latest_is_kept_however_large() -> None:
    cache = Latest[bytes](1_000, size=len)
    cache.get(1, lambda: bytes(300))
    large = cache.get(2, lambda: bytes(2_000))
    assert cache.get(2, lambda: b"") is large and cache.held == 2_000
    cache.get(3, lambda: bytes(300))
    assert cache.held == 300


def test_nothing_is_not_kept() -> None:
    cache = Latest[bytes | None](1_000, size=lambda made: len(made or b""))
    assert cache.get(1, lambda: None) is None
    assert cache.get(1, lambda: b"now") == b"now"


def test_what_is_forgotten_is_made_again_and_counts_no_more() -> None:
    cache = Latest[int](100, size=int)
    for key in ("a", 1), ("a", 2), ("b", 3):
        cache.get(key, lambda key=key: key[1])
    cache.get("no tuple", lambda: 4)
    cache.forget(("a", 1))
    assert cache.held == 9
    cache.forget(("a", 1))
    cache.forget("no tuple")
    cache.forget_where(lambda key: key[0] == "a")
    assert cache.held == 3
    assert cache.get(("a", 2), lambda: 4) == 4
    cache.clear()
    assert cache.held == 0
