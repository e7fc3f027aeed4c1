"""Go on from a model's weights with corrected patches alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from wsi_idc._version import __version__
from wsi_idc.errors import TrainingError
from wsi_idc.model.backend import own_settings
from wsi_idc.model.case_stains import StainedPatches
from wsi_idc.model.config import ModelConfig, file_sha256, read_config
from wsi_idc.training.fitting import Trained, fit
from wsi_idc.training.history import OnEpoch
from wsi_idc.training.mixing import corrections_told
from wsi_idc.training.recipe import Recipe
from wsi_idc.training.run import OnBatch


@own_settings()
def train_on_corrections(
    corrected: StainedPatches,
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Fit a model's weights to corrected patches, and keep the last epoch.

    Nothing tells how well the new weights do on other slides: threshold and calibration stay those of the old model,
    and so do the moments of batch normalization.

    Parameters
    ----------
    corrected : StainedPatches
    recipe : Recipe
        With `start`; the split means nothing.
    out, resume, on_batch, on_epoch
        As in `train`.

    Raises
    ------
    TrainingError
        Where the corrections are all of one class, or as in `train`.
    """
    if recipe.start is None:
        raise TrainingError("Corrections alone train no network from fresh weights: name a model with --from.")
    if len(np.unique(corrected.patches.label)) < 2:
        raise TrainingError(
            "The corrections are all of one class, which alone teaches only that class: correct patches of the other, "
            "too, or mix in the training data with --data."
        )
    rows = np.arange(len(corrected), dtype=np.intp)
    trained = fit(
        *(corrected.patches, recipe, Path(out), rows, rows[:0]),
        keep_last=True,
        known=corrected.stains,
        resume=resume,
        on_batch=on_batch,
        on_epoch=on_epoch,
    )
    old = read_config(recipe.start.path.with_suffix(".json"))
    _write_config(trained, old, recipe, corrected)
    return trained


def _write_config(trained: Trained, old: ModelConfig, recipe: Recipe, corrected: StainedPatches) -> None:
    """The old model's ``.json`` with the new weights; the split that it was made on stays, for `evaluate`."""
    assert recipe.start is not None
    training = {
        **old.training,
        "start": recipe.start.sha256,
        "corrected_with": {"epochs": len(trained.history), "learning_rate": recipe.learning_rate, "seed": recipe.seed},
        "threshold_from": f"the model {recipe.start.sha256[:8]} that training went on from",
    }
    config = replace(
        old,
        sha256=file_sha256(trained.model),
        version=__version__,
        training=corrections_told(training, corrected),
    )
    config.write(trained.model.with_suffix(".json"))
