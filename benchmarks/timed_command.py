"""Run a ``wsi-idc`` command; the last line of stdout is its pace and peak memory as JSON. Linux only."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from wsi_idc.cli import console, main

blocks: list[tuple[float, int]] = []


class TimedBar(console.Bar):
    """A bar that notes when each block of patches was done."""

    def advance(self, patches: int) -> None:
        blocks.append((time.monotonic(), patches))
        super().advance(patches)


console.Bar = TimedBar
code = main(sys.argv[1:])
pace = sum(count for _, count in blocks[1:]) / (blocks[-1][0] - blocks[0][0])
# Not getrusage: that begins with what the parent process held.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({"patches_s": pace, "peak_gb": int(status["VmHWM"].split()[0]) * 1024 / 1e9}))
sys.exit(code)
