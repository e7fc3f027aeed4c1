"""Score every case of a data set: ``python examples/cohort.py [DATA [OUT]]``. Interrupted, the same call goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from wsi_idc import load_model
from wsi_idc.errors import WsiIdcError
from wsi_idc.evaluation.cohort import SUMMARY_FILE, failed, summarise, write_cohort_metrics, write_summary
from wsi_idc.scoring.results import score_into
from wsi_idc.sources.locate import open_dataset

SHOWN = ["slide", "status", "patches", "tissue_mm2", "idc_mm2", "balanced_accuracy", "auc"]


def main(data: str = "demo", out: str = "wsi-idc-results") -> None:
    """Score the cases of `data` into `out`, and show those with the largest area called IDC."""
    model, rows, scores = load_model(), [], []
    with open_dataset(data) as dataset:
        for number in dataset.cases:
            try:
                case = dataset.case(number)
                result = score_into(case, model, Path(out))
            except WsiIdcError as error:  # one bad case ends no cohort
                rows.append(failed(number, str(error)))
                continue
            rows.append(summarise(result.scores, case.mpp, None, result.unreadable))
            scores.append(result.scores)
    summary = Path(out, SUMMARY_FILE)
    write_summary(summary, rows)
    write_cohort_metrics(Path(out, "metrics.json"), scores)
    table = pd.read_csv(summary, dtype={"slide": str}).sort_values("idc_mm2", ascending=False)
    print(table[SHOWN].to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
