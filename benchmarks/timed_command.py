"""Run a ``wsi-idc`` command; the last line of stdout says as JSON how it went. Linux only.

``began`` and ``ended`` are when the first block of patches was begun and the last one done, by `time.monotonic`.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

from wsi_idc.cli import console, main
from wsi_idc.scoring import engine, tasks

began: list[float] = []
done: list[tuple[float, int]] = []


class TimedBar(console.Bar):
    """A bar that notes when each block of patches was done."""

    def advance(self, patches: int) -> None:
        done.append((time.monotonic(), patches))
        super().advance(patches)


@functools.wraps(tasks.classify_task)
def timed_task(*args: Any, task: Any = tasks.classify_task) -> Any:
    """Note when each block is begun."""
    began.append(time.monotonic())
    return task(*args)


console.Bar = TimedBar
engine.classify_task = tasks.classify_task = timed_task
code = main(sys.argv[1:])
went = {"began": began[0], "ended": done[-1][0], "patches": sum(count for _, count in done)}
# Not getrusage: that begins with what the parent process held.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({**went, "peak_gb": int(status["VmHWM"].split()[0]) * 1024 / 1e9}))
sys.exit(code)
