"""Results and the progress bar on one terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

CODE = """
import click
from wsi_idc.cohort import ScoredCohort
from wsi_idc.cli.all_slides import _Shown
from wsi_idc.scoring.engine import Outcome
from types import SimpleNamespace
from pathlib import Path
shown = _Shown(Path("out"), quiet=False, drawn=True)
with shown.step("score", 3, 30):
    for i in range(3):
        shown.patches(10)
        shown.slide(Outcome(f"{i}", SimpleNamespace(sheet_path=Path(f"out/{i}/heatmap.png"), labels=None)))
"""


def test_results_stand_on_lines_of_their_own() -> None:
    parent, child = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=child, stderr=child, env=environ)
    os.close(child)
    written = b""
    while True:
        try:
            got = os.read(parent, 65_536)
        except OSError:
            break
        if not got:
            break
        written += got
    assert process.wait() == 0
    os.close(parent)
    # What stands left of a path on its line: nothing that was not erased.
    for i in range(3):
        before = re.search(rf"([^\r\n]*)out/{i}/heatmap.png\r\n", written.decode())
        assert before is not None
        assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", before[1]) == "", before[1]
