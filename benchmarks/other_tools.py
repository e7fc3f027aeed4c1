from collections.abc import Sequence

from benchmarks.rows import Scale, SkippedError


def wsinfer(scale: Scale) -> Sequence[float]:
    raise SkippedError("wsinfer is not installed")


def tiatoolbox(scale: Scale) -> Sequence[float]:
    raise SkippedError("tiatoolbox is not installed")
