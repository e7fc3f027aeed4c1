"""Train on every case that is not for testing, with a threshold from models that did not see the case they judge."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.files import make_folder, replacing_text
from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.errors import TrainingError
from wsi_idc.metrics import compute_metrics
from wsi_idc.model.calibration import Decision, decide
from wsi_idc.model.case_stains import CaseStains
from wsi_idc.splits import deal_folds
from wsi_idc.training.fitting import (
    Trained,
    doubts,
    fit,
    kept_predictions,
    learned_context,
    learned_domain,
    provenance,
    write_config,
)
from wsi_idc.training.history import OnEpoch
from wsi_idc.training.recipe import Recipe
from wsi_idc.training.run import OnBatch

OUT_OF_FOLD_FILE = "out-of-fold.csv"


def cross_fit(
    data: LabelledPatches,
    recipe: Recipe,
    folds: int,
    out: str | Path,
    *,
    resume: bool = False,
    on_training: Callable[[str], None] | None = None,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Train on the training and validation parts together, after as many trainings that each leave out a fold.

    The validation part is the first fold, and the cases of the training part are dealt to the others. Nothing is
    chosen on a fold that is left out: every training runs all its epochs and keeps the last. Calibration and threshold
    of the final model come from the predictions of all folds, those of a fold's model from the other folds', so that
    each can be tested on the cases that it left out.

    Parameters
    ----------
    folds : int
        At least 2.
    out : path
        Folder for the final model, as with `train`; ``fold-1`` and so on with the models of the folds; and
        ``out-of-fold.csv`` with the calibrated probability of every patch by the model that did not see its case.
    on_training : callable, optional
        Called with the name of each training before it starts.
    data, recipe, resume, on_batch, on_epoch
        As in `train`.

    Raises
    ------
    TrainingError
        As with `train`, and where the split is by patch or gives a fold no case.
    """
    if recipe.split == "patch":
        raise TrainingError(
            "Folds are made of whole cases, which a split by patch tears apart: choose another --split."
        )
    folder = make_folder(Path(out))
    part = recipe.parts.divide(data.case, data.label)
    fold = deal_folds(data.case, data.label, part, folds, recipe.seed)
    used, tests = np.flatnonzero(fold), np.flatnonzero(part == "test")
    sides = {k: (np.flatnonzero((fold > 0) & (fold != k)), np.flatnonzero(fold == k)) for k in range(1, folds + 1)}
    if not all(len(held) for _, held in sides.values()):
        raise TrainingError(f"There are too few cases for {folds} folds: give more cases or fewer --folds.")

    def one(name: str, into: Path, trains: NDArray[np.intp], held: NDArray[np.intp]) -> Trained:
        if on_training:
            on_training(name)
        return fit(
            data, recipe, into, trains, held, keep_last=True, resume=resume, on_batch=on_batch, on_epoch=on_epoch
        )

    stains = CaseStains.measure(data, recipe.normalization)
    made, raw = {}, np.full(len(data), np.nan)
    for k, (trains, held) in sides.items():
        made[k] = one(f"Fold {k} of {folds}", folder / f"fold-{k}", trains, held)
        raw[held] = kept_predictions(made[k], data, held, stains)
    decisions = {k: decide(data.label[trains], raw[trains], data.case[trains]) for k, (trains, _) in sides.items()}
    prob, figures = np.full(len(data), np.nan), {}
    for k, (trains, held) in sides.items():
        prob[held] = decisions[k].calibration.apply(raw[held])
        figures[k] = compute_metrics(data.label[held], prob[held], decisions[k].threshold).as_dict()
        write_config(
            made[k],
            decisions[k],
            recipe.normalization,
            learned_context(data, trains, raw[trains], decisions[k]),
            learned_domain(data, trains, stains),
            {
                **provenance(data, recipe, made[k], train=trains, held_out=held),
                "fold": k,
                "threshold_from": "best balanced accuracy on the other folds, each predicted by a model that did not "
                "see it, every case counting the same",
                "metrics_held_out": figures[k],
            },
        )
    _write_out_of_fold(folder / OUT_OF_FOLD_FILE, data, fold, prob, decisions)
    final = one("All cases", folder, used, used[:0])
    decision = decide(data.label[used], raw[used], data.case[used])
    write_config(
        final,
        decision,
        recipe.normalization,
        learned_context(data, used, raw[used], decision),
        learned_domain(data, used, stains),
        {
            **provenance(data, recipe, final, train=used, val=used[:0], test=tests),
            "folds": folds,
            "threshold_from": "best balanced accuracy on out-of-fold predictions, every case counting the same",
            "metrics_folds": figures,
        },
    )
    aucs = [figures[k]["auc"] for k in figures]
    return replace(final, doubts=doubts(min(auc for auc in aucs if auc is not None), decision.threshold))


def _write_out_of_fold(
    path: Path,
    data: LabelledPatches,
    fold: NDArray[np.int64],
    prob: NDArray[np.float64],
    decisions: dict[int, Decision],
) -> None:
    with replacing_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "minx", "miny", "fold", "label", "prob_idc", "pred"])
        for i in np.flatnonzero(fold):
            called = prob[i] >= decisions[int(fold[i])].threshold
            writer.writerow([data.case[i], *data.position[i], fold[i], data.label[i], f"{prob[i]:.6f}", int(called)])
