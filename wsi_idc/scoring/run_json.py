"""``run.json``: what made the results of a slide, and the key that says whether they still hold."""

from __future__ import annotations

import csv
import hashlib
import json
import platform
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wsi_idc._version import __version__
from wsi_idc.model.classes import IDC_CLASSES, Classes
from wsi_idc.model.config import ModelConfig
from wsi_idc.model.interface import CANCERNET
from wsi_idc.model.neighbourhood import LEARNED, Context
from wsi_idc.model.stain import ESTIMATE, Stain
from wsi_idc.scoring.file_names import RUN_FILE
from wsi_idc.scoring.scores import DECIMALS, checked_context
from wsi_idc.source import SlideFacts

if TYPE_CHECKING:
    from wsi_idc.scoring.results import SlideResult

UNSOUND = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error)
"""What reading results back raises where they are not as they were written."""

LONGEST_RUN_BYTES = 64 * 2**20
"""A ``run.json`` names each unreadable patch; one beyond this was not written by this package."""

ACROSS_PROCESSORS = 2e-6
"""Probabilities of one key differ by at most so much between processors of different instruction sets."""
PIXELS_VERSION = 4
"""Raised by one whenever the same source and model give other probabilities than before: where patches are decoded,
slides are read, cut or reduced, or pixels are normalised in another way.

Results of older code are then scored again.
"""

SOFTWARE = ("keras", "numpy", "imagecodecs", "matplotlib")


class Scorer(Protocol):
    """What made the probabilities: a `Classifier`, or what is known of one."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def runtime(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def instruction_set(self) -> str: ...


def result_key(source: SlideFacts, model: Scorer) -> str:
    """Hash of everything that the probabilities depend on: pixels and how they are read, patches, model, runtime."""
    normalization = model.config.normalization
    interface, usual = model.config.interface, CANCERNET
    parts = {
        "patches": hashlib.sha256(source.patches.boxes.astype("<i8").tobytes()).hexdigest(),
        "fingerprint": source.fingerprint,
        "mpp": source.mpp,
        "patch": asdict(source.patch),
        "details": dict(source.details),
        "model": model.config.sha256,
        "calibration": model.config.calibration and asdict(model.config.calibration),
        # With the pixels, this says all of what is measured.
        "normalization": None if normalization is None else {**normalization.as_dict(), "measured": ESTIMATE},
        "runtime": model.runtime,
        "device": model.device,
        "precision": "float32",
        "pixels_version": PIXELS_VERSION,
        "decimals": DECIMALS,
        # Of other networks than CancerNet.
        **({} if interface.transform == usual.transform else {"transform": interface.transform.as_list()}),
        **({} if interface.classes.names == usual.classes.names else {"class_names": interface.classes.names}),
        **({} if interface.activation is None else {"activation": interface.activation}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_run(folder: Path) -> dict[str, Any]:
    """What ``run.json`` holds; one of `UNSOUND` where it cannot be read, and perhaps later where it is used."""
    path = folder / RUN_FILE
    if path.stat().st_size > LONGEST_RUN_BYTES:
        raise ValueError(f"{path} is too long")
    run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return run


def context_in(run: dict[str, Any], classes: Classes) -> tuple[Context, bool]:
    """The context in ``run.json``, and whether calls follow it; one of `UNSOUND` where that cannot be."""
    context, follows = run["context"], run["pred_follows"]
    if follows not in (classes.column, classes.context_column) or (
        context is None and follows == classes.context_column
    ):
        raise ValueError(f"calls cannot follow {follows!r} with a context of {context!r}")
    if context not in (None, LEARNED):
        context = checked_context(float(context), None)
    return context, follows == classes.context_column


def classes_of_run(run: dict[str, Any]) -> Classes:
    """The classes that ``run.json`` names; one of `UNSOUND` where they cannot be."""
    names = run["model"].get("class_names")
    if names is None:
        return IDC_CLASSES
    if not all(isinstance(name, str) for name in names):
        raise TypeError("class names that are no texts")
    classes = Classes(tuple(names), run["model"]["positive_class"])
    if classes.positive not in names or len(set(names)) < len(names):
        raise ValueError("classes that cannot be")
    return classes


@cache
def _software() -> dict[str, str]:
    """Versions of what the results depend on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in SOFTWARE}}


def provenance(
    source: SlideFacts, model: Scorer, result: SlideResult, key: str, instruction_set: str
) -> dict[str, Any]:
    """What ``run.json`` says but for what was run when."""
    scores = result.scores
    readable = int(scores.readable.sum())
    return {
        "wsi_idc_version": __version__,
        "slide": source.slide,
        "source": {
            "kind": source.kind,
            "path": source.path,
            "fingerprint": source.fingerprint,
            "mpp": list(source.mpp),
            "mpp_source": source.mpp_source,
            "size_px": list(source.size_px),
            **source.details,
        },
        "images": [{"name": image.name, "width": image.width_px, "height": image.height_px} for image in source.images],
        "model": {
            "name": model.config.name,
            "sha256": model.config.sha256,
            **({"origin": model.config.origin} if model.config.origin else {}),
            "patch_size_pixels": source.tile.size_px,
            "spacing_um_px": source.patch.mpp,
            "threshold": scores.threshold,
            **_classes_told(scores.classes),
            "trained_on": list(model.config.trained_on),
        },
        **({"glass": None, "stain": None} if result.stain is None else result.stain.as_dict()),
        "domain": _domain_told(model.config, result.stain),
        "cautions": [{"code": one.code, "sentence": one.sentence} for one in result.cautions],
        "context": scores.context,
        "pred_follows": scores.prob_column,
        "patches": {"total": len(scores), "scored": readable, "unreadable": len(scores) - readable},
        "labels": result.labels,
        "problems": {
            "source": [asdict(problem) for problem in result.oddities],
            "unreadable": [asdict(problem) for problem in result.unreadable],
        },
        "software": _software() | {"instruction_set": instruction_set},
        "runtime": model.runtime,
        "device": model.device,
        "key": key,
    }


def _domain_told(model: ModelConfig, stain: Stain | None) -> dict[str, float] | None:
    """How far the slide lies from what the model was trained on, where that can be known."""
    if model.domain is None or stain is None:
        return None
    return {"distance": round(model.domain.distance(stain), 4), "limit": model.domain.limit}


def _classes_told(classes: Classes) -> dict[str, object]:
    """What is said of a model's classes, where they are others than CancerNet's."""
    return {} if classes == IDC_CLASSES else {"class_names": list(classes.names), "positive_class": classes.positive}
