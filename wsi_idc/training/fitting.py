"""Train CancerNet on labelled patches held in memory as uint8."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsi_idc._util.files import make_folder
from wsi_idc._version import __version__
from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.errors import TrainingError
from wsi_idc.geometry import PATCH_PX
from wsi_idc.metrics import compute_metrics
from wsi_idc.model.backend import keras, own_settings
from wsi_idc.model.calibration import Decision, decide
from wsi_idc.model.case_stains import CaseStains, StainedPatches
from wsi_idc.model.config import ModelConfig, file_sha256
from wsi_idc.model.domain import Domain, fit_domain
from wsi_idc.model.neighbourhood import Neighbourhood, fit_neighbourhood
from wsi_idc.model.stain import Normalization
from wsi_idc.splits import PARTS
from wsi_idc.training.history import Epoch, OnEpoch, best_epoch
from wsi_idc.training.mixing import corrections_told, rows_apart
from wsi_idc.training.recipe import Recipe
from wsi_idc.training.run import MODEL_FILE, OnBatch, TrainingRun, predict_rows

_CHANCE_AUC = 0.55
_SURE_THRESHOLD = 0.02
"""A validation AUC up to this, and a threshold this close to 0 or 1, are no outcome of a sound training."""


@dataclass(frozen=True)
class Trained:
    """The model that was made, and how training went.

    Attributes
    ----------
    doubts : tuple of str
        A sentence for each figure that can only be a fault.
    """

    model: Path
    history: tuple[Epoch, ...]
    doubts: tuple[str, ...] = ()


@own_settings()
def train(
    data: LabelledPatches,
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    corrected: StainedPatches | None = None,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Train CancerNet and keep the epoch of the best validation AUC.

    Parameters
    ----------
    data : LabelledPatches
    recipe : Recipe
    out : path
        Folder for ``cancernet.keras`` with its ``.json``, ``history.csv``, and while training runs
        ``training.json`` and ``checkpoint.keras``.
    resume : bool
        Go on from the checkpoint in `out`, where there is one, to the same outcome as without interruption.
    corrected : StainedPatches, optional
        Patches that somebody corrected, mixed into every batch: see `mix_in`. Their slides neither tune nor test.
    on_batch, on_epoch : callable, optional
        Called with (epoch, patches done, patches in an epoch) after each batch, and with each finished epoch.

    Returns
    -------
    Trained
        The model's calibration and threshold come from the validation part: see `decide`.

    Raises
    ------
    TrainingError
        Where a part has no patches of a class, or `resume` finds a checkpoint of other data or options.
    """
    part = recipe.parts.divide(data.case, data.label)
    trains, tunes, tests = (rows_apart(data, np.flatnonzero(part == name), name, corrected) for name in PARTS)
    trained = fit(
        *(data, recipe, Path(out), trains, tunes),
        resume=resume,
        corrected=corrected,
        on_batch=on_batch,
        on_epoch=on_epoch,
    )
    stains = CaseStains.measure(data, recipe.normalization)
    prob = kept_predictions(trained, data, tunes, stains)
    decision = decide(data.label[tunes], prob, data.case[tunes])
    calibrated = decision.calibration.apply(prob)
    write_config(
        trained,
        decision,
        recipe.normalization,
        learned_context(data, tunes, prob, decision),
        learned_domain(data, trains, stains),
        {
            **corrections_told(provenance(data, recipe, trained, train=trains, val=tunes, test=tests), corrected),
            "best_epoch": best_epoch(trained.history).epoch,
            "threshold_from": "best balanced accuracy on the validation patches, every case counting the same",
            "metrics_val": compute_metrics(data.label[tunes], calibrated, decision.threshold).as_dict(),
        },
    )
    return replace(trained, doubts=doubts(best_epoch(trained.history).val_auc, decision.threshold))


def doubts(auc: float, threshold: float) -> tuple[str, ...]:
    """A sentence for each of these figures that can only be a fault: the validation AUC and the threshold."""
    found = []
    if auc <= _CHANCE_AUC:
        found.append(
            f"The validation AUC is {auc:.3f}, hardly better than chance: check the labels, or train for more --epochs."
        )
    if not _SURE_THRESHOLD <= threshold <= 1 - _SURE_THRESHOLD:
        found.append(
            f"The threshold is {threshold:.4f}, so nearly all patches get one call: check that training and "
            "validation cases are of one kind, or train for more --epochs."
        )
    return tuple(found)


