"""Speed and memory: ``python benchmarks/run.py [--quick] [--json FILE] [--only ID]...``

Prints a table, and writes ``{machine, rows: [{id, value, target, status, runs, why}]}``. A value is the median of its
runs; what is compared is measured in turn within one call. Exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import other_tools, reading, rows


@dataclass(frozen=True)
class Target:
    """What a row is to reach: at least, or at most, a value."""

    sign: Literal[">=", "<="]
    value: float
    unit: str = ""

    def met(self, value: float) -> bool:
        return value >= self.value if self.sign == ">=" else value <= self.value

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}{self.unit}"


TARGETS = {
    "score-all": Target(">=", 0.95),
    "fast-cpu": Target(">=", 2.5),
    "growth-time": Target("<=", 1.05),
    "growth-memory": Target("<=", 1.1),
    "store-read": Target(">=", 15),
    "read-tiles": Target(">=", 3),
    "vs-wsinfer": Target(">=", 15),
    "vs-tiatoolbox": Target(">=", 15),
    "start": Target("<=", 1.5, " s"),
    "help": Target("<=", 1.5),
    "draw": Target("<=", 1.5),
    "train": Target(">=", 0.9),
    "bootstrap": Target("<=", 10, " s"),
}

QUICK_TARGETS = {"score-all": Target(">=", 0.9)}
"""Where the smaller cohorts of ``--quick`` count for less."""

ALSO: dict[str, dict[str, Target | None]] = {
    "growth-memory": {"GB at most": Target("<=", 1)},
    "read-tiles": {reading.BY_4: Target(">=", 8), **dict.fromkeys(reading.MORE)},
    "vs-wsinfer": {other_tools.STEADY: None},
    "vs-tiatoolbox": {other_tools.STEADY: None},
}
"""Further values, and what a row must reach of them."""

MEASURES: dict[tuple[str, ...], Callable[[rows.Scale], Sequence[float] | dict[str, Sequence[float]]]] = {
    ("score-all",): rows.score_all_pace,
    ("fast-cpu",): rows.fast_cpu,
    ("growth-time", "growth-memory"): rows.growth,
    ("store-read",): rows.store_read,
    ("read-tiles",): reading.read_tiles,
    ("vs-wsinfer",): other_tools.wsinfer,
    ("vs-tiatoolbox",): other_tools.tiatoolbox,
    ("start",): rows.start,
    ("help",): rows.help_page,
    ("draw",): rows.draw,
    ("train",): rows.train,
    ("bootstrap",): rows.bootstrap,
}


@dataclass(frozen=True)
class Row:
    """A line of the table; `why` says what a reader of the status must know."""

    id: str
    value: float | None
    target: str
    status: Literal["ok", "short", "skipped"]
    runs: list[float]
    why: str = ""


def measure(ids: tuple[str, ...], scale: rows.Scale) -> Iterator[Row]:
    """The rows of one measurement."""
    targets = {name: (scale.quick and QUICK_TARGETS.get(name)) or TARGETS[name] for name in ids}
    try:
        found = MEASURES[ids](scale)
    except rows.SkippedError as error:
        for name in ids:
            yield Row(name, None, str(targets[name]), "skipped", [], str(error))
        return
    except Exception as error:  # whatever it is, the other rows are measured
        for name in ids:
            yield Row(name, None, str(targets[name]), "short", [], f"{type(error).__name__}: {error}")
        return
    runs = found if isinstance(found, dict) else {ids[0]: found}
    for name in ids:
        value, told = statistics.median(runs[name]), []
        met = targets[name].met(value)
        for what, wanted in ALSO.get(name, {}).items():
            most = wanted is not None and wanted.sign == "<="
            second = max(runs[what]) if most else statistics.median(runs[what])
            met = met and (wanted is None or wanted.met(second))
            told.append(f"{what}: {second:.2f}" + ("" if wanted is None else f" ({wanted})"))
        yield Row(name, value, str(targets[name]), "ok" if met else "short", list(runs[name]), "; ".join(told))


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    packages = ("numpy", "keras", "tensorflow", "openvino", "zarr", "dask", "pillow", "isal")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages if _installed(name)},
    }


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller cohorts and fewer runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    parser.add_argument("--only", action="append", choices=TARGETS, metavar="ID", help="this row; may be repeated")
    given = parser.parse_args()
    table = []
    print(f"{'':14} {'value':>8} {'target':>9}  status")
    with tempfile.TemporaryDirectory() as folder:
        scale = rows.Scale(given.quick, Path(folder))
        for ids in MEASURES:
            if given.only and not set(ids) & set(given.only):
                continue
            for row in measure(ids, scale):
                value = "" if row.value is None else f"{row.value:.2f}"
                print(f"{row.id:14} {value:>8} {row.target:>9}  {row.status}  {row.why}", flush=True)
                table.append(row)
    if given.json:
        given.json.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in table]}, indent=2))
    return 1 if any(row.status == "short" for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
