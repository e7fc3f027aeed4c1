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

from wsi_idc import __version__
from wsi_idc.files import make_folder, write_json
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.scoring.score import score
from wsi_idc.scoring.scores import DECIMALS, Scores, read_scores, write_scores
from wsi_idc.sources.base import PatchSource, Problem

if TYPE_CHECKING:
    from wsi_idc.model.classifier import Classifier

SCORES_FILE = "scores.csv"
METRICS_FILE = "metrics.json"
RUN_FILE = "run.json"
PICTURES = ("heatmap.png", "overlay.png", "mosaic.png", "confusion.png")

SOFTWARE = ("keras", "numpy", "imagecodecs", "matplotlib")


@dataclass(frozen=True)
class SlideResult:
    """A scored slide and the folder that holds its files.

    Attributes
    ----------
    problems : tuple of Problem
        What was odd in the source, then one for each unreadable patch.
    run : dict
        What ``run.json`` says.
    """

    scores: Scores
    folder: Path
    problems: tuple[Problem, ...]
    run: dict[str, Any]

    @property
    def scores_path(self) -> Path:
        """``scores.csv``."""
        return self.folder / SCORES_FILE

    @property
    def unreadable(self) -> int:
        """Patches without a probability."""
        return int((~self.scores.readable).sum())


def result_key(source: PatchSource, model: Classifier) -> str:
    """Hash of everything that the probabilities depend on: pixels, model, runtime and precision."""
    parts = {
        "fingerprint": source.fingerprint,
        "model": model.config.sha256,
        "calibration": model.config.calibration,
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
    batch_size: int = DEFAULT_BATCH,
    restart: bool = False,
    command: Sequence[str] = (),
    on_patches: Callable[[int], None] | None = None,
) -> SlideResult:
    """Score a slide into ``out/<slide>/``, or take what is finished there.

    A finished slide is taken as it is only if its key is the same; another threshold rewrites the calls without
    scoring again. Files of an older state, pictures among them, are removed before new ones are written.

    Parameters
    ----------
    source, model, threshold, batch_size, on_patches
        As in `score`; `on_patches` is told of all patches at once when nothing had to be scored.
    out : Path
    restart : bool
        Score again whatever is there.
    command : sequence of str
        For ``run.json``.
    """
    started = datetime.now(UTC)
    folder = make_folder(out / source.slide)
    key = result_key(source, model)
    chosen = model.config.threshold if threshold is None else threshold
    finished = None if restart else _finished(folder, source.slide, key)
    if finished is not None:
        if on_patches:
            on_patches(len(finished.scores))
        if finished.scores.threshold == chosen:
            return finished
        scores, problems = finished.scores.with_threshold(chosen), finished.problems
    else:
        scored = score(source, model, threshold=chosen, batch_size=batch_size, on_patches=on_patches)
        scores, problems = scored.scores, (*source.problems, *scored.problems)
    run = _provenance(source, model, scores, problems, key)
    for name in (RUN_FILE, METRICS_FILE, *PICTURES):
        (folder / name).unlink(missing_ok=True)
    write_scores(folder / SCORES_FILE, scores)
    if scores.metrics is not None:
        write_json(folder / METRICS_FILE, scores.metrics.as_dict())
    result = SlideResult(scores, folder, problems, run)
    write_run(result, started, command)
    return result


def write_run(result: SlideResult, started: datetime, command: Sequence[str]) -> None:
    """Write ``run.json``, the mark of a finished slide; call it again when more files have been added."""
    finished = datetime.now(UTC)
    ran = {
        "command": list(command),
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
        "seconds": round((finished - started).total_seconds(), 3),
    }
    write_json(result.folder / RUN_FILE, result.run | ran)


def _finished(folder: Path, slide: str, key: str) -> SlideResult | None:
    """What stands in the folder, if it is whole and of this key."""
    try:
        run = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        if run["key"] != key:
            return None
        scores = read_scores(folder / SCORES_FILE, slide, float(run["model"]["threshold"]))
        problems = tuple(Problem(**problem) for problem in run["problems"])
        whole = len(scores) == run["patches"]["total"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return SlideResult(scores, folder, problems, run) if whole else None


def _provenance(
    source: PatchSource,
    model: Classifier,
    scores: Scores,
    problems: Sequence[Problem],
    key: str,
) -> dict[str, Any]:
    readable = int(scores.readable.sum())
    return {
        "wsi_idc_version": __version__,
        **dict.fromkeys(("command", "started", "finished", "seconds")),
        "slide": source.slide,
        "source": {
            "kind": source.kind,
            "path": source.path,
            "fingerprint": source.fingerprint,
            "mpp": list(source.mpp),
            "mpp_source": source.mpp_source,
        },
        "model": {
            "name": model.config.name,
            "sha256": model.config.sha256,
            "threshold": scores.threshold,
            "trained_on": list(model.config.trained_on),
        },
        "patches": {"total": len(scores), "scored": readable, "unreadable": len(scores) - readable},
        "problems": [asdict(problem) for problem in problems],
        "software": {"python": platform.python_version(), **{name: metadata.version(name) for name in SOFTWARE}},
        "runtime": model.runtime,
        "device": model.device,
        "key": key,
    }
