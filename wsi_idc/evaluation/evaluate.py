"""Score one part of a split and compare with its labels."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.files import replacing_text, write_json
from wsi_idc.errors import ModelError, OptionError
from wsi_idc.evaluation.bootstrap import Intervals, bootstrap_intervals
from wsi_idc.evaluation.reliability import expected_calibration_error
from wsi_idc.geometry import IDC_PATCH, PATCH_PX
from wsi_idc.metrics import Metrics, compute_metrics
from wsi_idc.model.case_stains import CaseStains
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.model.neighbourhood import Context, Neighbourhood
from wsi_idc.scoring.context import smooth_over_neighbours
from wsi_idc.scoring.scores import DECIMALS, checked_context, checked_threshold
from wsi_idc.splits import SPLIT_NAMES, Split, SplitName

if TYPE_CHECKING:
    from wsi_idc.datasets.labelled import LabelledPatches
    from wsi_idc.model.classifier import Classifier
    from wsi_idc.model.config import ModelConfig

METRICS_FILE = "metrics.json"
PER_CASE_FILE = "per_case.csv"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Labels and probabilities of the patches of a part, and what follows from them.

    Attributes
    ----------
    case : ndarray of str, shape (n,)
    label : ndarray of int8, shape (n,)
    prob : ndarray of float64, shape (n,)
        To 6 decimals, as ``scores.csv`` has it.
    threshold : float
    """

    case: NDArray[np.str_]
    label: NDArray[np.int8]
    prob: NDArray[np.float64]
    threshold: float

    @cached_property
    def cases(self) -> list[str]:
        """Case numbers in ascending order."""
        return sorted(set(self.case.tolist()), key=int)

    @cached_property
    def metrics(self) -> Metrics:
        """Figures over all patches."""
        return compute_metrics(self.label, self.prob, self.threshold)

    @cached_property
    def intervals(self) -> Intervals:
        """95 % intervals over cases."""
        return bootstrap_intervals(self.case, self.label, self.prob, self.threshold)

    @cached_property
    def per_case(self) -> dict[str, Metrics]:
        """Figures of each case."""
        members = {case: self.case == case for case in self.cases}
        return {case: compute_metrics(self.label[of], self.prob[of], self.threshold) for case, of in members.items()}

    def worst(self, label: int, most: int) -> NDArray[np.intp]:
        """Patches of this label that are called wrongly, the surest mistake first."""
        wrong = np.flatnonzero((self.label == label) & ((self.prob >= self.threshold) != (self.label == 1)))
        surest = np.argsort(self.prob[wrong] if label else -self.prob[wrong], kind="stable")
        return wrong[surest[:most]]


def split_of(config: ModelConfig, name: SplitName | None = None, seed: int | None = None) -> Split:
    """The split that a model was trained on, or another one that is named.

    Raises
    ------
    OptionError
        Where neither the model's ``.json`` nor the caller names a split.
    """
    made = config.training
    chosen = name or made.get("split")
    if chosen not in SPLIT_NAMES:
        raise OptionError("The model's .json names no split: name one with --split.")
    seed = int(made.get("seed", 0)) if seed is None else seed
    if chosen != made.get("split"):
        return Split(chosen, seed)
    return Split(chosen, seed, bool(made.get("extra_train", False)), tuple(made.get("exclude", ())))


def check_unseen(cases: Sequence[str], config: ModelConfig, subset: str) -> None:
    """OptionError where the weights were fitted to a case of this part, or a case that is to test tuned them."""
    seen = [case for case in cases if case in (config.has_seen if subset == "test" else config.trained_on)]
    if seen:
        named = ", ".join(seen[:5]) + (f" and {len(seen) - 5} more" if len(seen) > 5 else "")
        claim = (
            "trained or tuned on {}, so this is no test"
            if subset == "test"
            else "trained on {}, so this is no validation"
        )
        raise OptionError(
            f"The model was {claim.format(named)}: choose another --split or --seed, or say --allow-trained."
        )


def left_out_by_patch(data: LabelledPatches, config: ModelConfig, split: Split) -> bool:
    """Whether a part of this split holds patches that did not train the model, though others of their cases did.

    So it is with a model of a split by patch, the same split, and the very data that it was trained on.
    """
    made = config.training
    return (
        split.name == made.get("split") == "patch"
        and split.seed == made.get("seed")
        and data.fingerprint == made.get("fingerprint")
    )


