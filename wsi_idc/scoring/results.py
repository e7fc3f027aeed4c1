"""The results folder of one slide: what is finished is kept, what is not is made, ``run.json`` comes last."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.files import make_folder, remove, remove_unfinished, sync, write_json
from wsi_idc._util.lock import wait_lock
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.model.neighbourhood import LEARNED, Context
from wsi_idc.model.stain import Stain
from wsi_idc.scoring.cautions import find_cautions
from wsi_idc.scoring.file_names import METRICS_FILE, MOSAICS, RUN_FILE, SCORES_FILE, SHEET_FILE, VIEWS
from wsi_idc.scoring.origins import ORIGINS_FILE, Origin, origin_in, origin_of, tell_origins, told_origins
from wsi_idc.scoring.run_json import (
    ACROSS_PROCESSORS,
    UNSOUND,
    Scorer,
    classes_of_run,
    context_in,
    provenance,
    read_run,
    result_key,
)
from wsi_idc.scoring.score import Scored, score
from wsi_idc.scoring.scores import (
    Scores,
    check_steps,
    checked_context,
    checked_threshold,
    read_scores,
    write_scores,
)
from wsi_idc.source import Caution, PatchSource, Problem, SlideFacts, find_patches

if TYPE_CHECKING:
    from wsi_idc.model.classifier import Classifier


@dataclass(frozen=True, eq=False)
class SlideResult:
    """A scored slide and the folder that holds its files.

    Attributes
    ----------
    oddities : tuple of Problem
        What was odd in the source.
    unreadable : tuple of Problem
        One for each patch without a probability.
    cautions : tuple of Caution
        See `find_cautions`.
    stain : Stain or None
        What was taken out of the slide before the network; None where the model wants nothing taken out.
    labels : mapping or None
        Which outlines the labels come from, as in ``run.json``.
    """

    scores: Scores
    folder: Path
    oddities: tuple[Problem, ...]
    unreadable: tuple[Problem, ...]
    stain: Stain | None = None
    cautions: tuple[Caution, ...] = ()
    labels: Mapping[str, object] | None = None

    def __repr__(self) -> str:
        return f"SlideResult({self.scores!r}, {str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the sheet, where it was drawn, and metrics."""
        from wsi_idc.scoring.notebook import slide_html

        return slide_html(self)

    @property
    def scores_path(self) -> Path:
        """``scores.csv``."""
        return self.folder / SCORES_FILE

    @property
    def sheet_path(self) -> Path:
        """``heatmap.png``, which is there where the slide was drawn."""
        return self.folder / SHEET_FILE


class SlideRun:
    """A slide's results folder while it is worked on: what is finished there is kept, the rest is made.

    Whoever has one holds the folder's lock: see `wait_lock`.

    A finished slide is taken as it is only if its key is the same; another threshold or context, or other labels,
    rewrite the table without scoring again. Files of an older state, pictures among them, are removed before new ones
    are written. While anything in the folder changes there is no ``run.json``; it is written last.

    Parameters
    ----------
    source : SlideFacts
    model : Scorer
    out : Path
        The results stand in ``out/<slide>/``, which is there.
    threshold, context : float, optional
        As in `score_into`.
    restart : bool
        Take nothing that is finished.
    command : sequence of str
        For ``run.json``.

    Attributes
    ----------
    finished : Scored or None
        What needs no scoring.
    """

    def __init__(
        self,
        source: SlideFacts,
        model: Scorer,
        out: Path,
        *,
        threshold: float | None = None,
        context: Context = None,
        restart: bool = False,
        command: Sequence[str] = (),
    ) -> None:
        self._started = datetime.now(UTC)
        self._source, self._model, self._command = source, model, list(command)
        self.classes = model.config.classes
        self.threshold = checked_threshold(threshold, model.config.threshold)
        self._context = checked_context(context, model.config.context)
        self._overlapping = source.patch != source.tile
        check_steps(self._overlapping, context)
        self.folder = out / source.slide
        self.tidy()
        self._origin = origin_of(source)
        self._key = result_key(source, model)
        self.finished, self._run = (None, {}) if restart else _finished(self.folder, source.slide, self._key)
        # Not part of the key: see docs/reliability.md.
        self._instruction_set = model.instruction_set
        if self.finished is not None:
            self._instruction_set = str(self._run["software"].get("instruction_set", model.instruction_set))
        if self._instruction_set != model.instruction_set:
            warnings.warn(
                f"Slides in {out} were scored on a processor of {self._instruction_set} and are kept; this one is "
                f"{model.instruction_set}, whose probabilities can differ from theirs by {ACROSS_PROCESSORS:g}.",
                stacklevel=2,
            )

    def tidy(self) -> None:
        """Remove what was killed in the middle of a write."""
        remove_unfinished(self.folder, SCORES_FILE, METRICS_FILE, RUN_FILE, ORIGINS_FILE, *MOSAICS, *VIEWS)

    @property
    def seconds(self) -> float:
        """How long the scoring took that the results come from, as far as is known."""
        return float(self._run.get("seconds", 0.0))

    def write(self, scored: Scored) -> SlideResult:
        """Write the table and the figures, if they are not there."""
        patches = self._source.patches
        was = scored.scores
        scores = was.with_class(self.classes.positive).with_labels(patches.labels, patches.class_labels)
        scores = scores.with_threshold(self.threshold)
        scores = self._in_context(scores)
        same = self.finished is not None and _same_table(was, scores)
        cautions = find_cautions(self._source, self._model.config, scored.stain)
        result = SlideResult(
            scores,
            self.folder,
            tuple(self._source.problems),
            scored.problems,
            scored.stain,
            cautions,
            self._source.labels_from,
        )
        others = [name for name, origin in _origins(self.folder).items() if origin != self._origin]
        if not same:
            self.unseal()
            for name in (METRICS_FILE, *VIEWS):
                remove(self.folder / name)
        for name in others:
            remove(self.folder / name)
        if not same:
            write_scores(self.folder / SCORES_FILE, scores)
            if scores.metrics_json is not None:
                write_json(self.folder / METRICS_FILE, scores.metrics_json)
        return result

    def _in_context(self, scores: Scores) -> Scores:
        """The scores with the context that is asked for, else beside the one that the model has learned."""
        # It was learned from patches beside each other.
        learned = None if self._overlapping else self._model.config.context
        if learned is None or not (self._context is None or self._context == LEARNED):
            return scores.with_context(None if self._context == LEARNED else self._context)
        x, y = (self._source.patch.um / mpp for mpp in self._source.mpp)
        return scores.with_neighbourhood(learned, (x, y), follow=self._context == LEARNED)

    def unseal(self) -> None:
        """Say that the folder changes, and what its mosaics were made from, which nothing else says then."""
        tell_origins(self.folder, _origins(self.folder))
        (self.folder / RUN_FILE).unlink(missing_ok=True)

    def seal(self, result: SlideResult) -> None:
        """Write ``run.json``, if there is none that says the same."""
        made = provenance(self._source, self._model, result, self._key, self._instruction_set)
        ended = datetime.now(UTC)
        ran = {
            "command": self._command,
            "started": self._started.isoformat(timespec="seconds"),
            "finished": ended.isoformat(timespec="seconds"),
            "seconds": round((ended - self._started).total_seconds(), 3),
        }
        sealed = (self.folder / RUN_FILE).is_file() and ran.keys() <= self._run.keys()
        if not sealed or any(self._run.get(name) != value for name, value in made.items()):
            # After a power cut, a run.json must not stand beside files that are empty.
            sync(self.folder / name for name in (SCORES_FILE, METRICS_FILE, *VIEWS, *MOSAICS))
            write_json(self.folder / RUN_FILE, made | ran, durable=True)
            self._run = made | ran
        tell_origins(self.folder, {})


