"""All pictures of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.evaluation.evaluate import Evaluation
from wsi_idc.model.neighbourhood import Context
from wsi_idc.naming import PHANTOM_CASES
from wsi_idc.plotting.caption import context_text, threshold_text
from wsi_idc.plotting.charts import Judged, build_precision_recall, build_reliability, build_roc
from wsi_idc.plotting.confusion import save_confusion
from wsi_idc.plotting.contact import MOST, Tile, save_contact_sheet
from wsi_idc.plotting.page import save_page

CURVES = {
    "roc.png": build_roc,
    "precision-recall.png": build_precision_recall,
    "reliability.png": build_reliability,
}


def draw_evaluation(
    evaluation: Evaluation,
    data: LabelledPatches,
    members: NDArray[np.intp],
    part: str,
    model: str,
    context: Context,
    folder: Path,
) -> None:
    """Write the confusion matrix, the three curves and the contact sheet of the worst errors.

    Parameters
    ----------
    evaluation : Evaluation
    data : LabelledPatches
    members : ndarray of int, shape (m,)
        Rows of `data` that the evaluation is of.
    part : str
        What the cases are, as in "Validation".
    model : str
        Name of the model and the first 8 digits of its hash.
    context : float, "learned" or None
        As in `evaluate`.
    folder : Path
        An existing folder.
    """
    metrics, cases = evaluation.metrics, evaluation.cases
    phantom = any(int(case) in PHANTOM_CASES for case in cases)
    heading = f"{part}: {len(cases)} case{'s' if len(cases) > 1 else ''}, {metrics.n:,} patches"
    model += "" if context is None else f" \N{MIDDLE DOT} context {context_text(context)}"
    subheading = f"{model} \N{MIDDLE DOT} threshold {threshold_text(metrics.threshold)}"
    save_confusion(metrics, folder / "confusion.png", part, model, phantom=phantom)
    judged = Judged(
        evaluation.label, evaluation.prob, metrics, evaluation.intervals, heading, subheading, phantom=phantom
    )
    for name, build in CURVES.items():
        save_page(folder / name, build(judged))
    false_positives, false_negatives = (
        [_tile(data, members[i], evaluation.prob[i]) for i in evaluation.worst(label, MOST)] for label in (0, 1)
    )
    save_contact_sheet(false_positives, false_negatives, heading, subheading, folder / "errors.png", phantom=phantom)


def _tile(data: LabelledPatches, row: np.intp, prob: np.float64) -> Tile:
    x, y = (int(value) + 1 for value in data.position[row])
    return Tile(data.pixels[row], str(data.case[row]), x, y, float(prob))
