"""What a split by patch flatters: ``python benchmarks/patch_leak.py DATA BY_PATCH.keras OUT_OF_FOLD.csv``.

Judges the test patches of a model of ``train --split patch`` twice: by that model, which has seen other patches of the
same slides, and by the out-of-fold predictions of ``train --folds``, whose models saw none. Intervals are over cases.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from wsi_idc import load_model
from wsi_idc.datasets.labelled import load_patches
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.evaluation.evaluate import evaluate, select, split_of
from wsi_idc.metrics import compute_metrics

RESAMPLES = 1_000


def main(data: str, model_path: str, out_of_fold: str) -> None:
    with Path(out_of_fold).open(newline="") as file:
        rows = list(csv.DictReader(file))
    unseen = {(row["case"], int(row["minx"]), int(row["miny"])): row for row in rows}
    model = load_model(model_path)
    with open_dataset(data) as dataset:
        patches = load_patches(dataset, [case for case in dataset.cases if case in {row["case"] for row in rows}])
    test = select(patches, split_of(model.config), "test")
    keys = [(patches.case[i], *patches.position[i].tolist()) for i in test]
    label, case = patches.label[test], patches.case[test]
    leaked = evaluate(patches, model, test).prob
    clean = np.array([float(unseen[key]["prob_idc"]) for key in keys])
    called = np.array([unseen[key]["pred"] == "1" for key in keys])
    print(f"{len(test):,} patches of {len(set(case)):,} cases")
    first = compute_metrics(label, leaked.astype(np.float64), model.config.threshold)
    print(f"by patch: AUC {first.auc:.3f}, balanced accuracy {first.balanced_accuracy:.3f}")
    accuracy = (called[label == 1].mean() + 1 - called[label == 0].mean()) / 2
    print(f"by case:  AUC {roc_auc_score(label, clean):.3f}, balanced accuracy {accuracy:.3f}")
    rng, of_case = np.random.default_rng(0), [np.flatnonzero(case == one) for one in np.unique(case)]
    gains = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([of_case[i] for i in rng.integers(0, len(of_case), len(of_case))])
        gains.append(roc_auc_score(label[drawn], leaked[drawn]) - roc_auc_score(label[drawn], clean[drawn]))
    low, middle, high = np.percentile(gains, [2.5, 50, 97.5])
    print(f"the first AUC is {middle:.3f} higher (95 % {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
