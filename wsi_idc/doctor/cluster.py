"""Whether a dask scheduler answers, and its workers are fit for a run from here."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from wsi_idc._version import __version__
from wsi_idc.datasets.opening import locate_data
from wsi_idc.doctor.check import Check, fail, ok, warn
from wsi_idc.errors import DataNotFoundError, ModelError
from wsi_idc.model.locating import fetched

_SAME = ("keras", "openvino", "tensorflow", "numpy", "imagecodecs", "openslide-bin")
"""Their versions can change probabilities."""

_PROTOCOL = ("dask", "distributed")
"""Their versions can keep a scheduler and its workers from understanding each other."""


@dataclass(frozen=True)
class Seen:
    """What a worker tells of itself.

    Attributes
    ----------
    host : str
    versions : mapping
        By name of the package; empty where it is not installed.
    missing : tuple of str
        Which of the paths it was asked for are not there.
    """

    host: str
    versions: Mapping[str, str]
    missing: tuple[str, ...]


def look(paths: Sequence[str]) -> Seen:
    """What a worker is asked."""
    return Seen(platform.node(), versions(), tuple(path for path in paths if not Path(path).exists()))


def versions() -> dict[str, str]:
    """Of what must be the same on both sides."""
    found = {"wsi-idc": __version__, "Python": ".".join(platform.python_version_tuple()[:2])}
    for name in (*_SAME, *_PROTOCOL):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def scheduler(address: str, data: str | Path | None, model: str | Path | None) -> Iterator[Check]:
    """Whether the scheduler answers, how many workers it has, their versions, and the paths that they see."""
    from wsi_idc.scoring.cluster import connect

    paths = _asked_for(data, model)
    with connect(address) as client:
        threads = client.nthreads()  # type: ignore[no-untyped-call]
        yield ok("scheduler", f"{address}: {_count(len(threads), 'worker')}, {_count(sum(threads.values()), 'thread')}")
        found = client.run(look, paths, on_error="return")
    told = {worker: seen for worker, seen in found.items() if isinstance(seen, Seen)}
    for worker, error in found.items():
        if worker not in told:
            yield fail(
                "workers",
                f"{worker} cannot answer ({type(error).__name__}: {error}): install wsi-idc {__version__} there.",
            )
    if told:
        yield from compare_versions(versions(), list(told.values()))
        yield from _compare_paths(paths, list(told.values()))


def _asked_for(data: str | Path | None, model: str | Path | None) -> list[str]:
    """Data and model of a run, as it would send them to workers."""
    paths: list[str] = []
    if model is not None:
        with suppress(ModelError):
            paths.append(str(fetched(model)))
    with suppress(DataNotFoundError):
        paths.append(str(locate_data(data).resolve()))
    return paths


def compare_versions(here: Mapping[str, str], workers: Sequence[Seen]) -> Iterator[Check]:
    """What differs between this machine and its workers.

    Of wsi-idc, Python and what changes probabilities all must be the same; other versions of dask are a warning.
    """
    other = Counter(
        (name, seen.versions.get(name, ""))
        for seen in workers
        for name in here
        if seen.versions.get(name, "") != here[name]
    )
    texts = {
        (
            name,
            version,
        ): f"{name} {version or 'is missing'} on {_count(count, 'worker')}, {here[name] or 'missing'} here"
        for (name, version), count in sorted(other.items())
    }
    serious = [text for (name, _), text in texts.items() if name not in _PROTOCOL]
    light = [text for (name, _), text in texts.items() if name in _PROTOCOL]
    if serious:
        yield fail("workers", f"{'; '.join(serious)}: install the same on both sides.")
    if light:
        yield warn("workers", f"{'; '.join(light)}: install the same on both sides if the connection breaks.")
    if not texts:
        yield ok("workers", "the same versions as here")


def _compare_paths(paths: Sequence[str], workers: Sequence[Seen]) -> Iterator[Check]:
    lacking = {path: [seen.host for seen in workers if path in seen.missing] for path in paths}
    for path, hosts in lacking.items():
        if hosts:
            yield fail(
                "paths", f"{path} is not there on {', '.join(sorted(set(hosts)))}: mount it under the same path."
            )
    if paths and not any(lacking.values()):
        yield ok("paths", f"all workers see {' and '.join(paths)}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
