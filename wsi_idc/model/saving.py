"""A Keras network of one's own as a model of this package: the ``.keras`` file and the ``.json`` beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wsi_idc._util.files import make_folder, replacing
from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.errors import ModelError, OptionError
from wsi_idc.geometry import INPUT_PX
from wsi_idc.model.backend import keras
from wsi_idc.model.calibration import decide
from wsi_idc.model.case_stains import CaseStains
from wsi_idc.model.config import CLASS_NAMES, ModelConfig, file_sha256
from wsi_idc.model.keras_network import load_keras, predict
from wsi_idc.model.stain import Normalization

EVEN = 0.5
"""Threshold of a model that was tuned on nothing."""


def save_model(
    network: keras.Model,
    path: str | Path,
    *,
    tuned_on: LabelledPatches | None = None,
    threshold: float | None = None,
    normalization: Normalization | None = None,
    trained_on: Iterable[str] = (),
    name: str | None = None,
    architecture: str = "own",
    version: str = "1",
    training: Mapping[str, Any] | None = None,
) -> ModelConfig:
    """Save a Keras network so that `load_model` and ``--model`` take it.

    Parameters
    ----------
    network : keras.Model
        Takes float32 ``(n, 48, 48, 3)`` in 0-1, the centre of the patch (`preprocess`), and gives ``(n, 2)``: the
        probabilities of no IDC and of IDC.
    path : path
        Ends in ``.keras``; the ``.json`` of the same name goes beside it. Folders above are made.
    tuned_on : LabelledPatches, optional
        Patches that did not train, of both classes: the calibration and the threshold are fitted to them, every case
        counting the same. Without, the network's own probabilities count.
    threshold : float, optional
        A patch is called IDC from this probability (0-1) on, calibrated where that is; by default what `tuned_on` says,
        else 0.5.
    normalization : Normalization, optional
        What the network wants a slide's glass and stain brought to, where it was trained on patches that
        `CaseStains.pixels` or `normalize` gave. By default patches stay as they are.
    trained_on : iterable of str
        Cases that the weights were fitted to. Metrics on them, and on those in `tuned_on`, are reported as
        optimistically biased.
    name : str, optional
        On sheets; by default the file's.
    architecture, version : str
    training : mapping, optional
        What else shall be known of how the weights were made, as JSON has it.

    Returns
    -------
    ModelConfig
        What stands in the ``.json``.

    Raises
    ------
    ModelError
        Where the network has another input or output, code of its own, or weights that are not finite, or `path`
        another ending.
    OptionError
        Where the threshold is no probability.
    ValueError
        Where `tuned_on` holds one class only.
    OutputError
        Where the folder cannot be written.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ModelError(f"A model cannot be called {path.name}: let it end in .keras.")
    shapes = network.input_shape, network.output_shape
    if shapes != ((None, INPUT_PX, INPUT_PX, 3), (None, len(CLASS_NAMES))):
        raise ModelError(f"A network for IDC patches takes 48x48x3 and gives two probabilities, not {shapes}.")
    if threshold is not None and not 0 <= threshold <= 1:
        raise OptionError(f"A threshold of {threshold} is no probability: choose one from 0 to 1.")
    decision = None
    if tuned_on is not None:
        shown = CaseStains.measure(tuned_on, normalization).pixels(tuned_on, np.arange(len(tuned_on)))
        decision = decide(tuned_on.label, predict(network, shown)[:, 1], tuned_on.case)
    if threshold is None:
        threshold = EVEN if decision is None else decision.threshold
    make_folder(path.parent)
    with replacing(path) as temporary:
        network.save(temporary)
        load_keras(temporary).save(temporary)  # now without the optimizer
    config = ModelConfig(
        name=path.stem if name is None else name,
        sha256=file_sha256(path),
        threshold=threshold,
        version=version,
        architecture=architecture,
        normalization=normalization,
        calibration=None if decision is None else decision.calibration,
        training={
            **(training or {}),
            "cases_train": sorted(set(trained_on)),
            "cases_val": [] if tuned_on is None else sorted(set(tuned_on.case.tolist())),
        },
    )
    config.write(path.with_suffix(".json"))
    return config
