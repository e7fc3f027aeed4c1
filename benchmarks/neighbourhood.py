"""What the learned neighbourhood gains on whole cases, and what it does to small foci.

``python benchmarks/neighbourhood.py DATA [--model FILE] [--write]``: whole cases of the published validation list, 8863
and 14082. A validation case is inferred by what the others taught, the other two by what all of them taught.
``--write`` puts that into the model's ``.json``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from wsi_idc.datasets.labelled import LabelledPatches, load_patches
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.evaluation.evaluate import evaluate
from wsi_idc.geometry import PATCH_PX
from wsi_idc.model.classifier import bundled_model, load_model
from wsi_idc.model.neighbourhood import Neighbourhood, fit_neighbourhood, is_whole
from wsi_idc.scoring.context import smooth_over_neighbours
from wsi_idc.splits import official_parts

UNTOUCHED = ("8863", "14082")


def position(data: LabelledPatches, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    return data.position[rows] // PATCH_PX


def learn(data: LabelledPatches, prob: NDArray[np.float64], cases: list[str], threshold: float) -> Neighbourhood:
    rows = np.flatnonzero(np.isin(data.case, cases))
    learned = fit_neighbourhood(data.case[rows], position(data, rows), prob[rows], data.label[rows], threshold)
    assert learned is not None, "fewer than three whole cases"
    return learned


def planted(learned: Neighbourhood) -> None:
    """Probability in the middle of foci in healthy tissue, and of lone false calls beside them."""
    rows, columns = np.mgrid[:21, :21]
    where = np.column_stack([columns.ravel(), rows.ravel()])
    print("\nprobability of the patches of a focus in tissue of 0.02, before and after")
    for name, high, wide in (("1 patch", 1, 1), ("2 patches", 1, 2), ("4 patches", 2, 2), ("9 patches", 3, 3)):
        prob = np.full((21, 21), 0.02)
        focus = np.s_[10 : 10 + high, 10 : 10 + wide]
        said = []
        for before in (0.5, 0.9, 0.99):
            prob[focus] = before
            after = learned.apply(where, prob.ravel()).reshape(21, 21)[focus]
            said.append(f"{before} -> {after.mean():.3f}")
        print(f"{name:>10}: {'; '.join(said)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    model = load_model(asked.model)
    with open_dataset(asked.data) as dataset:
        held = {case for case, part in official_parts().items() if part == "val"}
        cases = [case for case in dataset.cases if case in held or case in UNTOUCHED]
        data = load_patches(dataset, cases)
    prob = evaluate(data, model).prob
    of = {case: np.flatnonzero(data.case == case) for case in cases}
    whole = [case for case in cases if is_whole(position(data, of[case]))]
    teachers = [case for case in whole if case not in UNTOUCHED]
    print("case     patches  AUC alone, blurred by 1, learned   balanced accuracy alone, blurred, learned")
    table = []
    for case in whole:
        rows, label = of[case], data.label[of[case]]
        learned = learn(data, prob, [one for one in teachers if one != case], model.config.threshold)
        blurred = smooth_over_neighbours(position(data, rows).astype(float), prob[rows], 1.0)
        shown = (prob[rows], blurred, learned.apply(position(data, rows), prob[rows]))
        aucs = [roc_auc_score(label, one) for one in shown]
        accuracy = [balanced_accuracy_score(label, one >= model.config.threshold) for one in shown]
        table.append([*aucs, *accuracy])
        print(f"{case:>6} {len(rows):>9,}  " + "  ".join(f"{value:.3f}" for value in table[-1]))
    print(f"  mean {'':>9}  " + "  ".join(f"{value:.4f}" for value in np.mean(table, axis=0)))
    learned = learn(data, prob, teachers, model.config.threshold)
    planted(learned)
    if asked.write:
        replace(model.config, context=learned).write((asked.model or bundled_model()).with_suffix(".json"))


if __name__ == "__main__":
    main()
