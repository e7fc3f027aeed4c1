"""Make the bundled CancerNet again from the IDC set: ``python pipelines/train_cancernet.py DATA OUT``.

From the published training cases, and all cases in no list but 8863 and 14082, which are kept for demonstration. The
published validation cases choose the epoch, threshold and calibration. No case of the published test list is read.
Training runs three times, each from the weights of the one before. Interrupted, the same command goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from wsi_idc import cli

RECIPE = "--split official --extra-train --exclude 8863,14082 --patches-per-case 100"
RUNS = (
    ("first", "--seed 1 --epochs 26"),
    ("second", "--seed 2 --epochs 30 --learning-rate 0.002"),
    ("", "--seed 3 --epochs 26 --learning-rate 0.002 --dropout 0.2"),
)
"""Folder below OUT of each run, and its options."""


def main(data: str, out: Path) -> int:
    """Run what is not finished; the exit code of the first run that fails, or 0."""
    weights: list[str] = []
    for folder, options in RUNS:
        into = out / folder
        if not (into / "cancernet.json").exists():
            failed = cli.main(
                ["train", "--data", data, "--out", str(into), *RECIPE.split(), *options.split(), *weights, "--resume"]
            )
            if failed:
                return failed
        weights = ["--from", str(into / "cancernet.keras")]
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