@own_settings()
def fit(
    data: LabelledPatches,
    recipe: Recipe,
    folder: Path,
    trains: NDArray[np.intp],
    watches: NDArray[np.intp],
    *,
    keep_last: bool = False,
    resume: bool = False,
    corrected: StainedPatches | None = None,
    known: CaseStains | None = None,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Fit the weights to some rows of the data, and write them without their ``.json``.

    Parameters
    ----------
    trains : ndarray of int, shape (m,)
        Rows that the weights are fitted to.
    watches : ndarray of int, shape (k,)
        Rows whose AUC says which epoch is kept and when to stop. May be empty with `keep_last`.
    keep_last : bool
        Keep the last epoch instead, and let the watched rows decide nothing.
    known : CaseStains, optional
        Stains of the cases, where the data are too few to measure them on. The moments of batch normalization, for
        which they are too few as well, then stay those of the weights that training goes on from.
    corrected : StainedPatches, optional
        As in `train`.
    data, recipe, folder, resume, on_batch, on_epoch
        As in `train`.
    """
    _check_classes(data.label[trains], "training")
    if not keep_last:
        _check_classes(data.label[watches], "validation")
    run = TrainingRun(data, recipe, make_folder(folder), trains, watches, keep_last, corrected, known)
    run.start(resume)
    for epoch in range(len(run.history) + 1, recipe.epochs + 1):
        if run.stale >= recipe.patience:
            break
        row = run.epoch(epoch, on_batch)
        if on_epoch:
            on_epoch(row)
    return Trained(folder / MODEL_FILE, tuple(run.history))


def _check_classes(label: NDArray[np.int8], name: str) -> None:
    negative, positive = np.bincount(label, minlength=2)
    if not negative or not positive:
        raise TrainingError(
            f"The {name} part has {negative:,} patches without and {positive:,} with IDC, and needs both: "
            "give more cases, or another --split or --seed."
        )


def kept_predictions(
    trained: Trained, data: LabelledPatches, rows: NDArray[np.intp], stains: CaseStains
) -> NDArray[np.float32]:
    """Probability of IDC of some rows, shape ``(len(rows),)``, by the weights that were kept, not calibrated."""
    return predict_rows(keras.models.load_model(trained.model, compile=False), data, rows, stains)


def learned_context(
    data: LabelledPatches, rows: NDArray[np.intp], raw: ArrayLike, decision: Decision
) -> Neighbourhood | None:
    """What neighbours say of a patch, from the network's own probabilities of rows that did not train."""
    prob, position = decision.calibration.apply(raw), data.position[rows] // PATCH_PX
    return fit_neighbourhood(data.case[rows], position, prob, data.label[rows], decision.threshold)


def learned_domain(data: LabelledPatches, trains: NDArray[np.intp], stains: CaseStains) -> Domain | None:
    """Stain and sharpness of the cases that trained; None where stains are not measured."""
    if stains.target is None:
        return None
    return fit_domain([stains.of_case[case] for case in np.unique(data.case[trains]).tolist()])


def write_config(
    trained: Trained,
    decision: Decision,
    normalization: Normalization | None,
    context: Neighbourhood | None,
    domain: Domain | None,
    training: dict[str, Any],
) -> None:
    """Write the ``.json`` beside the weights."""
    config = ModelConfig(
        name="CancerNet",
        sha256=file_sha256(trained.model),
        threshold=decision.threshold,
        calibration=decision.calibration,
        normalization=normalization,
        context=context,
        domain=domain,
        version=__version__,
        training=training,
    )
    config.write(trained.model.with_suffix(".json"))


def provenance(data: LabelledPatches, recipe: Recipe, trained: Trained, **rows: NDArray[np.intp]) -> dict[str, Any]:
    """What made the weights: recipe, data, software, and for each named part its cases and the number of patches."""
    return {
        **recipe.as_dict(),
        "fingerprint": data.fingerprint,
        "epochs_run": len(trained.history),
        "software": {"keras": keras.__version__, "backend": keras.backend.backend()},
        **{f"patches_{part}": len(of) for part, of in rows.items()},
        **{f"cases_{part}": sorted(set(data.case[of].tolist()), key=int) for part, of in rows.items()},
    }
