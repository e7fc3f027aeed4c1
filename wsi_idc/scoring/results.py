"""The results folder of one slide: what is finished is kept, what is not is made, ``run.json`` comes last."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsi_idc import __version__
from wsi_idc.files import make_folder, write_json
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.scoring.score import Scored, score
from wsi_idc.scoring.scores import (
    CONTEXT_COLUMN,
    DECIMALS,
    Scores,
    checked_context,
    checked_threshold,
    labels_of,
    read_scores,
    write_scores,
)
from wsi_idc.sources.base import PatchSource, Problem

if TYPE_CHECKING:
    from wsi_idc.model.classifier import Classifier

SCORES_FILE = "scores.csv"
METRICS_FILE = "metrics.json"
RUN_FILE = "run.json"
PICTURES = ("heatmap.png", "overlay.png", "mosaic.png", "confusion.png", "tissue.png")

SOFTWARE = ("keras", "numpy", "imagecodecs", "matplotlib")


@dataclass(frozen=True)
class SlideResult:
    """A scored slide and the folder that holds its files.

    Attributes
    ----------
    oddities : tuple of Problem
        What was odd in the source.
    unreadable : tuple of Problem
        One for each patch without a probability.
    """

    scores: Scores
    folder: Path
    oddities: tuple[Problem, ...]
    unreadable: tuple[Problem, ...]

    @property
    def scores_path(self) -> Path:
        """``scores.csv``."""
        return self.folder / SCORES_FILE


def result_key(source: PatchSource, model: Classifier) -> str:
    """Hash of everything that the probabilities depend on: pixels, patches, model, runtime and precision."""
    boxes = np.array([(patch.x, patch.y, patch.width, patch.height) for patch in source.patches], dtype="<i8")
    parts = {
        "patches": hashlib.sha256(boxes.tobytes()).hexdigest(),
        "fingerprint": source.fingerprint,
        "mpp": source.mpp,
        "details": dict(source.details),
        "model": model.config.sha256,
        "calibration": model.config.calibration and asdict(model.config.calibration),
        "runtime": model.runtime,
        "device": model.device,
        "precision": "float32",
        "decimals": DECIMALS,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def score_into(
    source: PatchSource,
    model: Classifier,
    out: Path,
    *,
    threshold: float | None = None,
    context: float | None = None,
    batch_size: int = DEFAULT_BATCH,
    restart: bool = False,
    command: Sequence[str] = (),
    on_patches: Callable[[int], None] | None = None,
    draw: Callable[[SlideResult], object] | None = None,
) -> SlideResult:
    """Score a slide into ``out/<slide>/``, or take what is finished there.

    A finished slide is taken as it is only if its key is the same; another threshold or context, or other labels,
    rewrite the table without scoring again. Files of an older state, pictures among them, are removed before new ones
    are written. While anything in the folder changes there is no ``run.json``; it is written last.

    Parameters
    ----------
    source, model, threshold, batch_size, on_patches
        As in `score`; `on_patches` is told of all patches at once when nothing had to be scored.
    out : Path
    context : float, optional
        Sigma of the blur over neighbours that the calls follow: see `Scores.with_context`.
    restart : bool
        Score again whatever is there.
    command : sequence of str
        For ``run.json``.
    draw : callable, optional
        Adds pictures to the folder.
    """
    started = datetime.now(UTC)
    chosen = checked_threshold(threshold, model.config.threshold)
    context = checked_context(context)
    folder = make_folder(out / source.slide)
    key = result_key(source, model)
    labels = labels_of(source.patches)
    finished, run = (None, {}) if restart else _finished(folder, source.slide, key)
    if finished is None:
        scored, same = score(source, model, threshold=chosen, batch_size=batch_size, on_patches=on_patches), False
    else:
        scored, was = finished, finished.scores
        same = (was.threshold, was.context) == (chosen, context) and np.array_equal(was.label, labels)
        if on_patches:
            on_patches(len(was))
    scores = scored.scores if same else scored.scores.with_labels(labels).with_context(context).with_threshold(chosen)
    result = SlideResult(scores, folder, tuple(source.problems), scored.problems)
    provenance = _provenance(source, model, result, key)
    if same and draw is None and all(run.get(name) == value for name, value in provenance.items()):
        return result
    (folder / RUN_FILE).unlink(missing_ok=True)
    if not same:
        for name in (METRICS_FILE, *PICTURES):
            (folder / name).unlink(missing_ok=True)
        write_scores(folder / SCORES_FILE, result.scores)
        if result.scores.metrics is not None:
            write_json(folder / METRICS_FILE, result.scores.metrics.as_dict())
    if draw:
        draw(result)
    ended = datetime.now(UTC)
    ran = {
        "command": list(command),
        "started": started.isoformat(timespec="seconds"),
        "finished": ended.isoformat(timespec="seconds"),
        "seconds": round((ended - started).total_seconds(), 3),
    }
    write_json(folder / RUN_FILE, provenance | ran)
    return result


def _finished(folder: Path, slide: str, key: str) -> tuple[Scored | None, dict[str, Any]]:
    """What stands in the folder and its ``run.json``, if all is whole, of this key and of one threshold."""
    try:
        run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        if run["key"] != key:
            return None, {}
        scores = read_scores(folder / SCORES_FILE, slide, float(run["model"]["threshold"]), run["context"])
        problems = tuple(Problem(**problem) for problem in run["problems"]["unreadable"])
        if len(scores) != run["patches"]["total"]:
            return None, {}
        if scores.metrics is not None:
            metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
            if metrics != scores.metrics.as_dict():
                return None, {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, {}
    return Scored(scores, problems), run


def _provenance(source: PatchSource, model: Classifier, result: SlideResult, key: str) -> dict[str, Any]:
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
            **source.details,
        },
        "model": {
            "name": model.config.name,
            "sha256": model.config.sha256,
            "threshold": scores.threshold,
            "trained_on": list(model.config.trained_on),
        },
        "context": scores.context,
        "pred_follows": "prob_idc" if scores.context is None else CONTEXT_COLUMN,
        "patches": {"total": len(scores), "scored": readable, "unreadable": len(scores) - readable},
        "problems": {
            "source": [asdict(problem) for problem in result.oddities],
            "unreadable": [asdict(problem) for problem in result.unreadable],
        },
        "software": {"python": platform.python_version(), **{name: metadata.version(name) for name in SOFTWARE}},
        "runtime": model.runtime,
        "device": model.device,
        "key": key,
    }
