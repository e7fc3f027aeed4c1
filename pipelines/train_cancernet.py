"""Make the bundled CancerNet again from the IDC set: ``python pipelines/train_cancernet.py DATA OUT``.

From the published training cases, and all cases in no list but 8863 and 14082, which are kept for demonstration. The
published validation cases choose the epoch, threshold and calibration. No case of the published test list is read.
Training runs twice, the second time from the weights of the first. Interrupted, the same command goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wsi_idc.cli import main

RECIPE = "--split official --extra-train --exclude 8863,14082 --patches-per-case 100"
FIRST = "--seed 1 --epochs 26"
SECOND = "--seed 2 --epochs 30 --learning-rate 0.002"


def train(data: str, out: Path, *options: str) -> int:
    """Train into a folder, unless that holds a finished model."""
    if (out / "cancernet.json").exists():
        return 0
    return main(["train", "--data", data, "--out", str(out), *RECIPE.split(), *options, "--resume"])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data, folder = sys.argv[1], Path(sys.argv[2])
    failed = train(data, folder / "first", *FIRST.split())
    sys.exit(failed or train(data, folder, *SECOND.split(), "--from", str(folder / "first" / "cancernet.keras")))
