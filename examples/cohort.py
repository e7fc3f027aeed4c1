"""Score every case of a data set: ``python examples/cohort.py [DATA [OUT]]``. Interrupted, the same call goes on."""

from __future__ import annotations

import sys

import pandas as pd

from wsi_idc import score_cohort

SHOWN = ["slide", "status", "patches", "tissue_mm2", "idc_mm2", "balanced_accuracy", "auc"]


def main(data: str = "demo", out: str = "wsi-idc-results") -> None:
    """Score the cases of `data` into `out`, and show those with the largest area called IDC."""
    cohort = score_cohort(data, out)
    for problem in cohort.problems:  # one bad case ends no cohort
        print(problem, file=sys.stderr)
    table = pd.read_csv(cohort.out / "summary.csv", dtype={"slide": str}).sort_values("idc_mm2", ascending=False)
    print(table[SHOWN].to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