def score_into(
    source: PatchSource,
    model: Classifier,
    out: str | Path,
    *,
    threshold: float | None = None,
    context: Context = None,
    batch_size: int = DEFAULT_BATCH,
    restart: bool = False,
    command: Sequence[str] = (),
    on_patches: Callable[[int], None] | None = None,
    draw: Callable[[SlideResult], object] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> SlideResult:
    """Score a slide into ``out/<slide>/``, or take what is finished there: see `SlideRun`.

    Where another run is at work on the slide, it is waited for.

    Parameters
    ----------
    source, model, threshold, batch_size, on_patches
        As in `score`; `on_patches` is called once with all patches when nothing had to be scored.
    out : Path
    context : float or "learned", optional
        What the calls follow: sigma, in patches, of a blur over neighbours, or what the model has learned of them.
    restart : bool
        Score again whatever is there.
    command : sequence of str
        For ``run.json``.
    draw : callable, optional
        Adds pictures to the folder.
    on_wait : callable, optional
        Called with the holder of the folder's lock where it has to be waited for.
    """
    out = Path(out)
    find_patches(source)
    with wait_lock(make_folder(out / source.slide), on_wait):
        run = SlideRun(source, model, out, threshold=threshold, context=context, restart=restart, command=command)
        scored = run.finished
        if scored is None:
            scored = score(source, model, threshold=run.threshold, batch_size=batch_size, on_patches=on_patches)
        elif on_patches:
            on_patches(len(scored.scores))
        result = run.write(scored)
        if draw:
            run.unseal()
            draw(result)
        run.seal(result)
    return result


def _same_table(was: Scores, now: Scores) -> bool:
    """Whether two scores of the same probabilities are written alike."""
    called = ((of.threshold, of.context, of.follows_context, of.classes) for of in (was, now))
    if len(set(called)) > 1:
        return False
    contexts, classes = ((of.prob_idc_context for of in (was, now)), (of.class_label for of in (was, now)))
    return _alike(*contexts) and _alike(*classes) and np.array_equal(was.label, now.label)


def _alike(before: NDArray[Any] | None, after: NDArray[Any] | None) -> bool:
    """Whether both are the same numbers, or there are none."""
    if before is None or after is None:
        return before is after
    return np.array_equal(before, after, equal_nan=True)


def _origins(folder: Path) -> dict[str, Origin | None]:
    """What the mosaics in a folder were made from; None where nothing says so."""
    sealed: Origin | None = None
    with suppress(*UNSOUND):
        sealed = origin_in(read_run(folder))
    told = told_origins(folder)
    return {name: told.get(name, sealed) for name in MOSAICS if (folder / name).exists()}


def _finished(folder: Path, slide: str, key: str) -> tuple[Scored | None, dict[str, Any]]:
    """What stands in the folder and its ``run.json``, if all is whole, of this key and of one threshold."""
    try:
        run = read_run(folder)
        if run["key"] != key:
            return None, {}
        threshold, classes = float(run["model"]["threshold"]), classes_of_run(run)
        scores = read_scores(folder / SCORES_FILE, slide, threshold, *context_in(run, classes), classes)
        stain = None if run["stain"] is None else Stain.from_dict(run)
        problems = tuple(Problem(**problem) for problem in run["problems"]["unreadable"])
        known = math.isfinite(run["seconds"]) and isinstance(run["software"], dict)
        if len(scores) != run["patches"]["total"] or not known:
            return None, {}
        if scores.metrics_json is not None:
            metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
            if metrics != scores.metrics_json:
                return None, {}
    except UNSOUND:
        return None, {}
    return Scored(scores, problems, stain), run
