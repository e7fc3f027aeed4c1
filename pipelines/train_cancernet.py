"""Make the bundled CancerNet again from the IDC set: ``python pipelines/train_cancernet.py DATA OUT``.

From the published training and validation cases, and all cases in no list but 8863 and 14082, which are kept for
demonstration. No case of the published test list is read. Interrupted, the same command goes on.
"""

from __future__ import annotations

import sys

from wsi_idc.cli import main

RECIPE = "--split official --extra-train --exclude 8863,14082 --seed 1 --epochs 50 --patches-per-case 100 --folds 3"

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data, out = sys.argv[1:]
    sys.exit(main(["train", "--data", data, "--out", out, *RECIPE.split(), "--resume"]))