def select(data: LabelledPatches, split: Split, subset: str) -> NDArray[np.intp]:
    """Which rows of the data belong to a part; OptionError where none does."""
    members = np.flatnonzero(split.divide(data.case, data.label) == subset)
    if not len(members):
        raise OptionError(f"The {subset} part of the {split.name} split holds no patch of these data.")
    return members


def evaluate(
    data: LabelledPatches,
    model: Classifier,
    members: NDArray[np.intp] | None = None,
    *,
    threshold: float | None = None,
    context: Context = None,
    batch_size: int = DEFAULT_BATCH,
    on_patches: Callable[[int], None] | None = None,
) -> Evaluation:
    """Score labelled patches and compare with their labels.

    Whether the model has seen their cases is not asked: see `check_unseen`.

    Parameters
    ----------
    data : LabelledPatches
        See `load_patches`.
    model : Classifier
    members : ndarray of int, shape (m,), optional
        Rows of `data`, like those of a part of a split (`select`); by default all.
    threshold : float, optional
        By default the model's own.
    context : float or "learned", optional
        Sigma, in patches, of a blur over each case's scored neighbours, or what the model has learned of them.
    batch_size : int
    on_patches : callable, optional
        Called after each block with its number of patches.

    Returns
    -------
    Evaluation
        Its `metrics`, `intervals` (95 %, over cases) and `per_case` are computed when they are asked for.

    Raises
    ------
    OptionError
        Where `threshold` or `context` cannot be used.
    ModelError
        Where the model takes patches of another size or scale.
    """
    if members is None:
        members = np.arange(len(data))
    if model.config.patch != IDC_PATCH:
        raise ModelError(
            f"The model {model.config.name} takes {model.config.patch.size_px} px at {model.config.patch.mpp:g} µm/px, "
            "and IDC patches are 50 px at 8: choose another --model."
        )
    chosen, learned = checked_threshold(threshold, model.config.threshold), model.config.context
    context = checked_context(context, learned)
    stains = CaseStains.measure(data, model.config.normalization)
    prob = np.empty(len(members))
    step = 16 * batch_size
    for start in range(0, len(members), step):
        rows = members[start : start + step]
        prob[start : start + step] = model.predict_normalized(stains.pixels(data, rows), batch_size)[
            :, model.config.classes.index
        ]
        if on_patches:
            on_patches(len(rows))
    prob = np.round(prob, DECIMALS)
    if context is not None:
        # As in `score`, what is written is what neighbours are inferred from.
        prob = np.round(_with_context(data.case[members], data.position[members], prob, context, learned), DECIMALS)
    return Evaluation(data.case[members], data.label[members], prob, chosen)


def _with_context(
    case: NDArray[np.str_],
    position: NDArray[np.int64],
    prob: NDArray[np.float64],
    context: float | Literal["learned"],
    learned: Neighbourhood | None,
) -> NDArray[np.float64]:
    """Probabilities of all cases, each with its own neighbours; `position` in pixels, as the others shape (n, 2)."""
    inferred = np.empty_like(prob)
    for of in (case == name for name in np.unique(case)):
        if isinstance(context, str):
            assert learned is not None
            inferred[of] = learned.apply(position[of] // PATCH_PX, prob[of])
        else:
            inferred[of] = smooth_over_neighbours(position[of] / PATCH_PX, prob[of], context)
    return inferred


def pooled_figures(
    evaluation: Evaluation, per_case: Mapping[str, dict[str, Any]], about: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """What ``metrics.json`` says over many cases, with the figures of each."""
    return {
        **evaluation.metrics.as_dict(),
        **about,
        "cases": len(per_case),
        "ece": expected_calibration_error(evaluation.label, evaluation.prob),
        "ci": evaluation.intervals,
        "per_case": per_case,
    }


def write_figures(evaluation: Evaluation, folder: Path, about: dict[str, Any]) -> None:
    """Write ``metrics.json`` (figures, `about`, ``ece``, ``ci``, ``per_case``) and ``per_case.csv``."""
    per_case = {case: metrics.as_dict() for case, metrics in evaluation.per_case.items()}
    write_json(folder / METRICS_FILE, pooled_figures(evaluation, per_case, about))
    with replacing_text(folder / PER_CASE_FILE) as file:
        writer = csv.DictWriter(file, ["case", *evaluation.metrics.as_dict()], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"case": case, **figures} for case, figures in per_case.items())
